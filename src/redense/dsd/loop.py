"""Phases as a loop: which epoch or step comes next, what counts as over, and where to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from redense.arguments import validated
from redense.errors import RecipeError, TrainingError, warn_caller
from redense.phases import Phase, running, total

Unit = Literal["epochs", "steps"]

IDLE = 1000
"""Turns of a loop over steps that may pass without one, whatever the phases take: gradients may be accumulated."""
IDLE_STEPS = (
    "{} turns of the loop over dsd.steps() without a step of the optimizer that DSD was given; expected step() to be "
    "called in the body of the loop"
)


class Loop:
    """Moves through phases that are counted in epochs or in optimizer steps; subclasses say what happens there.

    Phases of no length are left out.
    """

    def __init__(self, phases: Sequence[Phase], unit: Unit) -> None:
        self.phases = tuple(phase for phase in phases if phase.epochs)
        self.unit: Unit = unit
        self.progress = 0
        """Epochs (or steps) that are over."""
        self.first = 0
        """The number of the first epoch, as the script counts."""
        self.begun = False
        """Whether the loop has begun here."""
        self._started = False
        """Whether the first phase has begun, here or before the state was taken that was loaded."""
        self._stepped = False
        """Whether the optimizer has made a step in this epoch."""
        self._told = False
        """Whether the end of the phase was told, though the epoch (or step) is not counted yet."""
        self._loaded = False
        self._tells_turns = False
        """Whether the loop, or a framework, says where a turn of it ends."""
        self.left: int | None = None
        """Where the loop was left before all phases were over: epochs (or steps) that were."""
        self.beyond = 0
        """Steps after the last phase; phases in steps count them as long as nobody has left the loop."""

    @property
    def total(self) -> int:
        """Epochs (or steps) of all phases together."""
        return total(self.phases)

    @property
    def finished(self) -> bool:
        """Whether the loop is over: after all phases, or where it was left before (`left`)."""
        return self.progress >= self.total

    @property
    def phase(self) -> Phase:
        """The phase that is running; before the start the first, at the end the last."""
        return running(self.phases, self.progress)[0]

    @validated(TrainingError)
    def epochs(self, start: int | None = None, *, first: int = 0) -> Iterator[int]:
        """Yield 0, 1, 2, ... over all phases, changing masks, rate and moments between them.

        After a break, or `load_state_dict`, another call goes on where it stopped: an epoch counts as over when the
        optimizer has made a step in it, unless its state was taken with ``within_epoch=True``. `start` says otherwise:
        the epoch to go on with, that of the state or the one after it. `first` is the number of the first epoch, 1 in
        scripts that count from one; `start` counts from there, too.

        Raises `TrainingError` when an epoch ends in which the optimizer has made no step (but for the first one after
        resuming), and for a `start` that does not fit the state.
        """
        self._check_unit("epochs")
        return self._epochs(None if start is None else start - first, first)

    def steps(self) -> Iterator[int]:
        """Yield the number of the coming optimizer step until all phases are over.

        The optimizer's steps are counted, not the turns of the loop, so that a turn without a step (gradients that
        overflowed, accumulation) yields the same number again.
        """
        self._check_unit("steps")
        return self._steps()

    def start(self) -> None:
        """Enter the first phase, unless a phase is running. `epochs` and `steps` do this themselves."""
        if self.begun or self.finished:
            return
        self.begun = True
        if not self._started:
            self._started = True
            self._begin()
        if self.unit == "steps" and self._stepped:  # the state was taken at the end of a phase, within a step
            self.advance()
        else:
            self._say()

    def advance(self) -> None:
        """Count an epoch (or step) as over and enter the next phase when its time has come.

        `epochs` and `steps` do this themselves. Raises `TrainingError` when no phase is running.
        """
        if not self._started or self.finished:
            raise TrainingError(f"advance: got {self!r}; expected one that is running; call start first")
        phase, since = running(self.phases, self.progress)
        ends = since + 1 == phase.epochs
        self._stepped = True  # a state that is taken now counts this epoch (or step) as over
        if ends and not self._told:
            self._told = True
            try:
                self._end_phase()
            except BaseException:  # who goes on is told again
                self._told = False
                raise
        self.progress += 1
        self._stepped = self._told = False
        self._moved(ends)
        if ends and not self.finished:
            self._say()

    @validated(TrainingError)
    def advance_to(self, epoch: int) -> None:
        """Start, and count epochs as over until `epoch` (from 0) is the coming one; phases in steps only start.

        For frameworks that number the epochs themselves: call it at the beginning of each.
        """
        self._tells_turns = True
        self.start()
        self._end_turn()  # before gradients of the next one are there
        while self.unit == "epochs" and self.progress < epoch:
            self.advance()

    @validated(TrainingError)
    def end_epoch(self, epoch: int) -> None:
        """Count `epoch` (from 0) as over if it is the last, and tell the end of its phase.

        For frameworks: call it at the end of each. Others wait for `advance_to` at the beginning of the next, so that
        a checkpoint in between holds the model of the phase that ends. Phases in steps count themselves.
        """
        if self.unit == "epochs" and epoch + 1 >= self.total:
            self.advance_to(self.total)

    def end_training(self) -> None:
        """Leave the loop as `epochs` and `steps` do after the last phase, or where it is if training ends before.

        For frameworks: call it at the end of training. Warns where phases and training did not end together.
        """
        self._end_turn()
        self._end()
        self._warn_of_end()

    def remove(self) -> None:
        """End the loop where it is."""
        self._leave()

    def _end(self) -> None:
        """Leave the loop after its last phase, or with training."""
        self.remove()

    def _warn_of_end(self) -> None:
        """Warn of what is not so, when training has ended, as the phases have it."""

    def _begin(self) -> None:
        """Enter the first phase."""

    def _end_phase(self) -> None:
        """Look at a phase that is over before anything changes."""

    def _moved(self, ended: bool) -> None:
        """Do what is due when an epoch (or step) was counted; `ended`: it was its phase's last."""

    def _end_turn(self) -> None:
        """Do what is due when a turn of the loop over steps is over."""

    def _say(self) -> None:
        """Say which phase begins."""

    def _count_step(self) -> None:
        """Note that the optimizer has made a step."""
        if self.unit == "steps":
            self.advance()
        else:
            self._stepped = True

    def _leave(self) -> None:
        if self._started and not self.finished:
            self.left = self.progress
        self._started = self.begun = self._stepped = self._told = False
        self.progress = self.total

    def _resume(self, progress: int, *, started: bool, over: bool, told: bool) -> bool:
        """Go on where another loop over the same phases was; `over`: the epoch it was in counts as over.

        `told`: the end of its phase was told. Returns whether a phase is running there.
        """
        if isinstance(progress, bool) or not isinstance(progress, int) or not 0 <= progress <= self.total:
            raise TrainingError(f"load_state_dict: got progress {progress!r}; expected 0 to {self.total} {self.unit}")
        self.progress, self._stepped, self._told, self._loaded = progress, over, told, True
        self._started = started and not self.finished
        return self._started

    def _check_unit(self, unit: str) -> None:
        if unit != self.unit:
            raise RecipeError(f"{unit}: got phases in {self.unit}; iterate over {self.unit}()")

    def _epochs(self, start: int | None, first: int) -> Iterator[int]:
        excused, self.first = self._loaded, first
        self.start()
        if start is not None:
            self._go_to(start)
        elif self._stepped and not self.finished:
            self.advance()
        while not self.finished:
            self._stepped = False
            yield self.progress + first
            if not self._stepped and not excused and self.begun:
                raise TrainingError(
                    f"epoch {self.progress + first} ended without a step of the optimizer that DSD was given; "
                    "expected optimizer.step() to be called in the body of the loop (where a GradScaler has skipped "
                    "all steps of the epoch, give it a smaller init_scale)"
                )
            excused = False
            if self.begun:  # the body may have called remove
                self.advance()
        self._end()

    def _go_to(self, start: int) -> None:
        """Begin the loop at the epoch that the script says: the state's own, or the one after it."""
        last = self.progress + (self._loaded or self._stepped)
        if not self.progress <= start <= last:
            expected = " or ".join(str(epoch + self.first) for epoch in dict.fromkeys((self.progress, last)))
            raise TrainingError(
                f"start: got epoch {start + self.first}; expected {expected} (from {self.first}), where the state was "
                "taken"
            )
        if start > self.progress:
            self.advance()

    def _steps(self) -> Iterator[int]:
        self._tells_turns = True
        try:
            yield from self._turns_of_steps()
        finally:
            self._tells_turns = False
            self._end_turn()  # of a loop that was left within its body

    def _turns_of_steps(self) -> Iterator[int]:
        self.start()
        if self._stepped and not self.finished:  # the loop broke off while the end of a phase was told
            self.advance()
        idle = 0
        while not self.finished:
            before = self.progress
            yield self.progress
            self._end_turn()
            idle = idle + 1 if self.progress == before else 0
            if idle == max(self.total, IDLE):
                warn_caller(IDLE_STEPS.format(idle))
        self._end()
