"""Show a run while it goes: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from redense.experiment.checkpoints import Epoch
from redense.experiment.events import EpochDone, Event, Failed, Finished, Retried, Started
from redense.experiment.plan import Job


def watch(events: Generator[Event, None, None], jobs: Sequence[Job], console: Console) -> Iterator[Event]:
    """Pass an engine's events on and show them on the console as they come."""
    view = _Bars(jobs, console) if console.is_terminal else _Lines(jobs, console)
    with closing(events), view.shown():
        for event in events:
            view.show(event)
            yield event


class _Lines:
    """One line a finished job, for logs and pipes."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.console = console
        self.total = len(jobs)
        self.ended = 0
        self.latest: dict[str, Epoch] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        yield

    def show(self, event: Event) -> None:
        match event:
            case EpochDone(job, epoch):
                self.latest[job.key] = epoch
            case Finished(job, reused):
                self.ended += 1
                if not reused:
                    last = self.latest[job.key]
                    self._say(f"{job.name}: loss {last.loss:.4f}, test {100 * last.test_accuracy:.2f}%")
            case Retried(job, reason):
                self.console.print(f"{job.name}: {reason}; trying once more", highlight=False)
            case Failed(_, reason):
                self.ended += 1
                self._say(f"failed: {reason}")

    def _say(self, text: str) -> None:
        self.console.print(f"[{self.ended}/{self.total}] {text}", highlight=False, markup=False, soft_wrap=True)


class _Bars:
    """An overall bar with the time left, and a line for every running job."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.console = console
        self.overall = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs, time left"),
            TimeRemainingColumn(),
            console=console,
        )
        self.running = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
        )
        self.total = sum(job.phase.epochs for job in jobs)
        self.epochs = self.overall.add_task("all jobs", total=self.total)
        self.tasks: dict[str, TaskID] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        with Live(Group(self.overall, self.running), console=self.console, transient=True):
            yield

    def show(self, event: Event) -> None:
        match event:
            case Started(job):
                self.tasks[job.key] = self.running.add_task(job.name, total=job.phase.epochs, state="starting")
            case EpochDone(job, done):
                task = self.tasks[job.key]
                state = f"loss {done.loss:.4f}  test {100 * done.test_accuracy:.2f}%"
                before = self.running.tasks[self.running.task_ids.index(task)].completed
                self.running.update(task, completed=done.epoch, state=state)
                self.overall.advance(self.epochs, done.epoch - before)
            case Finished(job, reused):
                if reused:  # not work that the time left should be judged by
                    self.total -= job.phase.epochs
                    self.overall.update(self.epochs, total=self.total)
                self._end(job)
            case Retried(job, reason):
                self.console.print(f"{job.name}: {reason}; trying once more", highlight=False)
                self._end(job)
            case Failed(job, reason):
                self.console.print(f"failed: {reason}", highlight=False, markup=False)
                self._end(job)

    def _end(self, job: Job) -> None:
        if job.key in self.tasks:
            self.running.remove_task(self.tasks.pop(job.key))
