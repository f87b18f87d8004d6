"""Which engine trains a run, with how many workers, and why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import nn

from redense.data.batches import examples_to_try
from redense.data.dataset import Dataset
from redense.errors import RecipeError
from redense.experiment.engines.kinds import ENGINES, EngineKind, EngineName
from redense.experiment.engines.stacked import why_not_stacked
from redense.experiment.memory import PROCESS_BYTES, training_bytes
from redense.experiment.optimizers import OptimizerName
from redense.experiment.recipe import Precision
from redense.files.cgroups import available_bytes, cpu_quota

if TYPE_CHECKING:  # which itself knows the table of engines
    from redense.experiment.engines.base import Engine
    from redense.experiment.resources import Resources


@dataclass(frozen=True)
class Choice:
    """The engine that will train a run (never ``auto``); `reason` is for the user, `arithmetic` for the jobs' keys."""

    name: EngineName
    device: str
    workers: int
    reason: str
    resources: Resources

    @property
    def kind(self) -> EngineKind:
        """The engine's line of the table."""
        return ENGINES[self.name]

    @property
    def trains_here(self) -> bool:
        """Whether it trains on this machine alone, as a cluster does that is started for the run."""
        return self.kind.own_machine or self.resources.ray_address is None

    @property
    def arithmetic(self) -> str:
        """The kind of arithmetic, part of all keys: processes, their number and Ray change no bit, stacks do."""
        return self.kind.arithmetic.format(device=self.device)

    @property
    def processes(self) -> int:
        """How many jobs are trained at the same time, each by itself."""
        return max(1, self.workers) if self.kind.in_processes else 1

    def engine(self, keep_open: Sequence[int] = ()) -> Engine:
        """Make the engine; its worker processes keep the descriptors `keep_open` open."""
        return self.kind.make(self, keep_open)


def choose(
    resources: Resources,
    model: nn.Module,
    dataset: Dataset,
    batch_size: int,
    models: int,
    precision: Precision = "fp32",
    optimizer: OptimizerName = "adam",
) -> Choice:
    """Choose the engine for a model, its data and the number of models in the run.

    Raises `RecipeError` when the engine or its storage is not installed, or cannot keep a time limit asked for.
    """
    device = resources.device
    if device == "auto":
        on_cpu = resources.trains_in_processes or resources.ray_address is not None
        device = "cuda" if torch.cuda.is_available() and not on_cpu else "cpu"
    name, reason = _name(resources, device, model, examples_to_try(dataset), models, precision, optimizer)
    workers, limit = _workers(resources, model, dataset, batch_size)
    kind = ENGINES[name]
    if kind.extra and find_spec(kind.extra) is None:
        raise RecipeError(f"engine: {name} is not installed; pip install 'redense[{kind.extra}]'")
    if resources.ray_storage is not None and not kind.own_machine:
        from redense.experiment.engines.transfer import Storage

        Storage(resources.ray_storage).check()
    if kind.forks:
        reason = f"{reason}{limit}"
    elif resources.time_limit is not None:
        keep = " or ".join(other for other in ENGINES if ENGINES[other].forks)
        raise RecipeError(f"time_limit: the engine is {name} here; only {keep}, which has worker processes, keeps one")
    return Choice(name, device, 0 if kind.one_thread else workers, reason, resources)


def _name(
    resources: Resources,
    device: str,
    model: nn.Module,
    examples: torch.Tensor,
    models: int,
    precision: Precision,
    optimizer: OptimizerName,
) -> tuple[EngineName, str]:
    """Return the engine and why it is the one."""
    alone: EngineName = "inline" if device == "cuda" or resources.workers == 0 else "local"
    if resources.engine == "vectorized" or (resources.engine == "auto" and device == "cuda" and models > 1):
        obstacle = why_not_stacked(model, examples, precision, optimizer)
        if obstacle is None:
            asked = resources.engine == "vectorized"
            return "vectorized", "asked for" if asked else f"{models} models share the GPU, trained as one"
        return alone, f"the vectorised engine cannot train this model: {obstacle}"
    if resources.engine == "ray" or (resources.engine == "auto" and (resources.ray_address or resources.ray_storage)):
        return "ray", "asked for" if resources.engine == "ray" else "a Ray cluster was named"
    if resources.engine != "auto":
        return resources.engine, "asked for"
    if alone == "inline":
        return alone, "one model on the GPU" if device == "cuda" else "no worker processes were asked for"
    return alone, "on the CPU, one-thread processes do the most work"


def _workers(resources: Resources, model: nn.Module, dataset: Dataset, batch_size: int) -> tuple[int, str]:
    """Return the number of worker processes and what limits it."""
    cores, all_of_them = usable_cores()
    each = PROCESS_BYTES + training_bytes(model, examples_to_try(dataset), batch_size)
    free = available_bytes() - dataset.nbytes
    fitting = max(1, int(free / each))
    sizes = f"{free / 1e9:.1f} GB are free, a worker takes about {each / 1e9:.1f} GB"
    if resources.workers is not None:
        warning = f"; {sizes}, so they may not fit" if resources.workers > fitting else ""
        return resources.workers, f"; {resources.workers} workers were asked for{warning}"
    if fitting < cores:
        return fitting, f"; {fitting} of {cores} cores, because {sizes}"
    if cores < all_of_them:
        return cores, f"; {cores} of {all_of_them} cores, because a quota of the control group leaves no more"
    return cores, f"; one a core, {cores}"


def usable_cores() -> tuple[int, int]:
    """Return how many cores there are to work with, at least 1, and how many without a control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return (cores if quota is None else max(1, min(cores, int(quota)))), cores
