"""What engines have in common: the events they report and the one method they offer."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from redense.data.dataset import Dataset
from redense.experiment.checkpoints import Store
from redense.experiment.plan import Job


@dataclass(frozen=True)
class Started:
    """A job has begun."""

    job: Job


@dataclass(frozen=True)
class EpochDone:
    """A job has finished an epoch (counted from 1)."""

    job: Job
    epoch: int
    loss: float
    test_accuracy: float


@dataclass(frozen=True)
class Finished:
    """A job's checkpoint is on disk; `reused` when it was there before this run."""

    job: Job
    reused: bool = False


@dataclass(frozen=True)
class Retried:
    """A job's worker died; the job will be tried once more."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Failed:
    """A job has failed for good, or cannot start because its parent failed."""

    job: Job
    reason: str


Event = Started | EpochDone | Finished | Retried | Failed


class Engine(Protocol):
    """Carries out jobs, given each after its parent, and reports as it goes.

    Jobs whose checkpoint is in the store are not trained again. A job that fails takes its descendants with it, and no
    other. Every job ends in exactly one `Finished` or `Failed`. Closing the iterator stops all work at once.
    """

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        ...
