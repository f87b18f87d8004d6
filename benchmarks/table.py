"""Wall time of a whole table: `redense run` against the plain loop that anybody would write (goals: README.md).

The plain loop does the same training in one process: default threads, default Adam, NCHW, layers as written, the
mask multiplied in after every step, dense trained once for all sparsities, test accuracy after every epoch, and all
examples' logits at the end of each phase. Neither side inherits a setting of threads. The plain loop's arithmetic is
float32; `redense run` takes its turn in every precision that is asked for, and each ratio is taken in the same round.

    python benchmarks/table.py [--images 12000 2000] [--epochs 2] [--precisions fp32 bf16] [--repeats 3] [--data digits]
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from published import PlainLoop, published_network, write_part
from timing import in_turns, machine, ratios, seconds, spread
from torch import nn

import redense

SPARSITIES = (0.3, 0.5, 0.7, 0.9)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_THREAD_LIMIT")
"""Settings of the shell that would leave the plain loop fewer threads than a user has."""


def train_table(data: str, epochs: int) -> None:
    """Train the table in the plain way, and print each phase's test accuracy."""
    print(f"threads: {torch.get_num_threads()} of the plain loop", flush=True)
    loop = PlainLoop(redense.data.load(data))
    torch.manual_seed(0)

    def phase(model: nn.Module, lr: float, masks: dict[str, torch.Tensor]) -> None:
        loop.train(model, epochs, lr, masks)
        accuracy = loop.accuracy(model, loop.x_test, loop.y_test)
        loop.accuracy(model, loop.x, loop.y)
        print(f"plain   test {100 * accuracy:.2f}%", flush=True)

    model = published_network()
    phase(model, 1e-3, {})
    for sparsity in SPARSITIES:
        pruned = copy.deepcopy(model)
        masks = {}
        for name, parameter in pruned.named_parameters():
            if parameter.dim() > 1:
                magnitude = parameter.detach().abs()
                masks[name] = (
                    magnitude > magnitude.flatten().kthvalue(round(sparsity * magnitude.numel())).values
                ).float()
                with torch.no_grad():
                    parameter.mul_(masks[name])
        phase(pruned, 1e-3, masks)
        phase(pruned, 1e-4, {})


def unset() -> dict[str, str]:
    """Return the environment without settings of threads, so that both sides have what PyTorch takes by itself."""
    return {name: value for name, value in os.environ.items() if name not in THREADS}


def threads() -> str:
    """Say how many threads PyTorch takes by itself in the environment of both sides."""
    ask = "import torch; print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", ask], env=unset(), check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def timed(name: str, command: list[str], wanted: str, change: Callable[[str], str]) -> float:
    """Run a command in a process of its own, start-up included; print its lines that hold `wanted`."""
    printed: list[str] = []
    run = partial(subprocess.run, command, env=unset(), check=True, stdout=subprocess.PIPE, text=True)
    taken = seconds(lambda: printed.append(run().stdout))
    kept = (line for line in printed[0].splitlines() if wanted in line or line.startswith(("Engine:", "threads:")))
    print("\n".join(map(change, kept)))
    print(f"{name:<7} {taken:.1f} s", flush=True)
    return taken


def plain_loop(data: str, epochs: int) -> float:
    """Seconds of the plain loop."""
    command = [sys.executable, __file__, "--plain", "--data", data, "--epochs", str(epochs)]
    return timed("plain", command, "test", str)


def redense_run(data: str, epochs: int, precision: str) -> float:
    """Seconds of the command into an empty folder."""
    recipe = ["--data", data, "--model", "fmnist-cnn", "--sparsities", *map(str, SPARSITIES), "--precision", precision]
    with tempfile.TemporaryDirectory() as folder:
        flags = [*recipe, "--epochs", *[str(epochs)] * 3, "--out", f"{folder}/run"]
        command = [sys.executable, "-m", "redense", "run", *flags]
        return timed(precision, command, ", test ", lambda line: f"{precision}    {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, nargs=2, metavar=("TRAINING", "TEST"), help="only the first so many")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each phase")
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", default="fashion-mnist", help="images of 28x28 pixels; digits for a quick look")
    parser.add_argument("--plain", action="store_true", help="only the plain loop, in this process")
    options = parser.parse_args()
    if options.plain:
        train_table(options.data, options.epochs)
        return
    print(machine())
    print(f"PyTorch takes {threads()} threads by itself; settings of threads are taken out of both environments")
    with tempfile.TemporaryDirectory() as folder:
        data = options.data
        if options.images:
            data = str(write_part(Path(folder) / "part.npz", redense.data.load(data), *options.images))
        measures = {"plain": partial(plain_loop, data, options.epochs)}
        for precision in options.precisions:
            measures[precision] = partial(redense_run, data, options.epochs, precision)
        found = in_turns(measures, options.repeats, warm_up=0)
    print(f"plain {spread(found['plain'], digits=1)} s")
    for precision in options.precisions:
        pairs = ratios(found["plain"], found[precision])
        of_rounds = ", ".join(f"{ratio:.2f}" for ratio in pairs)
        print(f"{precision} {spread(found[precision], digits=1)} s, ratio {spread(pairs)}: {of_rounds}")


if __name__ == "__main__":
    main()
