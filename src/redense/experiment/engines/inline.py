"""The simplest engine: one job after the other in this process. The oracle for the others."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from redense.data.batches import TensorData
from redense.data.dataset import Dataset
from redense.errors import RedenseError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.queue import JobQueue
from redense.experiment.events import Event, Finished, Started
from redense.experiment.phase_training import train_phase
from redense.experiment.plan import Job


class InlineEngine:
    """Train in this process: on a GPU, which one process keeps busy, or to step through with a debugger.

    An exception in the user's own code is raised as it is, where the local engine reports a failed job.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        queue = JobQueue(jobs)
        data = TensorData.of(dataset, self.device)
        with fixed_arithmetic(self.device):
            while (job := queue.next()) is not None:
                if store.has(job.key):
                    yield from queue.take(Finished(job, reused=True))
                    continue
                yield Started(job)
                try:
                    for event in train_phase([job], data, store):
                        yield from queue.take(event)
                except RedenseError as error:
                    yield from queue.fail(job, str(error))
