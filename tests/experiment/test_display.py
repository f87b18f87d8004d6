"""How far a run is, where there are no bars: lines now and then, whatever happens in between."""

import io
import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.text import Text

from redense.experiment import display
from redense.experiment.events import EpochDone, Failed, Finished, Retried, Started
from redense.experiment.trained import Epoch

EPOCHS = 2


def job(number):
    phase = SimpleNamespace(epochs=EPOCHS)
    return SimpleNamespace(key=str(number), name=f"job {number}", phase=phase, picks=False, epochs=EPOCHS)


def events_of(jobs, seconds):
    """A job after the other, each event so many seconds after the one before it."""
    for one in jobs:
        epochs = [EpochDone(one, Epoch(1 + place, 0.5, 0.75, 0.5)) for place in range(EPOCHS)]
        for event in (Started(one), *epochs, Finished(one)):
            yield next(seconds), event


def said(jobs, timed, resumed=0):
    """Lines of a log, with the time of each, of events at their times."""
    clock, lines = [0.0], []
    console = Console(file=io.StringIO(), width=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(display.time, "monotonic", lambda: clock[0])
        patch.setattr(console, "print", lambda *text, **_: lines.append((clock[0], *text)))

        def events():
            for seconds, event in timed:
                clock[0] += seconds
                yield event

        for _ in display.watch(events(), jobs, SimpleNamespace(epochs_done=lambda key: resumed), console):
            pass
    assert lines[-1][1:] == ()  # a blank line parts them from what comes next
    return lines[:-1]


@given(st.lists(st.floats(0, 15), min_size=1, max_size=40), st.integers(1, 12), st.integers(0, 1))
def test_a_line_comes_every_ten_seconds_at_most_and_the_last_tells_the_end(pauses, many, resumed):
    jobs = [job(number) for number in range(many)]
    lines = said(jobs, events_of(jobs, itertools.cycle(pauses)), resumed)
    times = [time for time, _ in lines]
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(times[:-1]))
    begins = "resuming at epoch 2 of 2" if resumed else "starting"
    assert lines[0] == (times[0], f"[0/{many}] job 0: {begins}")
    assert lines[-1][1] == f"[{many}/{many}] job {many - 1}: loss 0.5000, test 75.00%"


def test_what_goes_wrong_is_said_at_once():
    jobs = [job(0), job(1)]
    timed = [(1, Started(jobs[0])), (1, Retried(jobs[0], "killed")), (1, Failed(jobs[0], "job 0: no luck"))]
    lines = [text for _, text in said(jobs, timed)]
    assert lines == ["[0/2] job 0: starting", "job 0: killed; trying once more", "[1/2] failed: job 0: no luck"]


PARTS = Text("a" * 10), Text(f"{'b' * 75}\n{'c' * 80}")


def terminal():
    return Console(file=io.StringIO(), width=80, height=24, force_terminal=True, force_interactive=True)


def still(live):
    """The same, drawn when asked alone."""
    live.auto_refresh = False
    return live


@pytest.mark.parametrize(("width", "rows"), [(80, 3), (100, 3), (78, 4), (70, 5), (40, 5), (25, 8)])
def test_bars_are_erased_whole_where_the_terminal_was_made_narrower(width, rows):
    """Of lines of 10, 75 and 80 letters as many rows go as a terminal of another width breaks them into."""
    console = terminal()
    with still(display._Drawn(console, *PARTS)) as drawn:
        assert drawn.measured.widths == [10, 75, 80]
        console.width = width
        controls = [str(one) for one in drawn.process_renderables([]) if isinstance(one, Control)]
        console.width = 80
    assert "".join(controls).count("\x1b[1A") == rows - 1


def test_bars_that_nothing_happens_to_are_drawn_as_rich_draws_them():
    ours, theirs = terminal(), terminal()
    with still(display._Drawn(ours, *PARTS)), still(Live(Group(*PARTS), console=theirs, transient=True)):
        pass
    assert ours.file.getvalue() == theirs.file.getvalue() != ""
