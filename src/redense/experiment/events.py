"""What happens to a job on its way, as whoever trains it reports it."""

from __future__ import annotations

from dataclasses import dataclass

from redense.experiment.checkpoints import Epoch
from redense.experiment.plan import Job


@dataclass(frozen=True)
class Started:
    """A job has begun."""

    job: Job


@dataclass(frozen=True)
class EpochDone:
    """A job has finished an epoch."""

    job: Job
    epoch: Epoch


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
