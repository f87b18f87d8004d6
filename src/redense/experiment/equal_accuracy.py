"""What do two phases give away at the same test accuracy? Read off what was measured after each epoch."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtri, stdtrit

from redense.experiment.checkpoints import Epoch
from redense.metrics.intervals import balanced_accuracy_error

SIMILAR = 0.005
"""Test accuracies that differ by no more are called equal."""


@dataclass(frozen=True)
class Trace:
    """(test accuracy, inference accuracy) after each epoch of a phase, as fractions.

    Both were measured on `held_out` test examples that the network was not trained on, the second also on as many of
    its training examples.
    """

    points: tuple[tuple[float, float], ...]
    held_out: int

    @classmethod
    def of(cls, history: Sequence[Epoch], held_out: int) -> Trace:
        """Read the pairs off a checkpoint's history."""
        return cls(tuple((epoch.test_accuracy, epoch.inference_accuracy) for epoch in history), held_out)


@dataclass(frozen=True)
class EqualAccuracy:
    """Two epochs of equal test accuracy, one of each phase, and the difference of their inference accuracies.

    `difference` is the second's minus the first's, a mean over seeds, with its 95% interval; both are None where
    there is no such pair; `test_accuracies` are then the nearest. `protocol` names an audit's kind of targets.
    """

    first: str
    second: str
    test_accuracies: tuple[float, float]
    difference: float | None
    interval: tuple[float, float] | None
    seeds: int
    protocol: str = ""

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        first, second = (100 * accuracy for accuracy in self.test_accuracies)
        protocol = f", {self.protocol}" if self.protocol else ""
        if self.difference is None or self.interval is None:
            return (
                f"{self.second} and {self.first} have no epochs of equal test accuracy (nearest: {second:.2f}% and "
                f"{first:.2f}%){protocol}."
            )
        low, high = (100 * end for end in self.interval)
        return (
            f"at equal test accuracy ({second:.2f}% and {first:.2f}%) {self.second} has an inference accuracy "
            f"{100 * self.difference:+.2f} points [{low:+.2f}, {high:+.2f}] from {self.first}'s{protocol}, "
            f"{self.seeds} seed{'s' * (self.seeds > 1)}."
        )


def compare_traces(first: str, second: str, pairs: Sequence[tuple[Trace, Trace]], protocol: str = "") -> EqualAccuracy:
    """Compare two phases, of which `pairs` holds the traces, a pair a seed, at epochs of equal test accuracy.

    With one seed the interval is over examples, with several over seeds (Student's t).

    >>> dense, longer = Trace(((0.900, 0.52), (0.910, 0.54)), 10_000), Trace(((0.911, 0.56), (0.910, 0.58)), 10_000)
    >>> round(compare_traces("dense", "longer", [(dense, longer)]).difference, 3)
    0.04
    """
    matches = [_matched(one, other) for one, other in pairs]
    accuracies = tuple(statistics.fmean(match[side][0] for match in matches) for side in (0, 1))
    difference = interval = None
    if all(abs(one[0] - other[0]) <= SIMILAR for one, other in matches):
        differences = [other[1] - one[1] for one, other in matches]
        difference = statistics.fmean(differences)
        errors = [_error(match, pair) for match, pair in zip(matches, pairs, strict=True)]
        reach = half_width(differences, errors)
        interval = (difference - reach, difference + reach)
    return EqualAccuracy(first, second, (accuracies[0], accuracies[1]), difference, interval, len(pairs), protocol)


def half_width(differences: Sequence[float], errors: Sequence[float]) -> float:
    """Half the width of a mean's 95% interval: over seeds where there are several, else from the standard error."""
    if len(differences) > 1:
        spread = statistics.stdev(differences) / math.sqrt(len(differences))
        return float(stdtrit(len(differences) - 1, 0.975)) * spread
    return float(ndtri(0.975)) * errors[0]


Match = tuple[tuple[float, float], tuple[float, float]]


def _matched(one: Trace, other: Trace) -> Match:
    """Return (test accuracy, inference accuracy) of the latest two epochs of equal test accuracy, else the nearest."""
    places = itertools.product(range(len(one.points)), range(len(other.points)))

    def unlikeness(place: tuple[int, int]) -> tuple[float, int]:
        difference = abs(one.points[place[0]][0] - other.points[place[1]][0])
        return max(difference, SIMILAR), -sum(place)

    first, second = min(places, key=unlikeness)
    return one.points[first], other.points[second]


def _error(match: Match, traces: tuple[Trace, Trace]) -> float:
    """Standard error of a difference of two epochs' inference accuracies, as if they were independent."""
    return math.hypot(
        *(
            balanced_accuracy_error(point[1], 1 - point[1], trace.held_out, trace.held_out)
            for point, trace in zip(match, traces, strict=True)
        )
    )
