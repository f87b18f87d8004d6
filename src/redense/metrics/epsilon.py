"""Lower bounds on the epsilon of differential privacy that an attack's success proves.

There are two kinds, and what they assume is not the same.

**Many training runs**: `epsilon_lower_bound`, `ratio_lower_bound`, `epsilon_of_best_threshold` and
`epsilon_of_held_out_threshold` take one guess or score from each of n runs, every one trained anew with or without the
example in question. The n outcomes are independent, which Clopper-Pearson's intervals rest on. The n examples of
*one* run are not: a training that with probability 1/5 reveals a share 5 delta of its members, and else nothing, is
(0, delta)-private, and in a fifth of its runs the same arithmetic over examples "proves" an epsilon above 1.

**One training run**: `one_run_epsilon` and `one_run_epsilon_of_scores` take many canaries, each of which an independent
fair coin put into that run's training data or not.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy.special import bdtrc, expit, ndtri

from redense.arguments import Confidence, Count, Delta, validated
from redense.errors import ArgumentError
from redense.metrics.intervals import clopper_pearson, halves_of, wilson_limit
from redense.metrics.roc import Array, Counts, IsMember, Roc, Scores, checked, roc

CANDIDATES = 32
"""Thresholds among which the corrected best one is sought."""
GUESSES = 8
"""Numbers of guesses among which the best for one run is sought. Of 4 to 32 they prove the most or nearly so, with 200
to 70,000 canaries whose scores are normal and shifted by 0.5 to 4 standard deviations."""
FEWEST_GUESSES = 10
MOST_GUESSES = 0.75
"""Of all canaries."""
MOST_PROMISING = 4
LARGEST_EPSILON = 60.0
MOST_WITH_DELTA = 10_000_000
"""Right guesses, for each of which a term of delta is worked out."""


@validated()
def epsilon_lower_bound(
    true_positives: Count,
    members: Count,
    false_positives: Count,
    nonmembers: Count,
    *,
    delta: Delta = 0.0,
    confidence: Confidence = 0.95,
) -> float:
    """Return the epsilon that a threshold fixed beforehand proves: log((TPR_low - delta) / FPR_high), at least 0.

    The counts are of independent training runs, `members` of them with the example and `nonmembers` without. The ends
    are Clopper-Pearson's at half of the permitted error each, so the true epsilon of a mechanism that is (epsilon,
    delta)-private is below the result in at most 1 - `confidence` of the audits.

    Raises `ArgumentError` for counts outside 0 to n, a delta outside [0, 1) and a confidence outside (0, 1).
    Source: Jagielski et al., "Auditing Differentially Private Machine Learning", NeurIPS 2020, section 4.

    >>> round(epsilon_lower_bound(500, 500, 0, 500, confidence=0.99), 2)
    4.54
    """
    low, _ = clopper_pearson(true_positives, members, confidence)
    _, high = clopper_pearson(false_positives, nonmembers, confidence)
    return max(0.0, math.log((low - delta) / high)) if low > delta else 0.0


@validated()
def ratio_lower_bound(
    true_positives: Count,
    members: Count,
    false_positives: Count,
    nonmembers: Count,
    *,
    confidence: Confidence = 0.95,
    method: Literal["clopper-pearson", "katz-log"] = "katz-log",
) -> float:
    """Return a one-sided lower bound for the ratio TPR / FPR of a threshold fixed beforehand, 0 or more.

    The counts are of independent training runs, as in `epsilon_lower_bound`. ``katz-log`` is the normal approximation
    on the log scale (Katz et al., "Obtaining confidence intervals for the risk ratio in cohort studies", Biometrics
    1978), for counts well above 0; ``clopper-pearson`` is exact and wider.

    Raises `ArgumentError` for counts outside 0 to n, with ``katz-log`` for counts of 0, for a confidence outside (0, 1)
    and an unknown method.

    >>> round(ratio_lower_bound(473, 473 + 511, 755, 755 + 950), 8)
    1.01166194
    """
    if method not in ("clopper-pearson", "katz-log"):
        raise ArgumentError(f"method: got {method!r}; expected 'clopper-pearson' or 'katz-log'")
    if method == "clopper-pearson":
        low, _ = clopper_pearson(true_positives, members, confidence)
        return low / clopper_pearson(false_positives, nonmembers, confidence)[1]
    if true_positives > members or false_positives > nonmembers:
        raise ArgumentError(f"got {true_positives} of {members} and {false_positives} of {nonmembers}; expected 1 to n")
    if min(true_positives, false_positives) < 1:
        raise ArgumentError("katz-log: got a count of 0; expected at least 1 of each, or method='clopper-pearson'")
    ratio = (true_positives / members) / (false_positives / nonmembers)
    variance = 1 / true_positives - 1 / members + 1 / false_positives - 1 / nonmembers
    return ratio * math.exp(-float(ndtri(confidence)) * math.sqrt(variance))


@validated()
def epsilon_of_held_out_threshold(
    scores: Scores, members: IsMember, *, delta: Delta = 0.0, confidence: Confidence = 0.95
) -> float:
    """Return `epsilon_lower_bound` on a random half of the runs, the threshold being the best on the other half.

    Takes a score from each of n independent training runs, and whether the example was in it, bool [n].

    Raises `ArgumentError` as `epsilon_lower_bound` does, and for scores or members that are unusable.

    >>> scores = np.arange(2000.0)
    >>> epsilon_of_held_out_threshold(scores, scores >= 1000) > 4
    True
    """
    halves = halves_of(*checked(scores, members))
    if not halves.comparable:
        return 0.0
    places = _candidates(halves.first, 4 * CANDIDATES, least=1)
    chosen = places[int(np.argmax(_rough_epsilon(halves.first, places, delta, confidence)))]
    return _epsilon_at(halves.second, int(chosen), delta, confidence)


@validated()
def epsilon_of_best_threshold(
    scores: Scores, members: IsMember, *, delta: Delta = 0.0, confidence: Confidence = 0.95
) -> float:
    """Return the largest `epsilon_lower_bound` over `CANDIDATES` thresholds, each at an accordingly smaller error.

    Takes a score from each of n independent training runs, and whether the example was in it, bool [n]. The candidates
    are quantiles of all scores together, denser towards the high ones, so they do not depend on membership, and
    Bonferroni's correction makes up for taking the best of them.

    Raises `ArgumentError` as `epsilon_lower_bound` does, and for scores or members that are unusable.

    >>> scores = np.arange(2000.0)
    >>> epsilon_of_best_threshold(scores, scores >= 1000) > 4
    True
    """
    curve = roc(scores, members)
    places = _candidates(curve, CANDIDATES, least=10)
    each = 1 - (1 - confidence) / CANDIDATES
    # exact bounds of the few most promising; the others only count for the correction
    promising = places[np.argsort(-_rough_epsilon(curve, places, delta, each))[:MOST_PROMISING]]
    return max(_epsilon_at(curve, int(place), delta, each) for place in promising)


def _candidates(curve: Roc, number: int, least: int) -> Counts:
    """Return points of a curve at which `least` to three quarters of all are guessed to be members, evenly in logs."""
    examples = curve.members + curve.nonmembers
    return _places(curve, np.geomspace(least, max(least, 0.75 * examples), number))


def _places(curve: Roc, wanted: Array) -> Counts:
    """Return the first points of a curve at which at least as many as wanted are guessed to be members."""
    guesses = curve.true_positives + curve.false_positives
    return np.unique(np.searchsorted(guesses, wanted).clip(max=len(guesses) - 1))


def _rough_epsilon(curve: Roc, places: Counts, delta: float, confidence: float) -> Array:
    """Approximate `epsilon_lower_bound` at points of a curve by Wilson's intervals, to choose among them."""
    z = float(ndtri(0.5 + confidence / 2))
    low = wilson_limit(curve.true_positives[places] / curve.members, curve.members, -z)
    high = wilson_limit(curve.false_positives[places] / curve.nonmembers, curve.nonmembers, z)
    tiny = np.finfo(np.float64).tiny
    return np.asarray(np.log(np.maximum(low - delta, tiny)) - np.log(high))


