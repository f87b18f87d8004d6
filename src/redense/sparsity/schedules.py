"""How sparsity comes about inside a sparse phase: at once, or little by little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from redense.arguments import Count, Sparsity, validated
from redense.errors import RecipeError
from redense.sparsity.checks import MaskChoice
from redense.sparsity.masks import Masks, Selection, saliency_of
from redense.sparsity.saliency import magnitude, random

__all__ = ["Cubic", "OneShot", "Schedule"]


class Schedule(Protocol):
    """Says when masks are chosen anew, and how sparse."""

    def updates(self, sparsity: float, length: int) -> Mapping[int, float]:
        """Map epochs (or steps) since the start of a phase of that length to sparsities; the last is `sparsity`."""


@validated(RecipeError)
@dataclass(frozen=True)
class OneShot:
    """All at the start of the phase, as DSD does."""

    @validated(RecipeError)
    def updates(self, sparsity: Sparsity, length: Count) -> Mapping[int, float]:
        """Prune once.

        >>> OneShot().updates(0.5, 10)
        {0: 0.5}
        """
        return {0: sparsity}


@validated(RecipeError)
@dataclass(frozen=True)
class Cubic:
    """Rise from `initial`, fast at first: s + (initial - s) (1 - t/T)^3, every `every` epochs (or steps).

    T is the `share` of the phase, rounded down; the rest trains at the full sparsity. Source: Zhu & Gupta, "To
    prune, or not to prune", 2017, arXiv 1710.01878, equation 1.
    """

    every: int = 1
    share: float = 0.75
    initial: float = 0.0

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.share < 1 or not 0 <= self.initial < 1:
            raise RecipeError(
                f"schedule: got every={self.every}, share={self.share}, initial={self.initial}; expected every of at "
                "least 1, share between 0 and 1, initial from 0 (included) to 1 (excluded)"
            )

    @validated(RecipeError)
    def updates(self, sparsity: Sparsity, length: Count) -> Mapping[int, float]:
        """Prune more at every update.

        >>> Cubic().updates(0.8, 4)
        {0: 0.0, 1: 0.5629629629629629, 2: 0.7703703703703704, 3: 0.8}
        """
        if self.initial > sparsity:
            raise RecipeError(f"schedule: got initial={self.initial:g}; expected at most the sparsity, {sparsity:g}")
        end = int(self.share * length)
        if end == 0:
            return {0: sparsity}
        if end / self.every > MOST_UPDATES:
            raise RecipeError(
                f"schedule: got every={self.every} in {length:,}, which is {end // self.every:,} masks; expected at "
                f"most {MOST_UPDATES:,}: choose a larger `every`"
            )
        times = [*range(0, end, self.every), end]
        return {t: sparsity + (self.initial - sparsity) * (1 - t / end) ** 3 for t in times}


MOST_UPDATES = 1_000_000
UPDATES = 100
"""Epochs (or steps) from twice as many on have no update each: choosing a mask takes longer than a step."""


def gradual(length: int) -> Cubic:
    """Return the cubic of a phase with ``masks="gradual"``: an update every epoch, of 200 or more 76 to 113 in all.

    >>> gradual(20).every, gradual(10_000).every
    (1, 100)
    >>> max(len(gradual(length).updates(0.5, length)) for length in range(200, 1000))
    113
    """
    return Cubic(every=max(1, length // UPDATES))


def chosen(
    masks: MaskChoice | None, length: int, seed: int, schedule: Schedule, selection: Selection
) -> tuple[Schedule, Selection]:
    """Say when a sparse phase of that length chooses masks, and by what, as its `masks` have it.

    ``random`` is once and by chance, drawn from `seed`; ``gradual`` is little by little, by what the selection says;
    None is as `schedule` and `selection` say.

    >>> chosen("gradual", 4, 0, OneShot(), {})[0].updates(0.8, 4)
    {0: 0.0, 1: 0.5629629629629629, 2: 0.7703703703703704, 3: 0.8}
    """
    if masks == "random":
        return OneShot(), {**selection, "saliency": random(seed)}
    return (gradual(length) if masks == "gradual" else schedule), selection


def in_force(schedule: Schedule, sparsity: float, length: int, since: int) -> float:
    """Return the sparsity that holds after `since` epochs (or steps) of a phase.

    >>> in_force(Cubic(every=2), 0.8, 8, 5) == Cubic(every=2).updates(0.8, 8)[4]
    True
    """
    updates = schedule.updates(sparsity, length)
    return updates[max(time for time in updates if time <= since)]


def on_the_way(selection: Selection, share: float, masks: Masks) -> Selection:
    """Adapt a selection to a mask on the way to the last one, whose sparsity is `share` of the last one's.

    Explicit sparsities fall in proportion; with `masks` in force, pruned weights stay pruned.
    """
    adapted = selection.copy()
    distribution = selection.get("distribution", "uniform")
    if not isinstance(distribution, str):
        adapted["distribution"] = {pattern: share * value for pattern, value in distribution.items()}
    saliency = saliency_of(selection)
    if saliency is not magnitude and masks:  # by magnitude zeros go first anyway
        adapted["saliency"] = lambda model, parameters: {
            name: values * masks[name] for name, values in saliency(model, parameters).items()
        }
    return adapted
