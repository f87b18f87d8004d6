"""The true-positive rate at a low false-positive rate, and how sure it is when the threshold is estimated too."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.special import bdtr, bdtrc, betaincinv, ndtr, ndtri

from redense.arguments import Confidence, Rate, validated
from redense.errors import ArgumentError
from redense.metrics.intervals import OperatingPoint, check_confidence, operating_point
from redense.metrics.roc import Array, Counts, IsMember, Roc, Scores, roc


@validated()
def tpr_interval(scores: Scores, members: IsMember, fpr: Rate, confidence: Confidence = 0.95) -> tuple[float, float]:
    """Return a confidence interval for the true-positive rate at a false-positive rate, both in [0, 1].

    `scores` are float [n], `members` bool [n]; examples of either side are drawn on their own. The estimand is the
    population's TPR at the largest attainable FPR not above `fpr`: with ties no threshold may have that rate itself.

    Two things are random: how many members exceed the threshold of that rate (a binomial number), and where among the
    non-members that threshold lies (they are exceeded by a binomial number of non-members, which makes an order
    statistic of it). Let an end allow for a deviation of z standard errors in the one and y in the other: the interval
    is the union over all z^2 + y^2 = r^2, negative deviations counting as 0. Where the curve is smooth, that is r times
    the delta method's error. Where ties make it a staircase, a step within reach of the threshold is inside
    the interval altogether. The radius r, 2.06 for 95%, is such that the interval holds in `confidence` of all
    experiments, for large counts, where a high step lies right beside the rate, and in more with every other curve
    (see `radius_of`). Deviations are measured by mid-p binomial tails for the threshold and by `binomial_limits` for
    the members, which suit counts of ten and fewer. It contains the plain estimate.

    How often a binomial number misses depends on its rate: where only a handful of members is caught, the interval of
    95% holds in at least 93.8% whatever the rate (94.2 with 500 members and more), and in 96.3% on average; those of
    80, 90 and 99% in at least 72, 85.8 and 98.7%, and in 82.5, 92 and 99.4% on average.

    Raises `ArgumentError` for a rate or confidence out of range, and for what `roc` refuses.
    Sources: order statistics bound a quantile whatever the distribution (Thompson, Annals of Mathematical Statistics
    1936); Jeffreys' interval: Brown, Cai & DasGupta, "Interval estimation for a binomial proportion", Statistical
    Science 2001. Compared with bootstraps (Platt, Hanley & Yang, Statistics in Medicine 2000; Zhou & Qin, Statistics in
    Medicine 2005) in `docs/results/guarantees-intervals.md`.

    >>> low, high = tpr_interval(np.arange(2000.0), np.arange(2000) % 2 == 1, fpr=0.1)
    >>> round(low, 3), round(high, 3)
    (0.074, 0.13)
    """
    return tpr_interval_of(roc(scores, members), fpr, confidence)


@validated()
def point_at_fpr(curve: Roc, fpr: Rate, confidence: Confidence = 0.95) -> OperatingPoint:
    """Describe the last point of a curve whose false-positive rate is at most `fpr`, with `tpr_interval` for its TPR.

    >>> point = point_at_fpr(roc(np.arange(200.0), np.arange(200) % 2 == 1), 0.1)
    >>> point.tpr, point.tpr_interval[0] < 0.1 < point.tpr_interval[1]
    (0.11, True)
    """
    point = operating_point(curve, curve.index_at_fpr(fpr), confidence)
    return replace(point, tpr_interval=tpr_interval_of(curve, fpr, confidence))


def tpr_interval_of(curve: Roc, fpr: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return `tpr_interval` of a curve: a few binary searches, no other pass over it."""
    if not 0 <= fpr <= 1:
        raise ArgumentError(f"fpr: got {fpr}; expected a rate from 0 to 1")
    check_confidence(confidence)
    low, high = _reaches(curve.nonmembers, fpr, radius_of(confidence))
    return _end(curve, *low, sign=-1), _end(curve, *high, sign=1)


