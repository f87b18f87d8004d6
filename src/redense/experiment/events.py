"""What happens to a job on its way, as whoever trains it reports it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from redense.errors import RedenseError
from redense.experiment.plan import Job
from redense.experiment.trained import Epoch


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

    @classmethod
    def without_start(cls, job: Job, cause: str) -> Failed:
        """Say of a job that it is not trained; `cause` names the one, before it in its chain, that failed."""
        return cls(job, f"{job.name}: not trained, because {cause} failed")

    @classmethod
    def raised(cls, job: Job, error: BaseException) -> Failed:
        """Say of a job what its training raised; what is no error of redense's own is printed with its traceback."""
        if isinstance(error, RedenseError):
            return cls(job, str(error))
        traceback.print_exception(error)
        return cls(job, f"{job.name}: {type(error).__name__}: {error}")


Event = Started | EpochDone | Finished | Retried | Failed
