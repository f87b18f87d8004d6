"""What do two phases give away at the same test accuracy? Read off what was measured after each epoch."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from redense.arguments import SOME, Rate, validated
from redense.auditing.protocols import ProtocolName
from redense.errors import FolderError
from redense.experiment.comparison import AT_EQUAL_ACCURACY, Comparison, about_leaks, over_seeds
from redense.metrics.roc import Array
from redense.phases import Phase

if TYPE_CHECKING:
    from redense.experiment.trained import Epoch

GRID = 21
"""Test accuracies at which two curves are compared."""
CURVE = 201
"""Places at which a trace's kernel means are taken: its curve is straight between them."""
GAP = 0.5
"""How far apart in test accuracy, on average over seeds, epochs may lie that are compared as equally accurate: in
standard errors of a test accuracy. With more, two pieces of one curve would pass for two curves."""
STRETCH = 1.07
"""How much farther from their mean the differences of seeds are taken to lie: the noise of test accuracies shifts
curves, too, by up to a third of what ten seeds leave."""
WIDTH = 2.0
"""Standard deviation of the kernel, in standard errors of a test accuracy.

The noise of the test accuracies themselves blurs a curve by about half of one, and shifts it where the errors of both
accuracies go together. Simulated (`tests/claims/test_equal_accuracy.py`), the interval over 10 seeds holds in 87% of
runs with a kernel of one standard error, and with one of two as often as it says.
"""


@validated(FolderError)
@dataclass(frozen=True)
class Trace:
    """(test accuracy, inference accuracy) after each epoch of a phase, as fractions.

    Both were measured on `held_out` test examples that the network was not trained on, the second also on as many of
    its training examples.
    """

    points: tuple[tuple[Rate, Rate], ...]
    held_out: Annotated[int, SOME]

    @classmethod
    def of(cls, history: Sequence[Epoch], held_out: int) -> Trace:
        """Read the pairs off a checkpoint's history."""
        return cls(tuple((epoch.test_accuracy, epoch.inference_accuracy) for epoch in history), held_out)

    def error(self, accuracy: Array) -> Array:
        """Return the standard error of test accuracies; one example right and one wrong are added."""
        smoothed = (accuracy * self.held_out + 1) / (self.held_out + 2)
        return np.asarray(np.sqrt(smoothed * (1 - smoothed) / self.held_out))

    def width(self, accuracy: Array) -> Array:
        """Return the kernel's standard deviation at test accuracies."""
        return WIDTH * self.error(accuracy)

    def near(self, accuracy: Array) -> Array:
        """Return the mean (test accuracy, inference accuracy) of the epochs near test accuracies, [n] to [n, 2].

        Epochs, early and late alike, have the weights of a normal density. Where none is near, the nearest counts.
        """
        points = np.array(self.points)
        exponents = -((accuracy[:, None] - points[:, 0]) ** 2) / (2 * self.width(accuracy)[:, None] ** 2)
        weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        mean: Array = weights @ points / weights.sum(axis=1, keepdims=True)
        return mean

    @property
    def curve(self) -> Array:
        """The kernel means (test accuracy, inference accuracy) between the lowest and highest test accuracy, [n, 2].

        Ascending in the first, which stays between those of single epochs: one lucky epoch is not reach.
        """
        accuracies = [accuracy for accuracy, _ in self.points]
        found = self.near(np.linspace(min(accuracies), max(accuracies), CURVE))
        found[:, 0] = np.maximum.accumulate(found[:, 0])
        return found


def mean_points(traces: Sequence[Trace]) -> Array:
    """Return the mean (test accuracy, inference accuracy) over traces after each epoch that all have, [epochs, 2].

    >>> mean_points([Trace(((0.8, 0.5), (0.9, 0.6)), 100), Trace(((0.6, 0.5),), 100)]).tolist()
    [[0.7, 0.5]]
    """
    shortest = min(len(trace.points) for trace in traces)
    mean: Array = np.mean([trace.points[:shortest] for trace in traces], axis=0)
    return mean


@dataclass(frozen=True)
class CurveDifferences:
    """How far curves of inference against test accuracy lie above others, a pair a seed, between two accuracies."""

    of_seeds: tuple[float, ...]
    low: float
    high: float


def curve_differences(pairs: Sequence[tuple[Trace, Trace]]) -> CurveDifferences | None:
    """Return, for each pair of traces, the mean of second minus first over a grid of test accuracies that both reach.

    Each curve is its epochs' kernel-weighted mean inference accuracy over their mean test accuracy with the same
    weights: so both values that are compared belong to one test accuracy, also near the ends of a trace, where a
    kernel's neighbours lie on one side. The grid is the same for all seeds, between what the two reach on average, for
    the noise of a seed moves the ends of its curves; a curve that ends before has its last value there. None where the
    curves have no test accuracy in common: where those that are compared lie more than `GAP` apart on average.

    >>> dense, longer = Trace(((0.90, 0.52), (0.91, 0.54)), 10_000), Trace(((0.91, 0.56), (0.90, 0.54)), 10_000)
    >>> round(curve_differences([(dense, longer)]).of_seeds[0], 3)
    0.02
    """
    curves = [(first.curve, second.curve) for first, second in pairs]
    ends = np.array([[max(one[0, 0], two[0, 0]), min(one[-1, 0], two[-1, 0])] for one, two in curves]).mean(axis=0)
    grid = np.linspace(ends.min(), ends.max(), GRID)
    compared = np.array([_at(grid, two) - _at(grid, one) for one, two in curves])
    gap, error = compared[:, 0].mean(), np.mean([trace.error(ends) for pair in pairs for trace in pair])
    if abs(gap) > GAP * error:
        return None
    return CurveDifferences(tuple(compared[:, 1].mean(axis=1).tolist()), float(ends.min()), float(ends.max()))


def _at(accuracies: Array, curve: Array) -> Array:
    """Return the points (test, inference accuracy) of a curve at test accuracies, or nearest to them, [2, n]."""
    return np.array([np.clip(accuracies, *curve[[0, -1], 0]), np.interp(accuracies, *curve.T)])


def compare_traces(
    first: Phase,
    second: Phase,
    pairs: Sequence[tuple[Trace, Trace]],
    protocol: ProtocolName | None = None,
    without_leak: tuple[float, float] = (0.0, 0.0),
) -> Comparison:
    """Compare two phases, of which `pairs` holds the traces, a pair a seed, at equal test accuracy.

    A seed's difference is that of its two curves; several are tested like other differences over seeds, those of one
    seed have neither interval nor test. `without_leak` are the two phases' p-values of giving nothing away: see
    `redense.experiment.comparison.about_leaks`.

    >>> dense, longer = Trace(((0.90, 0.52), (0.91, 0.54)), 10_000), Trace(((0.91, 0.56), (0.90, 0.54)), 10_000)
    >>> phases = Phase("dense", 2, 1.0, None, 0), Phase("control", 2, 1.0, None, 1, "control-longer", "sparse")
    >>> round(compare_traces(*phases, [(dense, longer)]).difference, 3)
    0.02
    """
    found = curve_differences(pairs)
    if found is None:
        return Comparison(AT_EQUAL_ACCURACY, first, second, 0, None, apart=len(pairs), protocol=protocol)
    mean = statistics.fmean(found.of_seeds)
    stretched = [mean + STRETCH * (one - mean) for one in found.of_seeds]
    comparison = about_leaks(over_seeds(AT_EQUAL_ACCURACY, first, second, stretched), without_leak)
    return dataclasses.replace(comparison, test_accuracy_range=(found.low, found.high), protocol=protocol)
