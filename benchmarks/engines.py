"""Many models: the engines against plain PyTorch, one model after the other; what an engine adds to a job; planning.

    python benchmarks/engines.py [--models 8 16] [--repeats 3] [--jobs 1000] [--examples 4000] [--data-root FOLDER]
    python benchmarks/engines.py --cuda [--models 1 8 64]    # on a GPU: against the plain loop there, and a whole table

The plain loop trains K models in one process: default threads, default Adam, layers as written. Engines and plain loop
take turns; ratios are taken pair by pair. On the CPU, part of Fashion-MNIST is used (times are in proportion to it).
For a quick look: --models 2 --repeats 1 --jobs 12 --examples 120.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from published import PARAMETERS, PlainLoop, published_network
from timing import clocked, in_turns, machine, ratios, seconds, spread
from torch import nn

import redense
from redense.data import Dataset
from redense.experiment.checkpoints import Store
from redense.experiment.events import EpochDone, Failed
from redense.experiment.plan import Fingerprints, Job, plan
from redense.experiment.prepare import Prepared, prepare
from redense.experiment.recipe import Recipe
from redense.experiment.resources import Device, Resources

Name = Literal["inline", "local", "vectorized"]


def parts(dataset: Dataset, training: int, test: int) -> Dataset:
    """Take the first examples of a data set."""
    return dataclasses.replace(
        dataset,
        x_train=dataset.x_train[:training],
        y_train=dataset.y_train[:training],
        x_test=dataset.x_test[:test],
        y_test=dataset.y_test[:test],
    )


def location_network() -> nn.Module:
    """Build the perceptron for Location-30 as anybody would write it."""
    widths = (446, 512, 256, 128)
    hidden = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(128, 30))


NETWORKS: dict[str, Callable[[], nn.Module]] = {"fashion-mnist": published_network, "location30": location_network}


def plain(data: str, dataset: Dataset, models: int, epochs: int, device: str) -> float:
    """Seconds to train K models one after the other."""
    loop = PlainLoop(dataset, device)

    def train_all() -> None:
        for _ in range(models):
            loop.train(NETWORKS[data]().to(device), epochs)

    return seconds(train_all)


def of_engine(prepared: Prepared, models: int) -> tuple[float, float]:
    """Train the dense phases of K seeds; return the seconds with start-up, and scaled up from the epochs without it."""
    jobs = [job for job in prepared.jobs if job.parent is None][:models]
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        events = prepared.choice.engine().run(jobs, prepared.dataset, Store(Path(folder)))

        def train_all() -> None:
            for at, event in clocked(events):
                if isinstance(event, Failed):
                    sys.exit(event.reason)
                if isinstance(event, EpochDone):
                    ends.append(at)

        whole = seconds(train_all)
    first = sum(end - ends[0] < 0.2 * (ends[-1] - ends[0]) / len(jobs) for end in ends)
    return whole, (ends[-1] - ends[0]) * len(ends) / max(1, len(ends) - first)


def prepare_models(
    data: str, dataset: Dataset, engine: Name, models: int, epochs: int, device: Device = "cpu"
) -> Prepared:
    """Prepare the engine on part of a data set."""
    recipe = Recipe(data=data, sparsities=(0.5,), epochs=(epochs, 1, 1), seeds=tuple(range(models)))
    return dataclasses.replace(prepare(recipe, None, Resources(engine=engine, device=device)), dataset=dataset)


def compare(
    title: str,
    plain_seconds: Callable[[], float],
    ours: Mapping[str, Callable[[], tuple[float, float]]],
    repeats: int,
) -> None:
    """Take turns and print seconds, and ratios with and without start-up."""
    measures: dict[str, Callable[[], tuple[float, float]]] = {"plain": lambda: (plain_seconds(),) * 2, **ours}
    found = in_turns(measures, repeats, warm_up=0)
    base = [taken for taken, _ in found["plain"]]
    for name in ours:
        whole, steady = zip(*found[name], strict=True)
        print(
            f"{title:<24} {name:<11} plain {spread(base, digits=1)} s  "
            f"with start-up {spread(whole, digits=1)} s, ratio {spread(ratios(base, whole))}  "
            f"without {spread(steady, digits=1)} s, ratio {spread(ratios(base, steady))}",
            flush=True,
        )


def on_cpu(models: list[int], repeats: int, examples: int, data_root: Path | None) -> None:
    for data, dataset, epochs in (
        ("fashion-mnist", parts(redense.data.load("fashion-mnist", data_root), examples, examples // 6), 4),
        ("location30", parts(redense.data.load("location30", data_root), examples, examples), 4),
    ):
        for count in models:
            engines: tuple[Name, ...] = ("local", "vectorized")
            ours: dict[str, Callable[[], tuple[float, float]]] = {
                engine: partial(of_engine, prepare_models(data, dataset, engine, count, epochs), count)
                for engine in engines
            }
            compare(f"{data}, K = {count}", partial(plain, data, dataset, count, epochs, "cpu"), ours, repeats)


def on_cuda(models: list[int], data_root: Path | None) -> None:
    """Models x epochs per second on all of Fashion-MNIST, against the plain loop; then the whole published table."""
    fashion = redense.data.load("fashion-mnist", data_root)
    base = plain("fashion-mnist", fashion, 1, 2, "cuda") / 2
    print(f"plain loop: {1 / base:.3f} models x epochs a second")
    for count in models:
        prepared = prepare_models("fashion-mnist", fashion, "vectorized", count, 3, device="cuda")
        _, steady = of_engine(prepared, count)
        print(f"K = {count}: {3 * count / steady:.3f} models x epochs a second, {3 * count * base / steady:.1f}x")
    recipe = Recipe(data="fashion-mnist", epochs=(50, 50, 50))
    prepared = prepare(recipe, data_root, Resources(device="cuda"))
    with tempfile.TemporaryDirectory() as folder:
        taken = seconds(
            lambda: list(prepared.choice.engine().run(prepared.jobs, prepared.dataset, Store(Path(folder))))
        )
    print(f"the published table, 450 epochs, engine {prepared.choice.name}: {taken:.0f} s")
    print(floor(64))


def floor(models: int) -> str:
    """Count what a step of K published networks at batch 32 needs at least."""
    forward = 2 * 32 * (24 * 24 * 32 * 9 + 10 * 10 * 64 * 32 * 9 + 1600 * 250 + 250 * 10)
    flops = 3 * forward * models
    moved = 4 * PARAMETERS * (1 + 1 + 7) * models  # read for both passes; Adam reads 4 and writes 3 values a weight
    return f"floor of a step, K = {models}: {flops / 1e9:.2f} GFLOP, {moved / 1e6:.0f} MB of weights and moments"


def trivial(folder: Path) -> Path:
    """Write a data set of eight examples."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 4)).astype(np.float32)
    np.savez(folder / "tiny.npz", x=x, y=np.arange(8) % 2, x_test=x[::-1] + 1, y_test=np.arange(8) % 2)
    return folder / "tiny.npz"