def _epsilon_at(curve: Roc, index: int, delta: float, confidence: float) -> float:
    return epsilon_lower_bound(
        int(curve.true_positives[index]),
        curve.members,
        int(curve.false_positives[index]),
        curve.nonmembers,
        delta=delta,
        confidence=confidence,
    )


@validated()
def one_run_epsilon(
    guesses: Count, correct: Count, canaries: Count, *, delta: Delta = 0.0, confidence: Confidence = 0.95
) -> float:
    """Return the epsilon that one training run proves, when `correct` of `guesses` about `canaries` were right.

    Each of the canaries was in the training data with probability 1/2, on its own; the auditor may abstain. The
    largest epsilon at which so many right guesses have a probability of at most 1 - `confidence`.

    Raises `ArgumentError` unless 0 <= correct <= guesses <= canaries, delta is in [0, 1) and the confidence in (0, 1).
    Source: Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, theorem 5.2.

    >>> round(one_run_epsilon(100, 95, 100), 2), one_run_epsilon(100, 50, 100)
    (2.17, 0.0)
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ArgumentError(
            f"got {correct} right of {guesses} guesses about {canaries} canaries; expected no more of each"
        )
    if delta and correct > MOST_WITH_DELTA:
        raise ArgumentError(f"correct: got {correct:,} with a delta; expected at most {MOST_WITH_DELTA:,}, or delta=0")
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


@validated()
def one_run_epsilon_of_scores(
    scores: Scores, included: IsMember, *, delta: Delta = 0.0, confidence: Confidence = 0.95
) -> float:
    """Return the largest `one_run_epsilon` over a few numbers of guesses about canaries with scores [m].

    Each canary was `included` (bool [m]) with probability 1/2, on its own, and the scores may depend on that through
    the trained model alone. The r highest scores are guessed to be in; no guess is made about the others. `GUESSES`
    values of r, from `FEWEST_GUESSES` to `MOST_GUESSES` of the canaries, follow from m alone, and Bonferroni's
    correction makes up for taking the best of them. A number that falls into a tie grows to its end, as the scores
    alone say.

    Raises `ArgumentError` for a delta outside [0, 1), a confidence outside (0, 1), and unusable scores or members.
    Source: Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.

    >>> one_run_epsilon_of_scores(np.arange(1000.0), np.arange(1000) >= 500) > 4
    True
    """
    curve = roc(scores, included)
    each = 1 - (1 - confidence) / GUESSES
    canaries, best = curve.members + curve.nonmembers, 0.0
    for index in _places(curve, np.geomspace(FEWEST_GUESSES, max(FEWEST_GUESSES, MOST_GUESSES * canaries), GUESSES)):
        right = int(curve.true_positives[index])
        guesses = right + int(curve.false_positives[index])
        # a quick look first: without delta the bound is larger, and it costs one tail
        if one_run_p_value(guesses, right, canaries, best, 0.0) <= 1 - each:
            best = max(best, one_run_epsilon(guesses, right, canaries, delta=delta, confidence=each))
    return best
