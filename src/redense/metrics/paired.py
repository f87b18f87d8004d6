"""Paired differences: two phases, models or attacks on the same seeds or the same examples. Arrays in, numbers out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from redense.metrics.roc import Array, Members

Range = tuple[float, float]
ANYTHING: Range = (-math.inf, math.inf)
SHARE: Range = (0.0, 1.0)
"""Where accuracies, areas and rates lie."""
OF_SHARES: Range = (-1.0, 1.0)
"""Where their differences lie."""
NO_SPREAD = 1e-12
"""Differences that lie no farther apart than this do not vary; what they leave is rounding."""


def vary(differences: Sequence[float]) -> bool:
    """Tell whether differences vary at all.

    Equal ones come from few seeds and few test examples. They are no proof that the next seed gives the same, so they
    get neither an interval nor a t-test.
    """
    return len(differences) > 1 and max(differences) - min(differences) >= NO_SPREAD


def within(interval: Range, possible: Range) -> Range:
    """Let an interval end where values are no longer possible, which costs it no coverage.

    >>> within((-0.2, 0.4), SHARE)
    (0.0, 0.4)
    """
    low, high = (min(max(end, possible[0]), possible[1]) for end in interval)
    return low, high


def t_interval(values: Sequence[float], confidence: float = 0.95, possible: Range = ANYTHING) -> Range | None:
    """Return Student's interval of the mean of two or more `possible` values; None where they do not vary.

    >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])], t_interval([0.9, 0.2], possible=SHARE)
    ([-0.484, 4.484], (0.0, 1.0))
    """
    if not vary(values):
        return None
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * error
    return within((mean - reach, mean + reach), possible)


def normal_interval(difference: float, error: float, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the interval of a difference with a standard error over examples; None where the examples do not vary.

    >>> [round(end, 2) for end in normal_interval(1.0, 1.0)], normal_interval(0.0, 0.0)
    ([-0.96, 2.96], None)
    """
    if error < NO_SPREAD:
        return None
    reach = float(ndtri(0.5 + confidence / 2)) * error
    return difference - reach, difference + reach


def t_test(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of "the mean difference is 0"; None where the differences do not vary.

    Source: Student, "The probable error of a mean", Biometrika 1908, whose sleep data these are.

    >>> round(t_test([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]), 6)
    0.002833
    """
    if not vary(differences):
        return None
    t = statistics.fmean(differences) / (statistics.stdev(differences) / math.sqrt(len(differences)))
    return 2 * float(stdtr(len(differences) - 1, -abs(t)))


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; 1 where all differences are 0, which have no sign.

    Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1945.

    >>> wilcoxon([0.0, 0.0]), wilcoxon([1.0, 2.0, 3.0])
    (1.0, 0.25)
    """
    from scipy.stats import wilcoxon as wilcoxon_signed_rank  # slow to load, and reading results needs none

    return float(wilcoxon_signed_rank(differences).pvalue) if any(differences) else 1.0


@dataclass(frozen=True)
class McNemar:
    """Two networks on the same test examples: how many only one of them classifies correctly, and the p-value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Members, second: Members) -> McNemar:
    """Compare which of n test examples two networks classify correctly, bool [n] each: McNemar's exact test.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 1947;
    exact, as a two-sided binomial test of the examples on which the networks disagree.

    >>> mcnemar(np.array([True, True, False]), np.array([True, False, False]))
    McNemar(only_first=1, only_second=0, p=1.0)
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    disagree = only_first + only_second
    return McNemar(only_first, only_second, float(binomtest(only_second, disagree).pvalue) if disagree else 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that any false claim among them has the stated probability (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def shares_below(scores: Array, members: Members) -> Array:
    """Return for each of n scores the share of non-members with a lower one, those equal counting half; [n] in [0, 1].

    >>> shares_below(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False])).tolist()
    [1.0, 0.5, 0.75, 0.25]
    """
    others = np.sort(scores[~members])
    below, up_to = (np.searchsorted(others, scores, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(others)))


def auc_difference(first: Array, second: Array, members: Members) -> tuple[float, float]:
    """Return AUC(second) - AUC(first) on the same n examples, and its standard error, infinite with one on a side.

    `first` and `second` are scores [n]; what two attacks or models have in common cancels out.
    Source: DeLong et al., "Comparing the areas under two or more correlated ROC curves", Biometrics 1988.

    >>> scores = np.array([3.0, 1.0, 2.0, 0.0])
    >>> auc_difference(scores, scores, np.array([True, True, False, False]))
    (0.0, 0.0)
    """
    differences, variance = [], 0.0
    for side in (members, ~members):
        changes = (shares_below(second, side) - shares_below(first, side))[side]
        differences.append(float(changes.mean()))
        variance += float(changes.var(ddof=1)) / len(changes) if len(changes) > 1 else math.inf
    return (differences[0] - differences[1]) / 2, math.sqrt(variance)
