"""The engine for one machine's cores: one-thread worker processes, fed as parents finish.

Two one-thread processes do about twice the work of one process with two threads, because the steps of small
networks are too short to share out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import selectors
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from redense.data.dataset import Dataset
from redense.errors import FolderError, TrainingError
from redense.experiment.checkpoints import Store
from redense.experiment.engines import fork_server
from redense.experiment.engines.queue import JobQueue
from redense.experiment.engines.shared import SharedDataset
from redense.experiment.events import EpochDone, Event, Finished, Retried, Started
from redense.experiment.plan import Job
from redense.experiment.trained import Epoch
from redense.files.writing import why

ATTEMPTS = 2
"""How often a job is tried whose worker dies."""
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ETOOMANYREFS)
"""What the system says when it gives no more files, processes or memory."""
LOG = "workers.log"
"""What workers and the user's own code in them print, below the run's folder."""


class LocalEngine:
    """Train in worker processes on the CPU; the number of workers changes the time, not a bit of the result."""

    def __init__(self, workers: int, keep_open: Sequence[int] = (), time_limit: float | None = None) -> None:
        """Use so many workers; each keeps the descriptors `keep_open` (a lock's, say) open as long as it lives.

        A worker whose job takes longer than `time_limit` seconds counts as hanging: it is killed, and the job is tried
        once more, from its last finished epoch.
        """
        self.workers = workers
        self.keep_open = tuple(keep_open)
        self.time_limit = time_limit

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        left = []
        for job in jobs:
            if store.has(job.key):
                yield Finished(job, reused=True)
            else:
                left.append(job)
        if not left:
            return
        try:
            with _Team(self.workers, len(left), self.keep_open, dataset, store, self.time_limit) as team:
                yield from _carry_out(JobQueue(left), team)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            raise TrainingError(
                f"a worker process cannot be started ({error.strerror}); what is finished stays: use fewer --workers, "
                "or raise the limit of open files or processes (ulimit -n, ulimit -u)"
            ) from error


def _carry_out(queue: JobQueue, team: _Team) -> Iterator[Event]:
    deaths: dict[str, int] = {}
    while True:
        for started in team.hand_out(queue):
            yield Started(started)
        team.share_cores()
        if not team.busy:
            return
        for worker, message in team.messages():
            job = worker.job
            if job is None:
                continue
            match message:
                case {"event": "epoch", **epoch}:
                    yield EpochDone(job, Epoch(**epoch))
                    continue
                case {"event": "finished", "set_aside": set_aside}:
                    team.store.set_aside.extend(set_aside)
                    queue.finish(job)
                    yield Finished(job)
                case {"event": "failed", "reason": reason}:
                    yield from queue.fail(job, reason)
                case {"event": "died", "reason": reason}:
                    deaths[job.key] = deaths.get(job.key, 0) + 1
                    if deaths[job.key] < ATTEMPTS:
                        queue.put_back(job)
                        yield Retried(job, reason)
                    else:
                        yield from queue.fail(job, f"{job.name}: its worker was {reason}, {ATTEMPTS} times; see {LOG}")
            worker.job = None


@dataclass
class _Worker:
    """A worker process and the job it has."""

    server: fork_server.ForkServer
    number: int
    jobs: IO[str]
    events: IO[bytes]
    status: IO[str]
    job: Job | None = None
    cores: int = 1
    unread: bytes = b""
    deadline: float = math.inf
    overdue: bool = False

    def tell(self, message: dict[str, Any]) -> None:
        """Write it a line, unless it was told that there are no more."""
        if self.jobs.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # it has died; `messages` reports that
            self.jobs.write(json.dumps(message) + "\n")
            self.jobs.flush()

    def kill(self) -> None:
        """End it in the middle of its job, if it still lives."""
        if self.server.alive:
            self.server.kill(self.number)
        else:  # nobody else knows its process; it leaves when it has no caller
            self.hang_up()

    def hang_up(self) -> None:
        """Tell it that there will be no more jobs."""
        with contextlib.suppress(BrokenPipeError):  # what was still meant for it is of no use to anybody
            self.jobs.close()


@dataclass
class _Team:
    """The worker processes of a run, one a core but no more than jobs; leaving the ``with`` block ends them at once."""

    cores: int
    jobs: int
    keep_open: tuple[int, ...]
    dataset: Dataset
    store: Store
    time_limit: float | None = None
    workers: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> _Team:
        self.shared = SharedDataset.of(self.dataset)
        self.selector = selectors.DefaultSelector()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            self._close(worker)
        self.selector.close()
        self.shared.file.close()

    @property
    def size(self) -> int:
        """How many workers there may be."""
        return min(self.cores, self.jobs)

    @property
    def busy(self) -> bool:
        """Whether any worker has a job."""
        return any(worker.job for worker in self.workers)

    def hand_out(self, queue: JobQueue) -> Iterator[Job]:
        """Give waiting jobs to idle workers: all start together, and one that has died when there is a job for it."""
        if not self.workers:
            for _ in range(self.size):
                self._start()
        while (idle := self._idle()) and (job := queue.next()):
            worker = idle[0] or self._start()
            worker.job = job
            yield job
            worker.tell(job.to_mapping())

    def share_cores(self) -> None:
        """Tell workers that have jobs on how many cores they may evaluate: all cores, in equal parts."""
        busy = [worker for worker in self.workers if worker.job]
        for place, worker in enumerate(busy):
            cores = (self.cores + len(busy) - 1 - place) // len(busy)
            if cores != worker.cores:
                worker.cores = cores
                worker.tell({"cores": cores})

    def messages(self) -> Iterator[tuple[_Worker, dict[str, Any]]]:
        """Wait for workers to report and yield what they say; a dead one's last word is "died"."""
        for key, _ in self.selector.select(self._time_left()):
            worker: _Worker = key.data
            received = os.read(key.fd, 65536)
            *lines, worker.unread = (worker.unread + received).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["event"] == "started":  # the time that a new process takes to start does not count
                    worker.deadline = math.inf if self.time_limit is None else time.monotonic() + self.time_limit
                else:
                    yield worker, message
            if not received:
                self.workers.remove(worker)
                cause = _cause_of_death(_exit_status(worker, self._close(worker)))
                reason = f"stopped after {self.time_limit:g} s, the time limit" if worker.overdue else cause
                yield worker, {"event": "died", "reason": reason}
        for worker in self.workers:
            if worker.job is not None and time.monotonic() > worker.deadline:
                worker.overdue, worker.deadline = True, math.inf
                worker.kill()

    def _time_left(self) -> float | None:
        """Seconds until the first running job is overdue, None when none can be."""
        first = min((worker.deadline for worker in self.workers if worker.job is not None), default=math.inf)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    def _idle(self) -> list[_Worker | None]:
        idle: list[_Worker | None] = [worker for worker in self.workers if worker.job is None]
        return idle or ([None] if len(self.workers) < self.size else [])

    def _start(self) -> _Worker:
        folder = fork_server.current_folder()
        if folder is None:
            raise TrainingError(
                "a worker process cannot be started, for the current folder has been deleted; what is finished stays: "
                "use the same command in another folder"
            )
        server = fork_server.start()
        with contextlib.ExitStack() as on_failure:
            jobs_read, jobs_write = _pipe(on_failure)
            events_read, events_write = _pipe(on_failure)
            status_read, status_write = _pipe(on_failure)
            with self._log() as log:
                number = server.start(
                    jobs_read, events_write, status_write, self.shared.file.fileno(), log.fileno(), self.keep_open
                )
            on_failure.pop_all()
        for descriptor in (jobs_read, events_write, status_write):
            os.close(descriptor)
        events = os.fdopen(events_read, "rb", buffering=0)
        worker = _Worker(server, number, os.fdopen(jobs_write, "w"), events, os.fdopen(status_read))
        setup = {
            "folder": folder,
            "path": fork_server.module_path(),
            "environment": {**os.environ, **fork_server.WORKER_ENVIRONMENT},
            "store": str(self.store.root.resolve()),
            "data": self.shared.description,
        }
        worker.tell(setup)
        self.selector.register(worker.events, selectors.EVENT_READ, worker)
        self.workers.append(worker)
        return worker

    def _log(self) -> IO[bytes]:
        """Open what workers print into."""
        path = self.store.root / LOG
        try:
            return path.open("ab")
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            raise FolderError(f"{path}: cannot be written {why(error)}") from None

    def _close(self, worker: _Worker) -> str:
        """Free a dead or dying worker's resources and return what is said of its end, "" where nobody is left."""
        with worker.status:
            status = worker.status.read()
        self.selector.unregister(worker.events)
        worker.events.close()
        worker.hang_up()
        return status


def _exit_status(worker: _Worker, said: str) -> int | None:
    """Read what is said of a worker's end, None where nobody is left to tell; `OSError` where the system refused it."""
    if said.startswith(fork_server.REFUSED):
        raise OSError(number := int(said.removeprefix(fork_server.REFUSED)), os.strerror(number))
    if said == str(fork_server.NO_THREAD) or (not said and worker.server.exhausted):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return int(said) if said else None


def _pipe(closing: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        closing.callback(os.close, end)
    return ends


def _cause_of_death(status: int | None) -> str:
    if status is None:
        return "gone"
    if status >= 0:
        return f"gone (exit status {status})"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal has no name
        name = f"signal {-status}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
