"""Stacks of models on the CPU against plain steps: the same training, in processes of one thread, a core each.

    python benchmarks/stacks.py [--models 4 8 16] [--processes 2] [--network fmnist-cnn|mlp] [--steps 20] [--rounds 9]

Every process trains one model after the other as the plain trainer does, or K models as one stack; all processes begin
at the same time, and the ways take turns. Printed are milliseconds a model's step: by the clock, over all processes
together, and of processor time in one of them, which a busy machine prolongs less. Then the same of an evaluation.

The floor is counted from the network: multiplications at the rate of a large matrix product in the same turns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection

import torch
from timing import in_turns, machine, processor_seconds, ratios, seconds, spread

from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.fork_server import WORKER_ENVIRONMENT
from redense.experiment.engines.stacked import Stack
from redense.experiment.optimizers import make_optimizer
from redense.experiment.plan import Training
from redense.experiment.trainer import train_epoch, trainable
from redense.models.registry import build, placed
from redense.signals import read_signals

BATCH = 32
EXAMPLES = 2_000
SHAPES: dict[str, tuple[tuple[int, ...], int]] = {"fmnist-cnn": ((1, 28, 28), 10), "mlp": ((446,), 30)}
"""Shape of an example and number of classes: of Fashion-MNIST and of Location-30."""
PRODUCT = 1_024
"""Rows and columns of the matrices whose product tells how fast the processor multiplies."""
PLAIN = 0
Work = Callable[[], object]


def works(network: str, models: list[int], steps: int) -> dict[str, Work]:
    """Make what a process may be told to do, by the name that it is told."""
    shape, classes = SHAPES[network]
    x = torch.randint(0, 256, (EXAMPLES, *shape), dtype=torch.uint8)
    y = torch.randint(0, classes, (EXAMPLES,))
    training = Training(network, BATCH, "adam", 1e-3, 0.0, 0.0)
    model = placed(build(network, shape, classes, seed=0), "cpu")
    optimizer = make_optimizer(trainable(model), training)
    order = torch.randperm(EXAMPLES)[: steps * BATCH]
    square = torch.rand(PRODUCT, PRODUCT)
    found: dict[str, Work] = {
        "product": lambda: square @ square,
        f"train {PLAIN}": lambda: train_epoch(model, optimizer, x, y, order, BATCH),
        f"evaluate {PLAIN}": lambda: read_signals(model, x, y),
    }
    for count in models:
        states = [build(network, shape, classes, seed=seed).state_dict() for seed in range(count)]
        stack = Stack(build(network, shape, classes, seed=0), states, [{}] * count, [training] * count, x, y)
        orders = [torch.randperm(EXAMPLES)[: steps * BATCH] for _ in states]
        found[f"train {count}"] = partial(stack.train_epoch, orders, BATCH)
        found[f"evaluate {count}"] = partial(stack.logits, [torch.arange(EXAMPLES)] * count)
    return found


def work(connection: Connection, network: str, models: list[int], steps: int) -> None:
    """Do what the connection says until it says nothing; answer with the seconds of processor time."""
    with fixed_arithmetic("cpu"):
        known = works(network, models, steps)
        while name := connection.recv():
            connection.send(processor_seconds(known[name]))


@contextmanager
def processes(number: int, network: str, models: list[int], steps: int) -> Iterator[list[Connection]]:
    """Start processes with the environment of redense's workers, and end them."""
    os.environ.update(WORKER_ENVIRONMENT)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(number)]
    team = [context.Process(target=work, args=(theirs, network, models, steps)) for _, theirs in pipes]
    for process in team:
        process.start()
    ours = [pipe for pipe, _ in pipes]
    try:
        yield ours
    finally:
        for connection in ours:
            connection.send("")
        for process in team:
            process.join()


def measured(team: list[Connection], name: str) -> tuple[float, float]:
    """Have all processes do the same; return the seconds by the clock and the mean of their processor time."""
    spent: list[float] = []

    def at_once() -> None:
        for connection in team:
            connection.send(name)
        spent.extend(connection.recv() for connection in team)

    whole = seconds(at_once)
    return whole, sum(spent) / len(spent)


def multiplications(network: str) -> int:
    """Count the multiplications and additions of a step: forward, and backward but for the first layer's inputs."""
    shape, classes = SHAPES[network]
    counted: list[int] = []
    model = build(network, shape, classes)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(
                lambda layer, _, output: counted.append(2 * output[0, 0].numel() * layer.weight.numel())
            )
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    return BATCH * (3 * sum(counted) - counted[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--network", choices=sorted(SHAPES), default="fmnist-cnn")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    kinds = [PLAIN, *options.models]
    names = ["product", *(f"{what} {count}" for what in ("train", "evaluate") for count in kinds)]
    with processes(options.processes, options.network, options.models, options.steps) as team:
        found = in_turns({name: partial(measured, team, name) for name in names}, options.rounds, warm_up=2)
    print(machine())
    operations = multiplications(options.network)
    rate = [2 * PRODUCT**3 / processor for _, processor in found["product"]]
    floors = [operations / each for each in rate]
    print(f"{options.network}, {options.processes} processes of one thread; medians [least, most]")
    print(f"floor: {operations / 1e6:.0f} MFLOP a step, {spread(floors, 1e3)} ms at {spread(rate, 1e-9, 0)} GFLOP/s")
    for what, calls, unit in (("train", options.steps, "step"), ("evaluate", EXAMPLES / 1e3, "1,000 examples")):
        print(f"{what}, milliseconds a model's {unit}")
        base = [processor / calls for _, processor in found[f"{what} {PLAIN}"]]
        for count in kinds:
            done = calls * max(1, count)
            clock = [whole / done / options.processes for whole, _ in found[f"{what} {count}"]]
            processor = [each / done for _, each in found[f"{what} {count}"]]
            title = f"a stack of {count} in each" if count else "plain"
            print(
                f"  {title:<22} clock {spread(clock, 1e3):>22}  processor {spread(processor, 1e3):>22}"
                f"  of plain's {spread(ratios(processor, base)):>18}"
            )


if __name__ == "__main__":
    main()
