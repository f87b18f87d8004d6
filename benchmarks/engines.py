"""Many models: the engines against plain PyTorch, one model after the other; what an engine adds to a job; planning.

    python benchmarks/engines.py [--models 8 16] [--repeats 3] [--data-root FOLDER]
    python benchmarks/engines.py --cuda [--models 1 8 64]    # on a GPU: against the plain loop there, and a whole table

The plain loop trains K models in one process: default threads, default Adam, layers as written. Engines and plain loop
take turns; ratios are taken pair by pair. On the CPU, part of Fashion-MNIST is used (times are in proportion to it).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from redense.data import load as load_data
from redense.data.dataset import Dataset
from redense.experiment.checkpoints import Store
from redense.experiment.events import EpochDone, Failed
from redense.experiment.plan import Fingerprints, plan
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


def as_written(name: str) -> nn.Module:
    """Build the network as its table has it."""
    if name == "mlp":
        widths = (446, 512, 256, 128)
        hidden = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(128, 30))
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 250), nn.ReLU(), nn.Linear(250, 10),
    )  # fmt: skip


def plain(name: str, dataset: Dataset, models: int, epochs: int, device: str) -> float:
    """Train K models one after the other; return the seconds."""
    x, x_test = (torch.from_numpy(array).float().to(device) for array in (dataset.x_train, dataset.x_test))
    if dataset.x_train.dtype == np.uint8:
        x, x_test = x / 255, x_test / 255
    y, y_test = (torch.from_numpy(array).to(device) for array in (dataset.y_train, dataset.y_test))
    started = time.perf_counter()
    for _ in range(models):
        model = as_written(name).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(epochs):
            for batch in torch.randperm(len(y)).to(device).split(32):
                optimizer.zero_grad()
                functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                float((torch.cat([model(some) for some in x_test.split(500)]).argmax(1) == y_test).float().mean())
    return time.perf_counter() - started


def redense(ready: Prepared, models: int) -> tuple[float, float]:
    """Train the dense phases of K seeds; return the seconds with start-up, and scaled up from the epochs without it."""
    jobs = [job for job in ready.jobs if job.parent is None][:models]
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for event in ready.choice.engine().run(jobs, ready.dataset, Store(Path(folder))):
            if isinstance(event, Failed):
                sys.exit(event.reason)
            if isinstance(event, EpochDone):
                ends.append(time.perf_counter())
        seconds = time.perf_counter() - started
    first = sum(end - ends[0] < 0.2 * (ends[-1] - ends[0]) / len(jobs) for end in ends)
    return seconds, (ends[-1] - ends[0]) * len(ends) / max(1, len(ends) - first)


def prepared(data: str, dataset: Dataset, engine: Name, models: int, epochs: int, device: Device = "cpu") -> Prepared:
    """Prepare the engine on part of a data set."""
    recipe = Recipe(data=data, sparsities=(0.5,), epochs=(epochs, 1, 1), seeds=tuple(range(models)))
    return dataclasses.replace(prepare(recipe, None, Resources(engine=engine, device=device)), dataset=dataset)


def compare(
    title: str,
    plain_seconds: Callable[[], float],
    ours: Mapping[Name, Callable[[], tuple[float, float]]],
    repeats: int,
) -> None:
    """Take turns and print medians, and ratios with their range."""
    pairs: dict[Name, list[tuple[float, float, float]]] = {name: [] for name in ours}
    for _ in range(repeats):
        base = plain_seconds()
        for name, run in ours.items():
            pairs[name].append((base, *run()))
    for name, found in pairs.items():
        ratios = sorted(base / steady for base, _, steady in found)
        with_start = statistics.median(base / whole for base, whole, _ in found)
        base, whole, steady = (statistics.median(column) for column in zip(*found, strict=True))
        print(
            f"{title:<24} {name:<11} plain {base:7.1f} s  with start-up {whole:7.1f} s ({with_start:.2f}x)  "
            f"without {steady:7.1f} s  ratio {statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]",
            flush=True,
        )


def on_cpu(models: list[int], repeats: int, data_root: Path | None) -> None:
    fashion = parts(load_data("fashion-mnist", data_root), 4_000, 667)  # a fifteenth
    location = load_data("location30", data_root)
    for name, data, dataset, epochs in (
        ("fmnist-cnn", "fashion-mnist", fashion, 4),
        ("mlp", "location30", location, 4),
    ):
        for count in models:
            engines: tuple[Name, ...] = ("local", "vectorized")
            ours = {
                engine: partial(redense, prepared(data, dataset, engine, count, epochs), count) for engine in engines
            }
            compare(f"{name}, K = {count}", partial(plain, name, dataset, count, epochs, "cpu"), ours, repeats)


def on_cuda(models: list[int], data_root: Path | None) -> None:
    """Models x epochs per second on all of Fashion-MNIST, against the plain loop; then the reference's whole table."""
    fashion = load_data("fashion-mnist", data_root)
    base = plain("fmnist-cnn", fashion, 1, 2, "cuda") / 2
    print(f"plain loop: {1 / base:.3f} models x epochs a second")
    for count in models:
        ready = prepared("fashion-mnist", fashion, "vectorized", count, 3, device="cuda")
        _, seconds = redense(ready, count)
        print(f"K = {count}: {3 * count / seconds:.3f} models x epochs a second, {3 * count * base / seconds:.1f}x")
    recipe = Recipe(data="fashion-mnist", epochs=(50, 50, 50))
    ready = prepare(recipe, data_root, Resources(device="cuda"))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for _ in ready.choice.engine().run(ready.jobs, ready.dataset, Store(Path(folder))):
            pass
    print(f"the reference's table, 450 epochs, engine {ready.choice.name}: {time.perf_counter() - started:.0f} s")
    print(floor(64))