def linear(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The smallest network there is: what remains is the engine."""
    return nn.Linear(input_shape[0], num_classes)


def overhead(jobs: int, engine: Name) -> float:
    """Milliseconds a job of one epoch of one batch, after the first has finished."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(trivial(Path(folder)))
        model = f"{Path(__file__).stem}:linear"
        recipe = Recipe(data=data, model=model, sparsities=(0.5,), epochs=(1, 1, 1), seeds=tuple(range(-(-jobs // 3))))
        prepared = prepare(recipe, None, Resources(engine=engine))
        (Path(folder) / "run").mkdir()
        events = prepared.choice.engine().run(prepared.jobs, prepared.dataset, Store(Path(folder) / "run"))
        ends = [at for at, event in clocked(events) if isinstance(event, EpochDone)]
        return 1e3 * (ends[-1] - ends[0]) / (len(ends) - 1)


def planning(jobs: int) -> float:
    """Seconds to plan so many jobs, keys included."""
    recipe = Recipe(seeds=tuple(range(-(-jobs // 9))))
    planned: list[Job] = []
    taken = seconds(lambda: planned.extend(plan(recipe, "mlp", Fingerprints("data", "architecture", "cpu"))))
    assert len(planned) >= jobs
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1_000, help="trivial jobs; ten times as many are planned")
    parser.add_argument("--examples", type=int, default=4_000, help="of Fashion-MNIST, and at most of Location-30")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--cuda", action="store_true")
    options = parser.parse_args()
    print(machine())
    if options.cuda:
        on_cuda(options.models or [1, 8, 64], options.data_root)
        return
    sys.path.insert(0, str(Path(__file__).parent))  # workers find `linear` there
    planned = 10 * options.jobs
    found = in_turns({"planning": partial(planning, planned)}, options.repeats)
    print(f"planning {planned:,} jobs: {spread(found['planning'])} s")
    engines: tuple[Name, ...] = ("inline", "local")
    each = in_turns({engine: partial(overhead, options.jobs, engine) for engine in engines}, options.repeats, 0)
    for engine, milliseconds in each.items():
        print(f"{options.jobs:,} trivial jobs, {engine}: {spread(milliseconds, digits=1)} ms each")
    on_cpu(options.models or [8, 16], options.repeats, options.examples, options.data_root)


if __name__ == "__main__":
    main()
