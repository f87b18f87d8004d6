"""What do two phases give away at the same test accuracy? Read off what was measured after each epoch."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from redense.experiment.checkpoints import Epoch
from redense.experiment.comparison import Comparison
from redense.metrics.intervals import balanced_accuracy_error
from redense.metrics.paired import mean_interval
from redense.phases import Phase

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


Match = tuple[tuple[float, float], tuple[float, float]]
"""An epoch of each phase: (test accuracy, inference accuracy) twice."""


def compare_traces(
    first: Phase, second: Phase, pairs: Sequence[tuple[Trace, Trace]], protocol: str | None = None
) -> Comparison:
    """Compare two phases, of which `pairs` holds the traces, a pair a seed, at epochs of equal test accuracy.

    With one seed the interval is over examples, with several over seeds (Student's t).

    >>> dense, longer = Trace(((0.900, 0.52), (0.910, 0.54)), 10_000), Trace(((0.911, 0.56), (0.910, 0.58)), 10_000)
    >>> phases = Phase("dense", 2, 1.0, None, 0), Phase("control", 2, 1.0, None, 1, "control-longer", "sparse")
    >>> round(compare_traces(*phases, [(dense, longer)]).difference, 3)
    0.04
    """
    matches = [_matched(one, other) for one, other in pairs]
    one, other = (statistics.fmean(match[side][0] for match in matches) for side in (0, 1))
    difference = interval = None
    if all(abs(first_epoch[0] - second_epoch[0]) <= SIMILAR for first_epoch, second_epoch in matches):
        differences = [second_epoch[1] - first_epoch[1] for first_epoch, second_epoch in matches]
        difference = statistics.fmean(differences)
        interval = mean_interval(differences, [_error(*both) for both in zip(matches, pairs, strict=True)])
    return Comparison(
        "inference_accuracy_at_equal_test_accuracy",
        first,
        second,
        len(pairs),
        difference,
        interval,
        test_accuracies=(one, other),
        protocol=protocol,
    )


def _matched(one: Trace, other: Trace) -> Match:
    """Return the latest two epochs of equal test accuracy, else the nearest."""
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
