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
from redense.experiment.comparison import AT_EQUAL_ACCURACY, Comparison, over_seeds
from redense.metrics.roc import Array
from redense.phases import Phase

if TYPE_CHECKING:
    from redense.experiment.trained import Epoch

GRID = 21
"""Test accuracies at which two curves are compared."""
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

    def width(self, accuracy: Array) -> Array:
        """Return the kernel's standard deviation at test accuracies; one example right and one wrong are added."""
        smoothed = (accuracy * self.held_out + 1) / (self.held_out + 2)
        return WIDTH * np.sqrt(smoothed * (1 - smoothed) / self.held_out)

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
    def extremes(self) -> Array:
        """The lowest and the highest test accuracy of an epoch, [2]."""
        accuracies = [accuracy for accuracy, _ in self.points]
        return np.array([min(accuracies), max(accuracies)])

    @property
    def reach(self) -> Array:
        """The lowest and the highest test accuracy near which epochs lie: one lucky epoch is not reach, [2]."""
        return self.near(self.extremes)[:, 0]


def mean_points(traces: Sequence[Trace]) -> Array:
    """Return the mean (test accuracy, inference accuracy) over traces after each epoch that all have, [epochs, 2].

    >>> mean_points([Trace(((0.8, 0.5), (0.9, 0.6)), 100), Trace(((0.6, 0.5),), 100)]).tolist()
    [[0.7, 0.5]]
    """
    shortest = min(len(trace.points) for trace in traces)
    mean: Array = np.mean([trace.points[:shortest] for trace in traces], axis=0)
    return mean


@dataclass(frozen=True)
class CurveDifference:
    """How far one curve of inference against test accuracy lies above another, between two test accuracies."""

    mean: float
    low: float
    high: float


def curve_difference(first: Trace, second: Trace) -> CurveDifference | None:
    """Return the mean, over a grid of test accuracies that both traces reach, of second minus first.

    Each curve is its epochs' kernel-weighted mean inference accuracy. None where the two are more than a kernel's width
    apart.

    >>> dense, longer = Trace(((0.90, 0.52), (0.91, 0.54)), 10_000), Trace(((0.91, 0.56), (0.90, 0.54)), 10_000)
    >>> round(curve_difference(dense, longer).mean, 3)
    0.02
    """
    (start, end), (other_start, other_end) = first.extremes, second.extremes
    low, high = max(start, other_start), min(end, other_end)
    if low - high > first.width(np.array([(low + high) / 2]))[0]:
        return None
    (start, end), (other_start, other_end) = first.reach, second.reach
    low, high = sorted((float(max(start, other_start)), float(min(end, other_end))))
    grid = np.linspace(low, high, GRID)
    return CurveDifference(float((second.near(grid) - first.near(grid))[:, 1].mean()), low, high)


def compare_traces(
    first: Phase, second: Phase, pairs: Sequence[tuple[Trace, Trace]], protocol: ProtocolName | None = None
) -> Comparison:
    """Compare two phases, of which `pairs` holds the traces, a pair a seed, at equal test accuracy.

    A seed's difference is that of its two curves; several are tested like other differences over seeds, those of one
    seed have neither interval nor test. The range of test accuracies is the mean over seeds.

    >>> dense, longer = Trace(((0.90, 0.52), (0.91, 0.54)), 10_000), Trace(((0.91, 0.56), (0.90, 0.54)), 10_000)
    >>> phases = Phase("dense", 2, 1.0, None, 0), Phase("control", 2, 1.0, None, 1, "control-longer", "sparse")
    >>> round(compare_traces(*phases, [(dense, longer)]).difference, 3)
    0.02
    """
    met = [found for found in (curve_difference(*pair) for pair in pairs) if found is not None]
    apart = len(pairs) - len(met)
    if not met:
        return Comparison(AT_EQUAL_ACCURACY, first, second, 0, None, apart=apart, protocol=protocol)
    found = over_seeds(AT_EQUAL_ACCURACY, first, second, [one.mean for one in met])
    between = statistics.fmean(one.low for one in met), statistics.fmean(one.high for one in met)
    return dataclasses.replace(found, test_accuracy_range=between, apart=apart, protocol=protocol)
