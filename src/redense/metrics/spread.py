"""A figure over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from redense.metrics.paired import t_interval


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds: mean, and standard deviation and 95% t-interval of the mean (None for one seed).

    The interval is None too where all seeds give the same value.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise one value a seed.

        >>> Spread.of([1.0, 3.0]).mean
        2.0
        """
        values = list(values)
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, t_interval(values))
