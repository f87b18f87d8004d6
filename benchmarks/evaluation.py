"""What evaluation costs, and what idle cores make of it: on so many cores at once, and in whole runs of two versions.

    python benchmarks/evaluation.py [--rounds 9] [--cores 1 2] [--data-root FOLDER]
    python benchmarks/evaluation.py --other FOLDER [--images 12000 2000] [--epochs 2] [--workers 2] [--repeats 5]

The first compares an evaluation of 10,000 examples on several cores with the same on one, beside as many examples
trained. The second runs the table (published network, one seed, 30, 50, 70 and 90%) on part of Fashion-MNIST with this
version and with the one whose `src` is named, in turns, start-up included, and compares the bits of their tensors.
For a quick look: --rounds 1, or --images 600 600 --epochs 1 --repeats 1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from published import write_part
from timing import in_turns, machine, ratios, seconds, show, spread, timings

import redense
from redense.data import Dataset
from redense.data.batches import TensorData
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.fork_server import WORKER_ENVIRONMENT
from redense.experiment.idle_cores import read_signals_on
from redense.experiment.optimizers import make_optimizer
from redense.experiment.plan import Training
from redense.experiment.trainer import train_epoch, trainable
from redense.models.registry import build, placed

HERE = str(Path(redense.__file__).parents[1])
EXAMPLES = 10_000
SPARSITIES = ("0.3", "0.5", "0.7", "0.9")


def on_cores(dataset: Dataset, cores: list[int], rounds: int) -> None:
    """Time an evaluation on each number of cores; the environment must be that of worker processes."""
    data = TensorData.of(dataset)
    model = placed(build("fmnist-cnn", data.input_shape, data.num_classes), torch.device("cpu"))
    optimizer = make_optimizer(trainable(model), Training("fmnist-cnn", 32, "adam", 1e-3, 0.0, 0.0))
    x, y = data.x_train[:EXAMPLES], data.y_train[:EXAMPLES]
    order = torch.arange(len(y))
    evaluations = {f"evaluated on {count} cores": partial(read_signals_on, count, model, x, y) for count in cores}
    with fixed_arithmetic("cpu"):
        training = {"trained on one core": lambda: train_epoch(model, optimizer, x, y, order, 32)}
        show(f"{len(y):,} examples, {rounds} rounds", timings({**evaluations, **training}, rounds))


def run(source: str, data: Path, epochs: int, workers: int) -> tuple[float, str]:
    """Run the table with the version in `source`; return its seconds and the SHA-256 of all its tensors."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = ["--data", str(data), "--model", "fmnist-cnn", "--sparsities", *SPARSITIES]
        command = [sys.executable, "-m", "redense", "run", *recipe, "--epochs", *[str(epochs)] * 3]
        command += ["--workers", str(workers), "--out", f"{folder}/run"]
        environment = {**os.environ, "PYTHONPATH": source}
        quiet = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, env=environment)
        taken = seconds(quiet)
        digest = hashlib.sha256()
        for path in sorted(Path(folder, "run", "checkpoints").glob("*/*.safetensors")):
            digest.update(path.name.encode() + path.read_bytes())
    print(f"{source}: {taken:.1f} s", flush=True)
    return taken, digest.hexdigest()


def against(other: str, dataset: Dataset, images: tuple[int, int], epochs: int, workers: int, repeats: int) -> None:
    """Run both versions in turns on the first images."""
    training, test = images
    with tempfile.TemporaryDirectory() as folder:
        data = write_part(Path(folder) / "part.npz", dataset, training, test)
        versions = {"other": other, "this": HERE}
        ways = {name: partial(run, source, data, epochs, workers) for name, source in versions.items()}
        found = in_turns(ways, repeats, warm_up=0)
    times = {name: [taken for taken, _ in measured] for name, measured in found.items()}
    bits = {digest for measured in found.values() for _, digest in measured}
    print(f"{training:,} + {test:,} images, {epochs} epochs a phase, {workers} workers")
    print(f"other {spread(times['other'], digits=1)} s, this {spread(times['this'], digits=1)} s")
    print(f"other / this {spread(ratios(times['other'], times['this']), digits=3)}")
    print("tensors have the same bits" if len(bits) == 1 else "tensors DIFFER")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--other", help="the src folder of another version")
    parser.add_argument("--images", type=int, nargs=2, default=(12_000, 2_000), metavar=("TRAINING", "TEST"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data-root")
    options = parser.parse_args()
    if not options.other and not os.environ.items() >= WORKER_ENVIRONMENT.items():  # read when a process begins
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})
    print(machine())
    dataset = redense.data.load("fashion-mnist", options.data_root)
    if options.other:
        images = (options.images[0], options.images[1])
        against(options.other, dataset, images, options.epochs, options.workers, options.repeats)
    else:
        on_cores(dataset, options.cores, options.rounds)


if __name__ == "__main__":
    main()
