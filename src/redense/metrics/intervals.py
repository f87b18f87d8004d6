"""How sure a figure is: confidence intervals, and what pure noise would give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, erfcx, expit, logit, stdtr, stdtrit

from redense.arguments import Confidence, Count, Rate, Shares, validated
from redense.errors import ArgumentError
from redense.metrics.roc import Array, Halves, IsMember, Members, Roc, Scores, roc

SPLIT_SEED = 0
MANY = 5_000
"""Examples on either side from which one more at either extreme changes nothing that is shown."""


@validated()
def clopper_pearson(k: Count, n: Count, confidence: Confidence = 0.95) -> tuple[float, float]:
    """Return the exact interval for a rate of which k of n were seen; it covers at least as often as promised.

    Raises `ArgumentError` unless 0 <= k <= n, n is at least 1 and `confidence` lies between 0 and 1.
    Source: Clopper & Pearson, "The use of confidence or fiducial limits", Biometrika 1934.

    >>> low, high = clopper_pearson(10, 10_000)
    >>> round(low, 5), round(high, 5)
    (0.00048, 0.00184)
    """
    if not 0 <= k <= n or n < 1:
        raise ArgumentError(f"got {k} of {n}; expected 0 to n of at least 1")
    tail = (1 - confidence) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return low, high


def wilson_limit(rate: float | Array, n: int, z: float | Array) -> Array:
    """Return Wilson's limit for a rate that was seen in n, z standard errors above it, or below where z is negative.

    Elementwise for arrays; up to rounding in [0, 1].
    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    >>> [round(float(wilson_limit(81 / 263, 263, z)), 4) for z in (-1.959964, 1.959964)]
    [0.2553, 0.3662]
    """
    reach = z * np.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    return np.asarray((rate + z * z / (2 * n) + reach) / (1 + z * z / n))


@validated()
@validated()
@dataclass(frozen=True)
class OperatingPoint:
    """What an attack reaches at one threshold: rates in [0, 1] with Clopper-Pearson intervals for both."""

    threshold: float
    tpr: Rate
    tpr_interval: Shares
    fpr: Rate
    fpr_interval: Shares


@validated()
def operating_point(curve: Roc, index: int, confidence: Confidence = 0.95) -> OperatingPoint:
    """Describe one point of a curve; `Roc.index_at_fpr` finds one.

    The intervals are those of a threshold fixed beforehand. For one chosen for its false-positive rate on these
    examples, `point_at_fpr` has the interval of the true-positive rate that counts the threshold's noise.

    >>> from redense.metrics import roc
    >>> curve = roc([4.0, 3.0, 2.0, 1.0], [True, True, False, False])
    >>> operating_point(curve, curve.index_at_fpr(0.0)).tpr
    1.0
    """
    if not -len(curve.thresholds) <= index < len(curve.thresholds):
        raise ArgumentError(f"index: got {index}; expected a point of the curve, 0 to {len(curve.thresholds) - 1}")
    true_positives, false_positives = int(curve.true_positives[index]), int(curve.false_positives[index])
    return OperatingPoint(
        threshold=float(curve.thresholds[index]),
        tpr=float(curve.tpr[index]),
        tpr_interval=clopper_pearson(true_positives, curve.members, confidence),
        fpr=float(curve.fpr[index]),
        fpr_interval=clopper_pearson(false_positives, curve.nonmembers, confidence),
    )


@validated()
def auc_interval(scores: Scores, members: IsMember, confidence: Confidence = 0.95) -> tuple[float, float]:
    """Return a confidence interval for the area under the ROC curve, inside [0, 1], exact under ties.

    DeLong's variance ("Comparing the areas under two or more correlated ROC curves", Biometrics 1988) with Student's t
    at the degrees of freedom of Brunner & Munzel ("The nonparametric Behrens-Fisher problem", Biometrical Journal
    2000), on the logit scale. That is too sure where one side has a handful of examples or nearly all are tied, so
    each end is the farther of this interval's and of the one with an example more at either extreme on both sides
    (the idea of Agresti & Caffo, American Statistician 2000). For large samples the two agree.

    >>> low, high = auc_interval(np.arange(100.0), np.arange(100) % 2 == 0)
    >>> low < 0.5 < high
    True
    """
    return auc_interval_of(roc(scores, members), confidence)


def auc_interval_of(curve: Roc, confidence: float = 0.95) -> tuple[float, float]:
    """Return `auc_interval` of a curve."""
    return auc_interval_and_p_value(curve, confidence)[0]


def auc_interval_and_p_value(curve: Roc, confidence: float = 0.95) -> tuple[tuple[float, float], float]:
    """Return `auc_interval` of a curve, and the one-sided p-value of "members do not score higher".

    The p-value is Brunner & Munzel's, with an example more at either extreme on both sides, so that a handful of
    examples never looks sure.
    """
    check_confidence(confidence)
    versions = (curve,) if min(curve.members, curve.nonmembers) >= MANY else (curve, _padded(curve))
    errors = [auc_error(version) for version in versions]
    lows, highs = zip(*(_logit_interval(*error, confidence) for error in errors), strict=True)
    area, error, freedom = errors[-1]
    p_value = float(stdtr(freedom, (0.5 - area) / error)) if error > 0 else float(area <= 0.5)
    return (min(errors[0][0], *lows), max(errors[0][0], *highs)), p_value


def auc_error(curve: Roc) -> tuple[float, float, float]:
    """Return the area, its standard error (DeLong) and the degrees of freedom (Brunner & Munzel).

    With fewer than two examples on a side the error is infinite, with one degree of freedom.
    """
    area = curve.auc
    if min(curve.members, curve.nonmembers) < 2:
        return area, math.inf, 1.0
    terms = []
    for mine, other, n, centre in (
        (curve.tpr, curve.fpr, curve.members, 1 - area),
        (curve.fpr, curve.tpr, curve.nonmembers, area),
    ):
        # the share of the other side above a score, half of the equal ones counted; about its mean, squared
        place = other[:-1] + other[1:]
        place /= 2
        place -= centre
        place *= place
        terms.append((float(np.diff(mine) @ place) / (n - 1), n))
    variance = sum(term for term, _ in terms)
    if variance < 1e-24:  # what rounding leaves of 0
        return area, 0.0, 1.0
    return area, math.sqrt(variance), variance**2 / sum(term**2 / (n - 1) for term, n in terms)


def _logit_interval(area: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    if error == 0:
        return area, area
    if math.isinf(error):
        return 0.0, 1.0
    reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * error / (area * (1 - area))
    return float(expit(logit(area) - reach)), float(expit(logit(area) + reach))


def _padded(curve: Roc) -> Roc:
    """Add a member and a non-member above all scores, and one of each below."""
    true, false = (
        np.concatenate(([0, 1], counts[1:] + 1, [counts[-1] + 2]))
        for counts in (curve.true_positives, curve.false_positives)
    )
    return Roc(np.concatenate(([np.inf, np.inf], curve.thresholds[1:], [-np.inf])), true, false)


@validated()
def balanced_accuracy_of_noise(members: Count, nonmembers: Count) -> float:
    """Return the mean best balanced accuracy when scores say nothing about membership.

    That is 1/2 + E[D]/2, where D is the one-sided two-sample Kolmogorov-Smirnov statistic. Its tail
    P(D >= d) = exp(-2 N d^2 - 2 d (m + 2n) / (3 (m + n))), N = mn / (m + n), m >= n, is Hodges' ("The significance
    probability of the Smirnov two-sample test", 1957, eq. 5.3); the integral of the tail is the mean.

    Raises `ArgumentError` without members or non-members.

    >>> round(balanced_accuracy_of_noise(60_000, 10_000), 4)
    0.5034
    """
    larger, smaller = max(members, nonmembers), min(members, nonmembers)
    if smaller < 1:
        raise ArgumentError(f"got {members} members and {nonmembers} non-members; expected at least one of each")
    square = 2 * larger * smaller / (larger + smaller)
    linear = 2 * (larger + 2 * smaller) / (3 * (larger + smaller))
    mean = math.sqrt(math.pi / square) / 2 * float(erfcx(linear / (2 * math.sqrt(square))))
    return min(1.0, 0.5 + mean / 2)


def halves_of(scores: Array, members: Members) -> Halves:
    """Sort scores [n] for members (bool [n]) in random halves."""
    return Halves.of(scores, members, split_halves(members))


def split_halves(members: Members) -> Members:
    """Part examples into two halves at random, members and non-members apart; True = first. The same at every call."""
    first = np.zeros(len(members), dtype=bool)
    shuffled = _shuffled(len(members))
    is_member = members[shuffled]
    for side in (is_member, ~is_member):
        first[shuffled[side][::2]] = True
    return first


@lru_cache(maxsize=1)
def _shuffled(n: int) -> npt.NDArray[np.int64]:
    """Shuffle n examples; kept, because all attacks of an audit part the same examples."""
    return np.random.default_rng(SPLIT_SEED).permutation(n)


def cross_fitted_accuracy(halves: Halves) -> float:
    """Return the mean balanced accuracy of each half at the threshold that is best on the other half."""
    if not halves.comparable:
        return 0.5
    judged = [
        other.tpr[fitted.best] - other.fpr[fitted.best]
        for fitted, other in ((halves.first, halves.second), (halves.second, halves.first))
    ]
    return 0.5 + float(np.mean(judged)) / 2


def check_confidence(confidence: float) -> None:
    """Raise `ArgumentError` unless `confidence` lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence: got {confidence}; expected a share between 0 and 1, such as 0.95")
