"""Which job comes next: parents first, then whatever the longest chain waits for."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence

from redense.experiment.events import EpochDone, Event, Failed, Finished
from redense.experiment.plan import Job, critical_path


class JobQueue:
    """The jobs that are left of a plan; all methods take a job that `next` has handed out.

    >>> JobQueue([]).next() is None
    True
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        remaining = critical_path(jobs)
        self._rank = {job.key: (-remaining[job.key], place) for place, job in enumerate(jobs)}
        self._children: dict[str, list[Job]] = defaultdict(list)
        self._waiting: list[tuple[tuple[int, int], Job]] = []
        planned = {job.key for job in jobs}
        for job in jobs:
            if job.parent in planned:
                self._children[job.parent].append(job)
            else:
                self.put_back(job)

    def next(self) -> Job | None:
        """Hand out the job with the most epochs behind it, or None while all that are left wait for their parents."""
        return heapq.heappop(self._waiting)[1] if self._waiting else None

    def put_back(self, job: Job) -> None:
        """Let a job be handed out (again)."""
        heapq.heappush(self._waiting, (self._rank[job.key], job))

    def finish(self, job: Job) -> None:
        """Let the job's children be handed out."""
        for child in self._children.pop(job.key, []):
            self.put_back(child)

    def fail(self, job: Job, reason: str) -> list[Failed]:
        """Drop a failed job's descendants and return what has failed: the job, then they."""
        orphans = self._drop_descendants(job)
        return [Failed(job, reason), *(Failed.without_start(orphan, job.name) for orphan in orphans)]

    def take(self, event: EpochDone | Finished | Failed) -> list[Event]:
        """Take note of what a job's training reports, and return what there is to report of it and its descendants."""
        if isinstance(event, Failed):
            return [*self.fail(event.job, event.reason)]
        if isinstance(event, Finished):
            self.finish(event.job)
        return [event]

    def _drop_descendants(self, job: Job) -> list[Job]:
        children = self._children.pop(job.key, [])
        return [*children, *(orphan for child in children for orphan in self._drop_descendants(child))]
