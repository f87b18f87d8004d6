"""When training begins: from the command's start to the first step of the first epoch, and to the second worker's.

Beside it stands what no run can be spared: to import PyTorch and make a first step of an optimizer in one process. A
run takes its turn as it is, with workers that are forked from a server which loads PyTorch meanwhile, and as it was
before there was one (and is where a fork is not safe), with workers that each begin anew. Seconds from the start of
the process; the goal is a first step within 1.2 times the first line.

    python benchmarks/timeline.py [--data fashion-mnist] [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

TOLD = "REDENSE_BENCHMARK_TOLD"
"""Names the file in which processes say what they have reached, and when."""
MARKS = (
    "redense is imported",
    "data and plan are ready, a worker is asked for",
    "first step",
    "first step of the second worker",
)
ALONE = "PyTorch and a first step alone"
EXECUTED = (
    "from redense.experiment.engines import fork_server\n"
    "fork_server._load = lambda: None\n"
    "fork_server._forks_safely = lambda: False\n"
    "fork_server.main()"
)
"""A server that loads nothing and starts each worker from the beginning."""


def tell(mark: str) -> None:
    """Write down that something is reached; whoever started the process has the clock."""
    with open(os.environ[TOLD], "a") as file:
        file.write(f"{mark}\n")


def network(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Build the published network, which tells when it is trained first in a process."""
    from redense.models.registry import build

    model = build("fmnist-cnn", input_shape, num_classes)

    def begun(module: nn.Module, _inputs: Any) -> None:
        if module.training:
            tell("step")
            hook.remove()

    hook = model.register_forward_pre_hook(begun)
    return model


def alone() -> None:
    """Import PyTorch and train one step."""
    import torch

    model = torch.nn.Linear(10, 10)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(2, 10)).sum().backward()
    optimizer.step()
    tell("step")


def driver(data: str, executed: bool) -> None:
    """Carry out the command for two seeds, whose dense phases are trained at the same time."""
    import redense  # noqa: F401

    tell(MARKS[0])
    from redense.commands.main import main as command
    from redense.experiment.engines.fork_server import ForkServer

    if executed:
        popen = subprocess.Popen

        def without_forks(words: list[str], **settings: Any) -> Any:
            return popen([sys.executable, "-c", EXECUTED, words[-1]], **settings)

        setattr(subprocess, "Popen", without_forks)  # noqa: B010 (which mypy would not have assigned)
    start = ForkServer.start

    def told(*arguments: Any) -> int:
        tell(MARKS[1])
        return start(*arguments)

    setattr(ForkServer, "start", told)  # noqa: B010
    recipe = ["--data", data, "--model", "timeline:network", "--seeds", "0", "1", "--sparsities", "0.5"]
    with tempfile.TemporaryDirectory() as folder:
        command(
            ["run", *recipe, "--epochs", "1", "1", "1", "--engine", "local", "--workers", "2", "--out", f"{folder}/run"]
        )


def reached(command: list[str], steps: int) -> list[tuple[float, str]]:
    """Start a process; return what it reached and after how many seconds, until so many first steps; then end it."""
    from timing import told_by

    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, TOLD: f"{folder}/told", "PYTHONPATH": path, "TMPDIR": folder}
        words = [sys.executable, __file__, *command]
        return list(told_by(words, environment, Path(folder) / "told", lambda marks: marks.count("step") >= steps))


def timeline(data: str, way: str) -> dict[str, float]:
    """Return the seconds after which a run has reached each mark."""
    found = sorted(reached(["--driver", way, "--data", data], 2))
    steps = [when for when, mark in found if mark == "step"]
    others = {mark: when for when, mark in reversed(found) if mark != "step"}  # of the first worker
    return {**others, MARKS[2]: steps[0], MARKS[3]: steps[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", default="fashion-mnist", help="images of 28x28 pixels; digits for a quick look")
    parser.add_argument("--driver", choices=["alone", "forked", "executed"], help="only this, in this process")
    options = parser.parse_args()
    if options.driver == "alone":
        alone()
        return
    if options.driver:
        driver(options.data, options.driver == "executed")
        return
    from timing import in_turns, machine, ratios, spread

    print(machine())
    measures: dict[str, Callable[[], dict[str, float]]] = {
        "alone": lambda: {ALONE: reached(["--driver", "alone"], 1)[0][0]},
        "forked": partial(timeline, options.data, "forked"),
        "executed": partial(timeline, options.data, "executed"),
    }
    found = in_turns(measures, options.repeats)
    base = [each[ALONE] for each in found["alone"]]
    print(f"{spread(base)} s  {ALONE}")
    for way in ("forked", "executed"):
        print(f"workers {way}")
        for mark in MARKS:
            when = [each[mark] for each in found[way]]
            print(f"{spread(when)} s  {mark}, {spread(ratios(when, base))} times")


if __name__ == "__main__":
    main()
