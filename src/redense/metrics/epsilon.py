"""Lower bounds on the epsilon of differential privacy that an attack's success proves."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom, norm

from redense.metrics.intervals import clopper_pearson, split_halves
from redense.metrics.roc import Ranking, Roc, checked

CANDIDATES = 32
"""Thresholds among which the corrected best one is sought."""
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
    return ratio * math.exp(-float(norm.ppf(confidence)) * math.sqrt(variance))


def epsilon_of_held_out_threshold(
    scores: npt.ArrayLike, members: npt.ArrayLike, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """Return `epsilon_lower_bound` on a random half of the examples, the threshold being the best on the other half.

    >>> scores = np.arange(2000.0)
    >>> epsilon_of_held_out_threshold(scores, scores >= 1000) > 4
    True
    """
    scores, members = checked(scores, members)
    if min(members.sum(), (~members).sum()) < 2:
        return 0.0
    first = split_halves(members)
    threshold = _best_threshold(Ranking.of(scores[first]).roc(members[first]), delta, confidence)
    guesses, judged = scores[~first] >= threshold, members[~first]
    return epsilon_lower_bound(
        int(guesses[judged].sum()),
        int(judged.sum()),
        int(guesses[~judged].sum()),
        int((~judged).sum()),
        delta=delta,
        confidence=confidence,
    )


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
    scores, members = checked(scores, members)
    return epsilon_of_curve(Ranking.of(scores).roc(members), delta=delta, confidence=confidence)


def epsilon_of_curve(curve: Roc, *, delta: float = 0.0, confidence: float = 0.95) -> float:
    """Return `epsilon_of_best_threshold` of a curve."""
    guesses = curve.true_positives + curve.false_positives
    wanted = np.geomspace(10, (curve.members + curve.nonmembers) * 0.75, CANDIDATES)
    indices = np.unique(np.searchsorted(guesses, wanted).clip(max=len(guesses) - 1))
    each = 1 - (1 - confidence) / CANDIDATES
    return max(_epsilon_at(curve, int(index), delta, each) for index in indices)


def _best_threshold(curve: Roc, delta: float, confidence: float) -> float:
    guesses = curve.true_positives + curve.false_positives
    wanted = np.geomspace(1, guesses[-1], 4 * CANDIDATES)
    indices = np.unique(np.searchsorted(guesses, wanted).clip(max=len(guesses) - 1))
    bounds = [_epsilon_at(curve, int(index), delta, confidence) for index in indices]
    if max(bounds) > 0:
        return float(curve.thresholds[indices[int(np.argmax(bounds))]])
    return float(curve.thresholds[int(np.argmax(curve.tpr - curve.fpr))])


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
    return float(brentq(excess, 0.0, LARGEST_EPSILON, xtol=1e-10))


def one_run_p_value(guesses: int, correct: int, canaries: int, epsilon: float, delta: float) -> float:
    """Bound P(so many right guesses) under (epsilon, delta)-privacy: a binomial tail and what delta adds to it."""
    right = binom(guesses, expit(epsilon))
    tail = float(right.sf(correct - 1))
    if delta == 0 or correct == 0:
        return min(1.0, tail)
    fewer = np.arange(1, correct + 1)
    worst = float(np.max((right.sf(correct - fewer - 1) - tail) / fewer))
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
    scores, included = checked(scores, included)
    curve = Ranking.of(scores).roc(included)
    corners = _upper_hull(curve)
    each = 1 - (1 - confidence) / len(corners)
    best = 0.0
    for index in corners:
        right, wrong = int(curve.true_positives[index]), int(curve.false_positives[index])
        guesses = right + wrong
        # a quick look first: without delta the bound is larger, and it costs one tail
        if guesses and one_run_p_value(guesses, right, len(scores), best, 0.0) <= each:
            best = max(best, one_run_epsilon(guesses, right, len(scores), delta=delta, confidence=each))
    return best


def _upper_hull(curve: Roc) -> list[int]:
    """Indices of the corners of the curve's upper convex hull, both ends included."""
    corners: list[int] = []
    x, y = curve.false_positives, curve.true_positives
    for index in range(len(x)):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (x[b] - x[a]) * (y[index] - y[a]) < (y[b] - y[a]) * (x[index] - x[a]):
                break
            corners.pop()
        corners.append(index)
    return corners
