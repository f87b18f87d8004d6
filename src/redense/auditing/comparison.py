"""Does a phase leak more than another? Paired over the same examples, or over seeds, and at equal test accuracy."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtri, stdtrit

from redense.attacks.references import Array
from redense.auditing.audit import example_risks
from redense.auditing.of_run import AuditRow
from redense.metrics.intervals import balanced_accuracy_error
from redense.metrics.roc import Members

SIMILAR = 0.005
"""Test accuracies that differ by no more are called equal."""


@dataclass(frozen=True)
class Comparison:
    """How much higher the primary attack's AUC is after `second` than after `first`, with its 95% interval."""

    protocol: str
    first: str
    second: str
    attack: str
    difference: float
    interval: tuple[float, float]
    seeds: int

    @property
    def sentence(self) -> str:
        """The comparison in words.

        >>> Comparison("half", "dense", "re-dense 50%", "LiRA online", 0.02, (0.01, 0.03), 1).sentence
        're-dense 50% leaks more than dense: AUC of LiRA online +0.0200 [+0.0100, +0.0300], half, 1 seed.'
        """
        low, high = self.interval
        if low > 0:
            says = f"{self.second} leaks more than {self.first}"
        elif high < 0:
            says = f"{self.second} leaks less than {self.first}"
        else:
            says = f"no difference between {self.second} and {self.first} that this audit can show"
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        return (
            f"{says}: AUC of {self.attack} {self.difference:+.4f} [{low:+.4f}, {high:+.4f}], {self.protocol}, {seeds}."
        )


@dataclass(frozen=True)
class EqualAccuracy:
    """Two epochs of equal test accuracy, one of each phase, and the difference of their inference accuracies.

    Of all pairs of epochs whose test accuracies are within `SIMILAR` the latest is taken. None in `difference` where
    there is no such pair; `test_accuracies` are then the nearest.
    """

    protocol: str
    first: str
    second: str
    test_accuracies: tuple[float, float]
    difference: float | None
    interval: tuple[float, float] | None
    seeds: int

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        first, second = (100 * accuracy for accuracy in self.test_accuracies)
        if self.difference is None or self.interval is None:
            return (
                f"{self.second} and {self.first} have no epochs of equal test accuracy (nearest: {second:.2f}% and "
                f"{first:.2f}%), {self.protocol}."
            )
        low, high = (100 * end for end in self.interval)
        return (
            f"at equal test accuracy ({second:.2f}% and {first:.2f}%) {self.second} has an inference accuracy "
            f"{100 * self.difference:+.2f} points [{low:+.2f}, {high:+.2f}] from {self.first}'s, {self.protocol}, "
            f"{self.seeds} seed{'s' * (self.seeds > 1)}."
        )


def auc_difference(first: Array, second: Array, members: Members) -> tuple[float, float]:
    """Return AUC(second) - AUC(first) on the same n examples, and its standard error (DeLong et al. 1988).

    `first` and `second` are scores [n]; what two attacks or models have in common cancels out.

    >>> import numpy as np
    >>> scores = np.array([3.0, 1.0, 2.0, 0.0])
    >>> auc_difference(scores, scores, np.array([True, True, False, False]))
    (0.0, 0.0)
    """
    differences, variance = [], 0.0
    for side in (members, ~members):
        changes = (example_risks(second, side) - example_risks(first, side))[side]
        differences.append(float(changes.mean()))
        variance += float(changes.var(ddof=1)) / len(changes) if len(changes) > 1 else math.inf
    return (differences[0] - differences[1]) / 2, math.sqrt(variance)


def compare(rows: Sequence[AuditRow]) -> list[Comparison]:
    """Compare sparse and re-dense with dense, and re-dense with sparse, by protocol and sparsity.

    With one seed the interval is over examples, with several over seeds (Student's t).
    """
    comparisons = []
    for protocol, first, second, pairs in _pairs(rows):
        found = [auc_difference(one.risks, other.risks, one.members) for one, other in pairs]
        differences = [difference for difference, _ in found]
        reach = _reach(differences, [error for _, error in found])
        mean = statistics.fmean(differences)
        attack = pairs[0][0].result.primary
        comparisons.append(Comparison(protocol, first, second, attack, mean, (mean - reach, mean + reach), len(pairs)))
    return comparisons


def compare_at_equal_accuracy(rows: Sequence[AuditRow]) -> list[EqualAccuracy]:
    """Compare the confidence attack's inference accuracy at epochs of equal test accuracy."""
    comparisons = []
    for protocol, first, second, pairs in _pairs(rows):
        nearest = [_matched(one, other) for one, other in pairs]
        accuracies = tuple(statistics.fmean(match[side][0] for match in nearest) for side in (0, 1))
        differences = [other[1] - one[1] for one, other in nearest]
        difference = interval = None
        if all(abs(one[0] - other[0]) <= SIMILAR for one, other in nearest):
            difference = statistics.fmean(differences)
            reach = _reach(differences, [_history_error(*pair) for pair in pairs])
            interval = (difference - reach, difference + reach)
        comparisons.append(
            EqualAccuracy(protocol, first, second, (accuracies[0], accuracies[1]), difference, interval, len(pairs))
        )
    return comparisons


def _pairs(rows: Sequence[AuditRow]) -> list[tuple[str, str, str, list[tuple[AuditRow, AuditRow]]]]:
    """Pair rows of the same protocol, seed and lineage: (protocol, first label, second label, a pair a seed)."""
    groups: dict[tuple[str, str, str], list[tuple[AuditRow, AuditRow]]] = {}
    for one, other in itertools.permutations(rows, 2):
        order = [("dense", "sparse", "redense").index(row.phase.kind) for row in (one, other)]
        same = one.protocol == other.protocol and one.seed == other.seed
        lineage = one.phase.sparsity is None or (one.phase.sparsity, one.phase.round) == (
            other.phase.sparsity,
            other.phase.round,
        )
        if same and lineage and order[0] < order[1]:
            groups.setdefault((one.protocol, one.phase.label, other.phase.label), []).append((one, other))
    return [(*names, pairs) for names, pairs in groups.items()]


def _reach(differences: Sequence[float], errors: Sequence[float]) -> float:
    """Half the width of a 95% interval: over seeds where there are several, else over examples."""
    if len(differences) > 1:
        spread = statistics.stdev(differences) / math.sqrt(len(differences))
        return float(stdtrit(len(differences) - 1, 0.975)) * spread
    return float(ndtri(0.975)) * errors[0]


def _matched(one: AuditRow, other: AuditRow) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (test accuracy, inference accuracy) of the latest two epochs of equal test accuracy, else the nearest."""
    places = itertools.product(range(len(one.history)), range(len(other.history)))

    def unlikeness(place: tuple[int, int]) -> tuple[float, int]:
        difference = abs(one.history[place[0]][0] - other.history[place[1]][0])
        return max(difference, SIMILAR), -sum(place)

    first, second = min(places, key=unlikeness)
    return one.history[first], other.history[second]


def _history_error(one: AuditRow, other: AuditRow) -> float:
    """Standard error of a difference of two epochs' inference accuracies, as if they were independent."""
    accuracies = [pair[1] for pair in _matched(one, other)]
    return math.hypot(*(balanced_accuracy_error(a, 1 - a, one.held_out, one.held_out) for a in accuracies))
