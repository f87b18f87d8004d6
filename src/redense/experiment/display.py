"""Show a run while it goes: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager

from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import ControlType, Segment, SegmentLines
from rich.table import Column

from redense.experiment.checkpoints import Store
from redense.experiment.events import EpochDone, Event, Failed, Finished, Retried, Started
from redense.experiment.plan import Job
from redense.experiment.trained import Epoch
from redense.text import visible

LINES_EVERY = 10.0
"""Seconds between lines that say how far a run is, where there are no bars."""
ROOMY = 100
"""Columns from which running jobs have bars of their own."""


def progress_console(wanted: bool | None) -> Console:
    """Return where a Python program shows progress, and nothing else: standard error, or the notebook.

    Unless it is said whether that is wanted, it is where there is a person.
    """
    console = Console(stderr=True)
    person = console.is_jupyter or sys.stderr.isatty()
    return console if wanted or (wanted is None and person) else Console(quiet=True)


def has_bars(console: Console) -> bool:
    """Tell whether a console can draw over what it has drawn."""
    return console.is_terminal and not console.is_dumb_terminal


def watch(events: Generator[Event, None, None], jobs: Sequence[Job], store: Store, console: Console) -> Iterator[Event]:
    """Pass an engine's events on and show them on the console as they come."""
    view = _Bars(jobs, store, console) if has_bars(console) else _Lines(jobs, store, console)
    with closing(events), view.shown():
        for event in events:
            view.show(event)
            yield event


@contextmanager
def counted(what: str, total: int, console: Console) -> Iterator[Callable[[str], None]]:
    """Show how many steps of something are done; the function takes the name of a step that is."""
    if has_bars(console):
        progress = Progress(*Progress.get_default_columns(), console=console)
        task = progress.add_task(what, total=total)
        with _Drawn(console, progress):
            yield lambda name: progress.update(task, advance=1, description=f"{what}: {name}")
        return
    lines, done = _Sparing(console), 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        lines.say_sometimes(f"[{done}/{total}] {what}: {name}")

    yield step
    lines.end()


class _Drawn(Live):
    """Draws over what it has drawn, also where the terminal was made narrower since.

    Terminals then break lines anew, and rich would go up by as many rows as it drew: what lies above stayed as a copy.
    """

    def __init__(self, console: Console, *parts: RenderableType) -> None:
        self.measured = _Measured(parts)
        super().__init__(self.measured, console=console, transient=True)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Erase, before what is drawn is erased, the rows that broken lines take more."""
        width = self.console.width
        more = sum(max(0, -(-one // width) - 1) for one in self.measured.widths) if self.console.is_terminal else 0
        erased = super().process_renderables(renderables)
        if not more:
            return erased
        upwards = (ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)
        return [Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *upwards * more), *erased]


class _Measured:
    """Some parts below each other; `widths` are those of the lines that were drawn last."""

    def __init__(self, parts: Sequence[RenderableType]) -> None:
        self.parts = parts
        self.widths: list[int] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw the parts."""
        lines = console.render_lines(Group(*self.parts), options, pad=False)
        self.widths = [Segment.get_line_length(line) for line in lines[: options.size.height]]
        yield SegmentLines(lines, new_lines=True)


