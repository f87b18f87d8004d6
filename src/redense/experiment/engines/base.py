"""What engines have in common: the one method that they offer."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from redense.data.dataset import Dataset
from redense.experiment.checkpoints import Store
from redense.experiment.events import Event
from redense.experiment.plan import Job


class Engine(Protocol):
    """Carries out jobs, given each after its parent, and reports as it goes.

    Jobs whose checkpoint is in the store are not trained again. A job that fails takes its descendants with it, and no
    other. Every job ends in exactly one `Finished` or `Failed`. Closing the iterator stops all work at once.
    """

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        ...
