"""Of several optimizers, when a step of the first counts: at the end of the loop's turn that it is made in."""

from __future__ import annotations

from redense.errors import TrainingError, warn_caller

UNKNOWN = (
    "DSD: the optimizers make unequal numbers of steps, and nothing says where a turn of the loop ends; expected "
    "training in the body of `for step in dsd.steps():`, or a phase may begin within a turn, and a resumed training "
    "have other bits"
)


class Turns:
    """Follows which optimizers make steps in a turn, so that no phase changes within one.

    Where a turn ends is known from a loop or a framework that says so. Else it is taken to end when each optimizer has
    made a step, or the first is about to make another: right where the counted one comes last in a turn.

    >>> turns = Turns(2, patience=1000)
    >>> [turns.note(number, told=False) for number in (0, 1)], turns.end()
    ([False, True], True)
    """

    def __init__(self, optimizers: int, patience: int) -> None:
        """Follow so many optimizers; the first must make a step in `patience` steps of the others."""
        self.due = False
        """Whether the first has made a step that is not counted yet."""
        self._count, self._patience = optimizers, patience
        self._seen: set[int] = set()
        """Which have made a step in this turn."""
        self._beginner: int | None = None
        """Which one began the first turn."""
        self._warned = False
        self._others = 0
        """Steps of the others since the first one's last."""

    def note(self, number: int, told: bool) -> bool:
        """Note an optimizer's step, and return whether the turn is over with it; `told`: ends of turns will be told.

        Raises `TrainingError` where the first makes no steps.
        """
        if not self._seen:
            self._begin(number, told)
        self._seen.add(number)
        self.due = self.due or number == 0
        self._others = 0 if number == 0 else self._others + 1
        if self._others > self._patience:
            raise TrainingError(
                f"steps are counted of the first optimizer, which has made none in {self._others} steps of the others; "
                "expected the one first that makes a step in every turn"
            )
        return len(self._seen) == self._count and (self._count == 1 or not told)

    def end(self) -> bool:
        """End the turn; return whether a step is to be counted."""
        due, self.due, self._seen = self.due, False, set()
        return due

    def _begin(self, number: int, told: bool) -> None:
        """Begin a turn; one that seems to begin with another optimizer than the first did is none that begins."""
        if self._beginner is None:
            self._beginner = number
        elif number != self._beginner and not (told or self._warned):
            self._warned = True
            warn_caller(UNKNOWN)
