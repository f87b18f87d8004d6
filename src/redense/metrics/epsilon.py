"""Lower bounds on the epsilon of differential privacy that an attack's success proves."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc, expit, ndtri

from redense.metrics.intervals import clopper_pearson, halves_of
from redense.metrics.roc import Array, Counts, Halves, Roc, checked, roc

CANDIDATES = 32
"""Thresholds among which the corrected best one is sought."""
MOST_PROMISING = 4
LARGEST_EPSILON = 60.0


def epsilon_lower_bound(
    true_positives: int,
    members: int,
    false_positives: int,
    nonmembers: int,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Return the epsilon that a threshold fixed beforehand proves: log((TPR_low - delta) / FPR_high), at least 0.

    The ends are Clopper-Pearson's at half of the permitted error each, so the true epsilon of a mechanism that is
    (epsilon, delta)-private is below the result in at most 1 - `confidence` of the audits.
    Raises ValueError for counts outside 0 to n and a delta or confidence out of range.
    Source: Jagielski et al., "Auditing Differentially Private Machine Learning", NeurIPS 2020, section 4.

    >>> round(epsilon_lower_bound(500, 500, 0, 500, confidence=0.99), 2)
    4.54
    """
    if not 0 <= delta < 1:
        raise ValueError(f"delta: got {delta}; expected a probability from 0 to below 1")
    low, _ = clopper_pearson(true_positives, members, confidence)
    _, high = clopper_pearson(false_positives, nonmembers, confidence)
    return max(0.0, math.log((low - delta) / high)) if low > delta else 0.0


def ratio_lower_bound(
    true_positives: int,
    members: int,
    false_positives: int,
    nonmembers: int,
    *,
    confidence: float = 0.95,
    method: Literal["clopper-pearson", "katz-log"] = "katz-log",
) -> float:
    """Return a one-sided lower bound for the ratio TPR / FPR of a threshold fixed beforehand, 0 or more.

    ``katz-log`` is the normal approximation on the log scale (Katz et al., "Obtaining confidence intervals for the risk
    ratio in cohort studies", Biometrics 1978), for counts well above 0; ``clopper-pearson`` is exact and wider.
    Raises ValueError for counts outside 0 to n, and with ``katz-log`` for counts of 0.

    >>> round(ratio_lower_bound(473, 473 + 511, 755, 755 + 950), 8)
    1.01166194
    """
    if method == "clopper-pearson":
        low, _ = clopper_pearson(true_positives, members, confidence)
        return low / clopper_pearson(false_positives, nonmembers, confidence)[1]
    if min(true_positives, false_positives) < 1:
        raise ValueError("katz-log: got a count of 0; expected at least 1 of each, or method='clopper-pearson'")
    ratio = (true_positives / members) / (false_positives / nonmembers)
    variance = 1 / true_positives - 1 / members + 1 / false_positives - 1 / nonmembers
    return ratio * math.exp(-float(ndtri(confidence)) * math.sqrt(variance))