def floor(models: int) -> str:
    """Count what a step of K reference networks at batch 32 needs at least."""
    forward = 2 * 32 * (24 * 24 * 32 * 9 + 10 * 10 * 64 * 32 * 9 + 1600 * 250 + 250 * 10)
    flops = 3 * forward * models
    moved = 4 * 421_576 * (1 + 1 + 7) * models  # read for both passes; Adam reads 4 and writes 3 values a weight
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
        ready = prepare(recipe, None, Resources(engine=engine))
        (Path(folder) / "run").mkdir()
        ends = []
        for event in ready.choice.engine().run(ready.jobs, ready.dataset, Store(Path(folder) / "run")):
            if isinstance(event, EpochDone):
                ends.append(time.perf_counter())
        return 1e3 * (ends[-1] - ends[0]) / (len(ends) - 1)


def planning(jobs: int) -> float:
    """Seconds to plan so many jobs, keys included."""
    recipe = Recipe(seeds=tuple(range(-(-jobs // 9))))
    started = time.perf_counter()
    planned = plan(recipe, "mlp", Fingerprints("data", "architecture", "cpu"))
    seconds = time.perf_counter() - started
    assert len(planned) >= jobs
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--cuda", action="store_true")
    options = parser.parse_args()
    if options.cuda:
        on_cuda(options.models or [1, 8, 64], options.data_root)
        return
    sys.path.insert(0, str(Path(__file__).parent))  # workers find `linear` there
    print(f"planning 10,000 jobs: {statistics.median(planning(10_000) for _ in range(3)):.2f} s")
    engines: tuple[Name, ...] = ("inline", "local")
    for engine in engines:
        found = sorted(overhead(1_000, engine) for _ in range(options.repeats))
        print(f"1,000 trivial jobs, {engine}: {statistics.median(found):.1f} [{found[0]:.1f}, {found[-1]:.1f}] ms each")
    on_cpu(options.models or [8, 16], options.repeats, options.data_root)


if __name__ == "__main__":
    main()
