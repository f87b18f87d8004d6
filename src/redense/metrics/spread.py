"""A figure over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import ndtri, stdtrit

from redense.metrics.paired import ANYTHING, Range, t_interval, within


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds: mean, and standard deviation and 95% interval of the mean (None for one seed).

    The interval is None too where all seeds give the same value.
    """

    mean: float
    deviation: float | None
    interval: Range | None

    @classmethod
    def of(cls, values: Iterable[float], possible: Range = ANYTHING) -> Spread:
        """Summarise one value a seed; the interval is Student's, and ends where values are no longer `possible`.

        >>> Spread.of([1.0, 3.0]).mean
        2.0
        >>> Spread.of([0.90, 0.92], (0.0, 1.0)).interval[1]
        1.0
        """
        values = list(values)
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, t_interval(values, possible=possible))

    @classmethod
    def of_best_accuracy(
        cls, best: Sequence[float], cross_fitted: Sequence[float], intervals: Sequence[Range]
    ) -> Spread:
        """Summarise best balanced accuracies, one a seed, all measured on the same examples; in [0.5, 1].

        The interval is one for the mean, over trainings, of the best accuracy in the population that the examples come
        from. A mean of maxima is too high, and becomes no less so with more seeds. The low end therefore goes out from
        the mean of the `cross_fitted` accuracies, the high one from that of the `best`. Either reaches as far as
        Student's interval over seeds and the mean reach of the `intervals` over examples together, the root of the
        sum of their squares: what the examples have in common is no smaller with more seeds. Of accuracies that do not
        vary over seeds only the examples' is left; where neither does, there is no interval.

        >>> spread = Spread.of_best_accuracy([0.56, 0.58], [0.55, 0.57], [(0.53, 0.59), (0.55, 0.61)])
        >>> round(spread.mean, 2), spread.interval[0]
        (0.57, 0.5)
        """
        of_best, of_cross_fitted = cls.of(best), cls.of(cross_fitted)
        if of_best.interval is None and of_cross_fitted.interval is None:
            return of_best
        below = statistics.fmean(value - low for value, (low, _) in zip(cross_fitted, intervals, strict=True))
        above = statistics.fmean(high - value for value, (_, high) in zip(best, intervals, strict=True))
        low = of_cross_fitted.mean - math.hypot(of_cross_fitted._reach, below)
        high = of_best.mean + math.hypot(of_best._reach, above)
        return cls(of_best.mean, of_best.deviation, within((low, high), (0.5, 1.0)))

    @property
    def _reach(self) -> float:
        """How far the interval reaches; not at all without one."""
        return 0.0 if self.interval is None else self.interval[1] - self.mean


def p_of_guessing(values: Sequence[float], reaches: Sequence[float], confidence: float = 0.95) -> float:
    """Return the one-sided p-value of "on average over trainings these are no better than guessing", 0.5.

    `values` are areas under ROC curves, or accuracies of thresholds learnt on other examples, one a seed, all on the
    same examples; `reaches`, how far the low ends of their intervals over examples lie below them. It is the error at
    which the low end of an interval over trainings and examples is 0.5: as in `Spread.of_best_accuracy` it reaches as
    far as Student's over seeds and the mean one over examples together.

    >>> round(p_of_guessing([0.55], [0.05]), 3), p_of_guessing([0.49, 0.48], [0.05, 0.05])
    (0.025, 1.0)
    """
    mean = statistics.fmean(values)
    if mean <= 0.5:
        return 1.0
    examples = max(0.0, statistics.fmean(reaches)) / float(ndtri(0.5 + confidence / 2))
    trainings = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0

    def reached(tail: float) -> float:
        student = float(-stdtrit(len(values) - 1, tail)) if trainings else 0.0
        return math.hypot(student * trainings, float(-ndtri(tail)) * examples)

    low, high = -15.0, math.log10(0.5)  # powers of ten, between which the error is sought
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(10.0**middle) > mean - 0.5 else (low, middle)
    return float(10.0**high)