def epsilon_of_held_out_threshold(
    scores: npt.ArrayLike, members: npt.ArrayLike, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Return `epsilon_lower_bound` on a random half of the examples, the threshold being the best on the other half.

    >>> scores = np.arange(2000.0)
    >>> epsilon_of_held_out_threshold(scores, scores >= 1000) > 4
    True
    """
    return held_out_epsilon(halves_of(*checked(scores, members)), delta=delta, confidence=confidence)


def held_out_epsilon(halves: Halves, *, delta: float = 0.0, confidence: float = 0.95) -> float:
    """Return `epsilon_of_held_out_threshold` of sorted scores."""
    if not halves.comparable:
        return 0.0
    places = _candidates(halves.first, 4 * CANDIDATES, least=1)
    chosen = places[int(np.argmax(_rough_epsilon(halves.first, places, delta, confidence)))]
    return _epsilon_at(halves.second, int(chosen), delta, confidence)


def epsilon_of_best_threshold(
    scores: npt.ArrayLike, members: npt.ArrayLike, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Return the largest `epsilon_lower_bound` over `CANDIDATES` thresholds, each at an accordingly smaller error.

    The candidates are quantiles of all scores together, denser towards the high ones, so they do not depend on
    membership, and Bonferroni's correction makes up for taking the best of them.

    >>> scores = np.arange(2000.0)
    >>> epsilon_of_best_threshold(scores, scores >= 1000) > 4
    True
    """
    return epsilon_of_curve(roc(scores, members), delta=delta, confidence=confidence)


def epsilon_of_curve(curve: Roc, *, delta: float = 0.0, confidence: float = 0.95) -> float:
    """Return `epsilon_of_best_threshold` of a curve."""
    places = _candidates(curve, CANDIDATES, least=10)
    each = 1 - (1 - confidence) / CANDIDATES
    # exact bounds of the few most promising; the others only count for the correction
    promising = places[np.argsort(-_rough_epsilon(curve, places, delta, each))[:MOST_PROMISING]]
    return max(_epsilon_at(curve, int(place), delta, each) for place in promising)


def _candidates(curve: Roc, number: int, least: int) -> Counts:
    """Return points of a curve at which `least` to three quarters of all are guessed to be members, evenly in logs."""
    guesses = curve.true_positives + curve.false_positives
    wanted = np.geomspace(least, max(least, 0.75 * guesses[-1]), number)
    return np.unique(np.searchsorted(guesses, wanted).clip(max=len(guesses) - 1))


def _rough_epsilon(curve: Roc, places: Counts, delta: float, confidence: float) -> Array:
    """Approximate `epsilon_lower_bound` at points of a curve by Wilson's intervals, to choose among them."""
    z = float(ndtri(0.5 + confidence / 2))
    ends = []
    for counts, n, sign in (
        (curve.true_positives, curve.members, -1),
        (curve.false_positives, curve.nonmembers, 1),
    ):
        rate = counts[places] / n
        middle, reach = rate + z * z / (2 * n), z * np.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
        ends.append((middle + sign * reach) / (1 + z * z / n))
    tiny = np.finfo(np.float64).tiny
    return np.asarray(np.log(np.maximum(ends[0] - delta, tiny)) - np.log(ends[1]))


def _epsilon_at(curve: Roc, index: int, delta: float, confidence: float) -> float:
    return epsilon_lower_bound(
        int(curve.true_positives[index]),
        curve.members,
        int(curve.false_positives[index]),
        curve.nonmembers,
        delta=delta,
        confidence=confidence,
    )


def one_run_epsilon(
    guesses: int, correct: int, canaries: int, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Return the epsilon that one training run proves, when `correct` of `guesses` about `canaries` were right.

    Each of the canaries was in the training data with probability 1/2, on its own; the auditor may abstain. The
    largest epsilon at which so many right guesses have a probability of at most 1 - `confidence`.
    Raises ValueError unless 0 <= correct <= guesses <= canaries.
    Source: Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, theorem 5.2.

    >>> round(one_run_epsilon(100, 95, 100), 2), one_run_epsilon(100, 50, 100)
    (2.17, 0.0)
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(
            f"got {correct} right of {guesses} guesses about {canaries} canaries; expected no more of each"
        )
    allowed = 1 - confidence

    def excess(epsilon: float) -> float:
        return one_run_p_value(guesses, correct, canaries, epsilon, delta) - allowed

    if guesses == 0 or excess(0.0) > 0:
        return 0.0
    if excess(LARGEST_EPSILON) <= 0:
        return LARGEST_EPSILON
    from scipy.optimize import brentq  # slow to load, and needed by few

    return float(brentq(excess, 0.0, LARGEST_EPSILON, xtol=1e-10))


def one_run_p_value(guesses: int, correct: int, canaries: int, epsilon: float, delta: float) -> float:
    """Bound P(so many right guesses) under (epsilon, delta)-privacy: a binomial tail and what delta adds to it."""
    right = float(expit(epsilon))
    tail = float(bdtrc(correct - 1, guesses, right)) if correct else 1.0
    if delta == 0 or correct == 0:
        return min(1.0, tail)
    fewer = np.arange(1, correct)  # all of them fewer: the tail is 1
    worst = max(
        (1 - tail) / correct, float(np.max((bdtrc(correct - fewer - 1, guesses, right) - tail) / fewer, initial=0))
    )
    return min(1.0, tail + 2 * canaries * delta * max(0.0, worst))


def one_run_epsilon_of_scores(
    scores: npt.ArrayLike, included: npt.ArrayLike, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Return `one_run_epsilon` of the best threshold over canaries with scores [m], of which some are included.

    At a threshold, every canary with at least that score is guessed to be in; no guess is made about others. Only
    corners of the curve's convex hull can be best; Bonferroni's correction counts these.

    >>> one_run_epsilon_of_scores(np.arange(1000.0), np.arange(1000) >= 500) > 4
    True
    """
    curve = roc(scores, included)
    corners = _upper_hull(curve)
    each, canaries = 1 - (1 - confidence) / len(corners), curve.members + curve.nonmembers
    best = 0.0
    for index in corners:
        right, wrong = int(curve.true_positives[index]), int(curve.false_positives[index])
        guesses = right + wrong
        # a quick look first: without delta the bound is larger, and it costs one tail
        if guesses and one_run_p_value(guesses, right, canaries, best, 0.0) <= each:
            best = max(best, one_run_epsilon(guesses, right, canaries, delta=delta, confidence=each))
    return best


def _upper_hull(curve: Roc) -> list[int]:
    """Indices of the corners of the curve's upper convex hull, both ends included."""
    corners: list[int] = []
    x, y = (counts.astype(np.int64) for counts in (curve.false_positives, curve.true_positives))
    for index in range(len(x)):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (x[b] - x[a]) * (y[index] - y[a]) < (y[b] - y[a]) * (x[index] - x[a]):
                break
            corners.pop()
        corners.append(index)
    return corners
