"""How the benchmarks time: what is compared takes turns, warm, and stands as medians with their spread and the machine.

Absolute times on shared machines drift; what was measured in the same round compares.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

import redense
from redense.experiment.machine import processor

T = TypeVar("T")
Ways = Mapping[str, Callable[[], object]]
"""Ways of doing the same, by name."""
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Clocks, in seconds: the wall's, and the processor's time of all threads, which other programs disturb less."""


def seconds(action: Callable[[], object], calls: int = 1, clock: str = "wall") -> float:
    """Seconds that a call takes, the mean of `calls` calls in a row; a GPU that is in use is waited for."""
    now = CLOCKS[clock]
    _wait_for_gpu()
    started = now()
    for _ in range(calls):
        action()
    _wait_for_gpu()
    return (now() - started) / calls


def processor_seconds(action: Callable[[], object]) -> float:
    """Seconds of processor time that a call takes in this process; waiting for a core does not count."""
    started = time.process_time()
    action()
    return time.process_time() - started


def clocked(events: Iterable[T]) -> Iterator[tuple[float, T]]:
    """Yield events with the seconds since the first was asked for."""
    started = time.perf_counter()
    for event in events:
        yield time.perf_counter() - started, event


def told_by(
    command: Sequence[str], environment: Mapping[str, str], file: Path, enough: Callable[[list[str]], bool]
) -> Iterator[tuple[float, str]]:
    """Start a process; yield the lines that it and its own write into a file, each with the seconds since the start.

    It is ended when the lines are `enough`; a line is seen after some milliseconds. Raises `SystemExit` where it ends
    before.
    """
    file.touch()
    started, seen = time.perf_counter(), 0
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            ended = process.poll() is not None
            lines = file.read_text().splitlines()
            yield from ((time.perf_counter() - started, line) for line in lines[seen:])
            seen = len(lines)
            if enough(lines):
                return
            if ended:
                raise SystemExit(f"{' '.join(command)}: ended after {lines}")
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()


def in_turns(measures: Mapping[str, Callable[[], T]], rounds: int, warm_up: int = 1) -> dict[str, list[T]]:
    """Take every measurement once a round, every other round backwards; the first `warm_up` rounds do not count."""
    found: dict[str, list[T]] = {name: [] for name in measures}
    for number in range(warm_up + rounds):
        for name in reversed(found) if number % 2 else found:
            measured = measures[name]()
            if number >= warm_up:
                found[name].append(measured)
    return found


def timings(ways: Ways, rounds: int, warm_up: int = 1, calls: int = 1) -> dict[str, list[float]]:
    """Time all ways in turns; returns seconds a call, round by round."""
    return in_turns({name: partial(seconds, way, calls) for name, way in ways.items()}, rounds, warm_up)


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Divide what was measured in the same rounds."""
    return [value / other for value, other in zip(values, base, strict=True)]


def spread(values: Sequence[float], factor: float = 1.0, digits: int = 2) -> str:
    """Write the median, the least and the most of some values: ``2.00 [1.00, 3.00]``."""
    least, median, most = (factor * value for value in (min(values), statistics.median(values), max(values)))
    return f"{median:.{digits}f} [{least:.{digits}f}, {most:.{digits}f}]"


def quartiles(values: Sequence[float], factor: float = 1.0, digits: int = 2) -> str:
    """Write the median and the quartiles, for many rounds of short measurements: ``+2.00 (+1.00, +3.00)``."""
    ordered = sorted(factor * value for value in values)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return f"{statistics.median(ordered):+.{digits}f} ({low:+.{digits}f}, {high:+.{digits}f})"


def show(title: str, times: Mapping[str, Sequence[float]]) -> None:
    """Print a table: milliseconds of each way, median [least, most], and how many times the first way's median."""
    first = statistics.median(next(iter(times.values())))
    print(f"\n{title}")
    for name, values in times.items():
        print(f"  {name:<44} {spread(values, 1e3):>32} ms {statistics.median(values) / first:8.2f}x", flush=True)


def machine() -> str:
    """Say in one line what the figures below it were measured on, and when."""
    parts = [
        datetime.date.today().isoformat(),
        f"{os.cpu_count()} cores of {processor() or platform.machine()}",
        f"load {os.getloadavg()[0]:.1f}",
        *([torch.cuda.get_device_name()] if torch.cuda.is_available() else []),
        f"torch {torch.__version__}",
        f"Python {platform.python_version()}",
        f"redense {redense.__version__}",
    ]
    return ", ".join(parts)


def _wait_for_gpu() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
