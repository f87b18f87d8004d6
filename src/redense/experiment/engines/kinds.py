"""The table of engines: how each is made, and what it is to the rest of a run.

It is read before PyTorch is loaded, by what checks a run's resources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from redense.experiment.engines.base import Engine
    from redense.experiment.engines.choose import Choice

EngineName = Literal["auto", "inline", "local", "vectorized", "ray"]


@dataclass(frozen=True)
class EngineKind:
    """An engine: how it is made, which imports it only where it is wanted, and how it trains.

    `arithmetic` is what its arithmetic is called in keys: engines that give the same bits on a device have the same.
    Those `in_processes` train every job in a process of its own, on the CPU. One that `forks` has these here, forked
    from a server, as many as there are workers, and replaces one that takes longer than a time limit. `own_machine`
    tells whether it trains on this machine alone, `one_thread` that it is this process and uses one core of it.
    `extra` is the one that has to be installed for it, and the name of its module, empty where there is none.
    """

    make: Callable[[Choice, Sequence[int]], Engine]
    arithmetic: str = "{device}"
    in_processes: bool = False
    forks: bool = False
    own_machine: bool = True
    one_thread: bool = False
    extra: str = ""


def _inline(choice: Choice, _keep_open: Sequence[int]) -> Engine:
    from redense.experiment.engines.inline import InlineEngine

    return InlineEngine(choice.device)


def _local(choice: Choice, keep_open: Sequence[int]) -> Engine:
    from redense.experiment.engines.local import LocalEngine

    return LocalEngine(choice.workers, keep_open, choice.resources.time_limit)


def _vectorized(choice: Choice, _keep_open: Sequence[int]) -> Engine:
    from redense.experiment.engines.vectorized import VectorizedEngine

    return VectorizedEngine(choice.device, threads=choice.workers)


def _ray(choice: Choice, _keep_open: Sequence[int]) -> Engine:
    from redense.experiment.engines.ray import RayEngine

    return RayEngine(choice.resources.ray_address, choice.resources.ray_storage)


ENGINES: dict[EngineName, EngineKind] = {
    "inline": EngineKind(_inline, one_thread=True),
    "local": EngineKind(_local, in_processes=True, forks=True),
    "vectorized": EngineKind(_vectorized, "stacked-{device}"),
    "ray": EngineKind(_ray, in_processes=True, own_machine=False, extra="ray"),
}