class _Sparing:
    """Prints lines, of which some only now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.said = False
        self.spoken = time.monotonic()
        self.latest = ""

    def say(self, text: str) -> None:
        self.said, self.spoken, self.latest = True, time.monotonic(), ""
        self.console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def say_sometimes(self, text: str, last_too: bool = False) -> None:
        """Say it if nothing was said for a while; with `last_too` also at the end, if nothing is said until then."""
        if time.monotonic() - self.spoken >= LINES_EVERY:
            self.say(text)
        elif last_too:
            self.latest = text

    def end(self) -> None:
        """Part the lines, if there were any, from what comes next."""
        if self.latest:
            self.say(self.latest)
        if self.said:
            self.console.print()


PICKED = "the best epoch of what was trained"


class _Lines:
    """For logs and pipes: how far the run is, a line every ten seconds at most; more only of what goes wrong."""

    def __init__(self, jobs: Sequence[Job], store: Store, console: Console) -> None:
        self.lines = _Sparing(console)
        self.store = store
        self.total = len(jobs)
        self.ended = 0
        self.begun = False
        self.latest: dict[str, Epoch] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        yield
        self.lines.end()

    def show(self, event: Event) -> None:
        match event:
            case Started(job):
                self._start(job)
            case EpochDone(job, epoch):
                self.latest[job.key] = epoch
                of = f"epoch {epoch.epoch} of {job.phase.epochs}"
                self.lines.say_sometimes(f"[{self.ended}/{self.total}] {job.name}: {of}, {_state(epoch)}")
            case Finished(job, reused):
                self.ended += 1
                if not reused:
                    state = PICKED if job.picks else _state(self.latest[job.key])
                    self.lines.say_sometimes(f"[{self.ended}/{self.total}] {job.name}: {state}", last_too=True)
            case Retried(job, reason):
                self.lines.say(f"{job.name}: {reason}; trying once more")
            case Failed(_, reason):
                self.ended += 1
                self.lines.say(f"[{self.ended}/{self.total}] failed: {reason}")

    def _start(self, job: Job) -> None:
        """Say where a job goes on, and of the others that the first has begun."""
        done = self.store.epochs_done(job.key)
        say = self.lines.say_sometimes if self.begun else self.lines.say
        if done or not self.begun:
            say(f"[{self.ended}/{self.total}] {job.name}: {_resuming(job, done) if done else 'starting'}")
        self.begun = True


class _Bars:
    """An overall bar with the time left, and a line for every running job."""

    def __init__(self, jobs: Sequence[Job], store: Store, console: Console) -> None:
        self.console = console
        self.store = store
        narrow = console.width < ROOMY
        self.overall = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=10 if narrow else 40),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        bar = [] if narrow else [BarColumn(bar_width=20)]
        self.running = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
            *bar,
            TextColumn("{task.fields[state]}", markup=False, table_column=Column(overflow="fold")),
            console=console,
        )
        self.total = sum(job.epochs for job in jobs)
        self.epochs = self.overall.add_task("all", total=self.total)
        self.tasks: dict[str, TaskID] = {}
        self.begun: set[str] = set()

    @contextmanager
    def shown(self) -> Iterator[None]:
        with _Drawn(self.console, self.overall, self.running):
            yield

    def show(self, event: Event) -> None:
        match event:
            case Started(job):
                self._start(job)
            case EpochDone(job, done):
                self._advance(job, done.epoch)
                state = f"{done.epoch}/{job.phase.epochs}  {_state(done)}"
                self.running.update(self.tasks[job.key], completed=done.epoch, state=state)
            case Finished(job, reused):
                if reused:  # not work that the time left should be judged by
                    self._leave_out(job.epochs)
                self._end(job)
            case Retried(job, reason):
                self.console.print(visible(f"{job.name}: {reason}; trying once more"), highlight=False, markup=False)
                self._end(job)
            case Failed(job, reason):
                self.console.print(visible(f"failed: {reason}"), highlight=False, markup=False)
                self._end(job)

    def _start(self, job: Job) -> None:
        done = self.store.epochs_done(job.key)
        state = _resuming(job, done) if done else f"0/{job.phase.epochs}  starting"
        self.tasks[job.key] = self.running.add_task(job.name, total=job.epochs, completed=done, state=state)
        if job.key not in self.begun:  # what an earlier run has trained; of a second try, it is in the count
            self._leave_out(done)
        self.begun.add(job.key)

    def _advance(self, job: Job, epoch: int) -> None:
        before = self.running.tasks[self.running.task_ids.index(self.tasks[job.key])].completed
        self.overall.advance(self.epochs, epoch - before)

    def _leave_out(self, epochs: int) -> None:
        self.total -= epochs
        self.overall.update(self.epochs, total=self.total)

    def _end(self, job: Job) -> None:
        if job.key in self.tasks:
            self.running.remove_task(self.tasks.pop(job.key))


def _state(epoch: Epoch) -> str:
    return f"loss {epoch.loss:.4f}, test {100 * epoch.test_accuracy:.2f}%"


def _resuming(job: Job, done: int) -> str:
    return f"resuming at epoch {done + 1} of {job.phase.epochs}"
