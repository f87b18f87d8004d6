"""How sure an inference accuracy is: its confidence interval, and what pure noise would give."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx
from scipy.stats import norm

from redense.metrics.roc import Roc, roc

SPLIT_SEED = 0


def balanced_accuracy_of_noise(members: int, nonmembers: int) -> float:
    """Return the mean best balanced accuracy when scores say nothing about membership.

    That is 1/2 + E[D]/2, where D is the one-sided two-sample Kolmogorov-Smirnov statistic. Its tail
    P(D >= d) = exp(-2 N d^2 - 2 d (m + 2n) / (3 (m + n))), N = mn / (m + n), m >= n, is Hodges' ("The significance
    probability of the Smirnov two-sample test", 1957, eq. 5.3); the integral of the tail is the mean.

    >>> round(balanced_accuracy_of_noise(60_000, 10_000), 4)
    0.5034
    """
    larger, smaller = max(members, nonmembers), min(members, nonmembers)
    if smaller < 1:
        raise ValueError(f"got {members} members and {nonmembers} non-members; expected at least one of each")
    square = 2 * larger * smaller / (larger + smaller)
    linear = 2 * (larger + 2 * smaller) / (3 * (larger + smaller))
    mean = math.sqrt(math.pi / square) / 2 * float(erfcx(linear / (2 * math.sqrt(square))))
    return min(1.0, 0.5 + mean / 2)


def balanced_accuracy_interval(
    scores: npt.ArrayLike, members: npt.ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """Return a confidence interval for the best balanced accuracy in the population the examples come from.

    The best threshold is chosen on the same examples, so the plain estimate is too high, the more so the smaller
    the sample. The two ends are therefore found differently:

    - low: each half of the examples (a fixed random split, members and non-members apart) is judged with the threshold
      that is best on the other half; the mean of the two, less z standard errors. No threshold is judged on
      the examples that chose it, so pure noise gives a low end of 0.5 (nothing) as often as promised;
    - high: the plain estimate plus z standard errors. It exceeds what the truly best threshold scores here.

    Coverage is at least `confidence`, also on pure noise (`tests/claims/test_interval_coverage.py`).

    >>> low, high = balanced_accuracy_interval(np.arange(1000.0), np.arange(1000) >= 500)
    >>> bool(low > 0.98), high
    (True, 1.0)
    """
    scores, members = np.asarray(scores, dtype=np.float64), np.asarray(members)
    curve = roc(scores, members)
    best = int(np.argmax(curve.tpr - curve.fpr))
    z = float(norm.ppf(0.5 + confidence / 2))
    error = _standard_error(curve.tpr[best], curve.fpr[best], int(members.sum()), int((~members).sum()))
    high = min(1.0, curve.balanced_accuracy + z * error)
    low = max(0.5, _cross_fitted(scores, members) - z * error)
    return min(low, high), high


def _cross_fitted(scores: npt.NDArray[np.float64], members: npt.NDArray[np.bool_]) -> float:
    """Mean balanced accuracy of each half at the threshold that is best on the other half."""
    shuffled = np.random.default_rng(SPLIT_SEED).permutation(len(scores))
    in_first = np.zeros(len(scores), dtype=bool)
    for side in (members, ~members):
        of_side = shuffled[side[shuffled]]
        if len(of_side) < 2:
            return 0.5
        in_first[of_side[::2]] = True
    halves = [(scores[half], members[half]) for half in (in_first, ~in_first)]
    accuracies = []
    for (fit_scores, fit_members), (judged_scores, judged_members) in (halves, halves[::-1]):
        guesses = judged_scores >= _best_threshold(roc(fit_scores, fit_members))
        accuracies.append((guesses[judged_members].mean() + 1 - guesses[~judged_members].mean()) / 2)
    return float(np.mean(accuracies))


def _best_threshold(curve: Roc) -> float:
    return float(curve.thresholds[np.argmax(curve.tpr - curve.fpr)])


def _standard_error(tpr: float, fpr: float, members: int, nonmembers: int) -> float:
    """Standard error of (tpr + 1 - fpr) / 2; one success and one failure are added, so that no rate is certain."""
    variance = 0.0
    for rate, n in ((tpr, members), (fpr, nonmembers)):
        smoothed = (rate * n + 1) / (n + 2)
        variance += smoothed * (1 - smoothed) / n
    return math.sqrt(variance) / 2
