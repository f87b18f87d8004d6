"""How sure the balanced accuracy is: of the thresholds that were learnt, and of the best one."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from redense.arguments import Confidence, Count, validated
from redense.errors import ArgumentError
from redense.metrics.intervals import halves_of, wilson_limit
from redense.metrics.roc import Halves, IsMember, Roc, Scores, checked

CROSS_FITTED = 1.08
"""By how much wider an interval is where each half of the examples has learnt the threshold for the other. Either half
judges as well as learns, so the errors of the two halves agree a little: their mean errs by up to 1.15 times as
much as independent halves would where no threshold is better than another. Pooled rates make up for most of that."""


@validated()
def accuracy_interval(
    true_positives: Count,
    members: Count,
    false_positives: Count,
    nonmembers: Count,
    confidence: Confidence = 0.95,
    *,
    cross_fitted: bool = True,
) -> tuple[float, float]:
    """Return a confidence interval for the balanced accuracy (TPR + 1 - FPR) / 2 of learnt thresholds, in [0, 1].

    The estimand is the balanced accuracy on fresh examples of the very thresholds that were learnt, not of the best
    possible ones; the examples are random, the thresholds are given. `true_positives` of `members` and
    `false_positives` of `nonmembers` were guessed to be members, by thresholds that these examples did not choose:
    fixed beforehand, learnt on reference models, or `cross_fitted`, each half of the examples having learnt the
    threshold (one, or one a class) by which the other half is judged. Then the estimand is the mean over both.

    Wilson's intervals of the two rates are put together by squaring and adding (Newcombe, "Interval estimation for the
    difference between independent proportions", Statistics in Medicine 1998, method 10), `CROSS_FITTED` times as wide.
    Raises `ArgumentError` for counts outside 0 to n, n below 1 and a confidence out of range.

    Newcombe's table II, 56 of 70 against 48 of 80: the difference lies in 0.0524 to 0.3339.

    >>> [round(2 * end - 1, 4) for end in accuracy_interval(56, 70, 48, 80, cross_fitted=False)]
    [0.0524, 0.3339]
    """
    z = float(ndtri(0.5 + confidence / 2)) * (CROSS_FITTED if cross_fitted else 1.0)
    (tpr, tpr_low, tpr_high), (fpr, fpr_low, fpr_high) = (
        wilson(true_positives, members, z),
        wilson(false_positives, nonmembers, z),
    )
    accuracy = (tpr + 1 - fpr) / 2
    return (
        max(0.0, accuracy - math.hypot(tpr - tpr_low, fpr_high - fpr) / 2),
        min(1.0, accuracy + math.hypot(tpr_high - tpr, fpr - fpr_low) / 2),
    )


def wilson(k: int, n: int, z: float) -> tuple[float, float, float]:
    """Return k / n and the two limits of `wilson_limit` at z standard errors, in [0, 1].

    >>> [round(value, 4) for value in wilson(81, 263, 1.959964)]
    [0.308, 0.2553, 0.3662]
    """
    if not 0 <= k <= n or n < 1:
        raise ArgumentError(f"got {k} of {n}; expected 0 to n of at least 1")
    rate = k / n
    low, high = float(wilson_limit(rate, n, -z)), float(wilson_limit(rate, n, z))
    return rate, min(rate, max(0.0, low)), max(rate, min(1.0, high))


def cross_fitted_counts(halves: Halves) -> tuple[int, int]:
    """Return how many members and how many non-members are guessed to be members, in either half by the threshold
    that is best on the other half."""
    true_positives = false_positives = 0
    for learnt, judged in ((halves.first, halves.second), (halves.second, halves.first)):
        true_positives += int(judged.true_positives[learnt.best])
        false_positives += int(judged.false_positives[learnt.best])
    return true_positives, false_positives


@validated()
def balanced_accuracy_interval(scores: Scores, members: IsMember, confidence: Confidence = 0.95) -> tuple[float, float]:
    """Return a confidence interval for the best balanced accuracy in the population the examples come from.

    The best threshold is chosen on the same examples, so the plain estimate is too high, the more so the smaller
    the sample. The two ends are therefore found differently:

    - low: that of `accuracy_interval` when each half of the examples (a fixed random split, members and non-members
      apart) is judged with the threshold that is best on the other half, and at least 0.5. The best threshold is no
      worse than these, and none is judged on the examples that chose it: pure noise gives a low end of 0.5 (nothing)
      as often as promised;
    - high: the highest that `accuracy_interval` has at any threshold here, so also at the truly best one. The end at
      the threshold that is best here would not do: this may be one that accuses nobody, of which all is sure.

    Coverage is at least `confidence`, also on pure noise (`tests/claims/test_guarantees.py`).

    >>> low, high = balanced_accuracy_interval(range(1000), [place >= 500 for place in range(1000)])
    >>> bool(low > 0.98), high
    (True, 1.0)
    """
    return balanced_accuracy_interval_of(halves_of(*checked(scores, members)), confidence)


def balanced_accuracy_interval_of(halves: Halves, confidence: float = 0.95) -> tuple[float, float]:
    """Return `balanced_accuracy_interval` of sorted scores."""
    curve = halves.whole
    high = _highest_end(curve, confidence)
    low = 0.5
    if halves.comparable:
        found, accused = cross_fitted_counts(halves)
        low = max(low, accuracy_interval(found, curve.members, accused, curve.nonmembers, confidence)[0])
    return min(low, high), high


def _highest_end(curve: Roc, confidence: float) -> float:
    """Return the highest upper end of `accuracy_interval` over all points of a curve."""
    z = float(ndtri(0.5 + confidence / 2))
    tpr, fpr = curve.tpr, curve.fpr
    above = np.maximum(wilson_limit(tpr, curve.members, z) - tpr, 0.0)
    below = np.maximum(fpr - wilson_limit(fpr, curve.nonmembers, -z), 0.0)
    return min(1.0, float(np.max((tpr + 1 - fpr + np.hypot(above, below)) / 2)))
