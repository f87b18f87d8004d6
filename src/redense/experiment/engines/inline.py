"""The simplest engine: one job after the other in this process. The oracle for the others."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from redense.data.batches import TensorData
from redense.data.dataset import Dataset
from redense.determinism import fixed_arithmetic
from redense.errors import RedenseError
from redense.experiment.checkpoints import Store
from redense.experiment.engines.base import EpochDone, Event, Finished, Started
from redense.experiment.engines.queue import Schedule
from redense.experiment.phase_training import execute
from redense.experiment.plan import Job


class InlineEngine:
    """Train in this process: on a GPU, which one process keeps busy, or to step through with a debugger.

    An exception in the user's own code is raised as it is, where the local engine reports a failed job.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        schedule = Schedule(jobs)
        data = TensorData.of(dataset, self.device)
        with fixed_arithmetic(self.device):
            while (job := schedule.next()) is not None:
                if store.has(job.key):
                    schedule.finish(job)
                    yield Finished(job, reused=True)
                    continue
                yield Started(job)
                yield from self._train(job, data, store, schedule)

    def _train(self, job: Job, data: TensorData, store: Store, schedule: Schedule) -> Iterator[Event]:
        try:
            for entry in execute(job, data, store):
                yield EpochDone(job, int(entry["epoch"]), entry["loss"], entry["test_accuracy"])
        except RedenseError as error:
            yield from schedule.fail(job, str(error))
            return
        schedule.finish(job)
        yield Finished(job)