@lru_cache(maxsize=16)
def radius_of(confidence: float) -> float:
    """Return r with exp(-r^2 / 2) / 4 + q + q^2 = 1 - confidence, where q = 1 - Phi(r), by bisection.

    On the left is how often, for large counts, the interval misses where a high step lies right beside the rate, say
    just above it. The low end: if the threshold found is above the true one, both deviations must be in the circle
    (exp(-r^2 / 2) / 4 for members that deviate upwards too, q / 2 for others), and if not, the members' must be below r
    (q / 2). The high end is too low where both are below -r (q^2). A search over nondecreasing curves found no worse.

    >>> round(radius_of(0.95), 2)
    2.06
    """
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        beyond = float(ndtr(-middle))
        error = math.exp(-middle * middle / 2) / 4 + beyond + beyond**2
        low, high = (middle, high) if error > 1 - confidence else (low, middle)
    return high


@lru_cache(maxsize=64)
def _reaches(n: int, rate: float, radius: float) -> tuple[tuple[Counts, Array], tuple[Counts, Array]]:
    """Say for the low and for the high end how many of n non-members may lie above a threshold that stands for the one
    of that rate, and by how many standard errors the members may deviate each time. Kept: attacks share both numbers.
    """
    middle, reach = n * rate, (radius + 1) * math.sqrt(n * rate * (1 - rate)) + 2 * radius**2
    passed = np.arange(max(0, math.floor(middle - reach)), min(n, math.ceil(middle + reach)) + 1)
    ends = []
    # were so many at or just below the true threshold, no fewer members would be above it than above all of these; were
    # so many above it, no more members than these would be
    for counts, upper in ((passed - 1, False), (passed, True)):
        deviation = np.maximum(0.0, -ndtri(_mid_tail(passed, n, rate, upper=upper)))
        possible = deviation <= radius
        ends.append((counts[possible], np.sqrt(radius**2 - deviation[possible] ** 2)))
    return ends[0], ends[1]


def _mid_tail(counts: Counts, n: int, rate: float, *, upper: bool) -> Array:
    """Return P(N > k) or P(N < k) and half of P(N = k), for N binomial and each k of `counts`."""
    if upper:
        at_least, more = np.where(counts > 0, bdtrc(np.maximum(counts - 1, 0), n, rate), 1.0), bdtrc(counts, n, rate)
        return np.asarray((at_least + more) / 2)
    at_most, fewer = bdtr(counts, n, rate), np.where(counts > 0, bdtr(np.maximum(counts - 1, 0), n, rate), 0.0)
    return np.asarray((at_most + fewer) / 2)


def _end(curve: Roc, passed: Counts, left: Array, sign: int) -> float:
    """Return an end of the interval: the farthest over so many non-members `passed`, with `left` for the members.

    Their number at the last point of the curve with no more than so many non-members gives a binomial limit. Of the
    places that find the same number the one with most `left` is farthest, the others need no limit.
    """
    places = np.searchsorted(curve.false_positives, passed, side="right") - 1
    found = np.where(passed >= 0, curve.true_positives[places], 0)
    numbers, which = np.unique(found, return_inverse=True)
    most = np.zeros(len(numbers))
    np.maximum.at(most, which, left)
    limits = binomial_limits(numbers, curve.members, sign * most)
    return float(limits.min() if sign < 0 else limits.max())


def binomial_limits(k: Counts, n: int, deviations: Array) -> Array:
    """Return the rates from which each k of n deviates by so many standard errors: above k / n for positive ones.

    Jeffreys' limits, quantiles of Beta(k + 1/2, n - k + 1/2), hold on average over rates, but near 0 and 1 they miss
    some of them too often (Brown, Cai & DasGupta 2001, section 4.1.1, change them there). A rate so near to a side is
    never missed by the other end, so the whole error of both is this end's: it is moved out to the exact one-sided
    limit (Clopper & Pearson, Biometrika 1934) of twice the tail, which lies farther out for the smallest numbers alone.
    0 below no success and 1 above no failure.

    >>> binomial_limits(np.array([0, 0, 1, 10]), 10, np.array([1.96, -1.96, -1.96, 1.96])).round(3).tolist()
    [0.259, 0.0, 0.005, 1.0]
    """
    upper = deviations > 0
    jeffreys = betaincinv(k + 0.5, n - k + 0.5, ndtr(deviations))
    both_tails = 2 * ndtr(-np.abs(deviations))
    successes, failures = np.where(upper, k + 1, k), np.where(upper, n - k, n - k + 1)
    exact = betaincinv(
        np.maximum(successes, 0.5), np.maximum(failures, 0.5), np.where(upper, 1 - both_tails, both_tails)
    )
    limits = np.where(upper, np.maximum(jeffreys, exact), np.minimum(jeffreys, exact))
    return np.asarray(np.where(k == np.where(upper, n, 0), upper, limits))
