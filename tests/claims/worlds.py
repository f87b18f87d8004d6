"""Worlds whose truth is known: unit normal scores, members shifted, as they are, rounded or cut off at the top."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri

SHIFTS = (0.0, 0.5, 1.0, 2.0)
SIZES = ((60, 60), (500, 500), (1000, 1000), (10_000, 10_000), (1000, 100), (60, 1000))
FINE = np.linspace(-9.0, 12.0, 210_001)


@dataclass(frozen=True)
class World:
    """Scores normal(0, 1) of non-members and normal(shift, 1) of members, then rounded or saturated.

    `step` is what scores are rounded to multiples of (0: not at all). With `saturated`, that share of all, members and
    non-members in equal parts, has the very highest score.
    """

    shift: float
    step: float = 0.0
    saturated: float = 0.0

    @property
    def name(self):
        if self.step:
            return f"rounded to {self.step:g}"
        return f"{100 * self.saturated:g}% at the top" if self.saturated else "continuous"

    @property
    def settings(self):
        """Whole numbers that tell this world from others."""
        return [round(100 * value) for value in (self.shift, self.step, self.saturated)]

    def draw(self, generator, members, nonmembers):
        """Return scores [members + nonmembers], members first."""
        scores = generator.normal(size=members + nonmembers)
        scores[:members] += self.shift
        return self.seen(scores)

    def seen(self, scores):
        if self.step:
            return np.round(scores / self.step) * self.step
        return np.minimum(scores, top_of(self.shift, self.saturated)) if self.saturated else scores

    def rates(self, threshold):
        """Return TPR and FPR in the population of guessing "member" at scores of at least `threshold`."""
        threshold = np.asarray(threshold, dtype=float)
        if self.step:
            edge = (np.ceil(threshold / self.step - 1e-9) - 0.5) * self.step
        elif self.saturated:
            edge = np.where(threshold <= top_of(self.shift, self.saturated), threshold, np.inf)
        else:
            edge = threshold
        return ndtr(self.shift - edge), ndtr(-edge)

    @property
    def best_threshold(self):
        middle = self.shift / 2
        return min(middle, top_of(self.shift, self.saturated)) if self.saturated else middle

    def accuracy(self, threshold):
        tpr, fpr = self.rates(threshold)
        return (tpr + 1 - fpr) / 2


# Truths: along a fine grid of thresholds, which has every level of rounded scores; the last one is nobody.


@cache
def top_of(shift, saturated):
    """Return the score above which that share of members and non-members, in equal parts, lies."""
    return float(np.interp(-saturated, -(ndtr(-FINE) + ndtr(shift - FINE)) / 2, FINE))


@cache
def curve_of(world):
    top = [top_of(world.shift, world.saturated)] if world.saturated else []
    return world.rates(np.sort(np.concatenate((FINE, top, [np.inf]))))


@cache
def true_auc(world):
    tpr, fpr = curve_of(world)
    return float(-np.trapezoid(tpr, fpr))


@cache
def true_best(world):
    tpr, fpr = curve_of(world)
    return float(np.max(tpr + 1 - fpr) / 2)


@cache
def true_tpr(world, rate):
    """Return the TPR at the largest attainable FPR not above `rate`."""
    if not world.step and not (world.saturated and world.rates(top_of(world.shift, world.saturated))[1] > rate):
        return float(ndtr(world.shift + ndtri(rate)))
    tpr, fpr = curve_of(world)
    return float(np.max(tpr[fpr <= rate]))


def worlds():
    """Return the grid's worlds: continuous, rounded, and with 20 and 60% of all scores at the top."""
    kinds = ({}, {"step": 1.0}, {"saturated": 0.2}, {"saturated": 0.6})
    return [World(shift, **kind) for kind in kinds for shift in SHIFTS]
