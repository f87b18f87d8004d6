import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import beta, binom, norm

from redense.metrics import operating_point, point_at_fpr, roc, tpr_at_fpr, tpr_interval
from redense.metrics.tpr import radius_of


def upper_limit(found, n, tail):
    """Jeffreys' limit, or the rate at which so few of n or fewer come with twice the tail's probability."""
    if found == n:
        return 1.0
    exact = brentq(lambda rate: binom.cdf(found, n, rate) - 2 * tail, 0, 1, xtol=1e-13) if tail < 0.5 else 0.0
    return max(beta.isf(tail, found + 0.5, n - found + 0.5), exact)


def by_loop(scores, members, fpr, confidence=0.95):
    """Take every number of non-members above the threshold in turn, and the binomial limit that is left for members."""
    mine, others = scores[members], np.sort(scores[~members])[::-1]
    m, n, radius = len(mine), len(others), radius_of(confidence)

    def above(passed):  # members above all but so many non-members
        if passed < 0:
            return 0
        return m if passed >= n else int((mine > others[passed]).sum())

    lows, highs = [], []
    for count in range(n + 1):
        half = binom.pmf(count, n, fpr) / 2
        for tail, ends, found, sign in (
            (binom.sf(count, n, fpr) + half, highs, above(count), 1),
            (binom.cdf(count - 1, n, fpr) + half, lows, above(count - 1), -1),
        ):
            deviation = max(0.0, -norm.ppf(tail))
            if deviation <= radius:
                left = norm.sf(math.sqrt(radius**2 - deviation**2))
                ends.append(upper_limit(found, m, left) if sign > 0 else 1 - upper_limit(m - found, m, left))
    return float(min(lows)), float(max(highs))


@given(
    st.integers(0, 2**32),
    st.integers(3, 80),
    st.integers(3, 80),
    st.sampled_from([0.5, 1.0, 50.0]),
    st.sampled_from([0.01, 0.1, 0.3]),
    st.sampled_from([0.8, 0.95]),
)
def test_the_interval_is_that_of_a_loop_over_all_thresholds(seed, m, n, levels, fpr, confidence):
    generator = np.random.default_rng(seed)
    members = generator.permutation(m + n) < m
    scores = np.round(levels * (generator.normal(size=m + n) + members)) / levels
    found = tpr_interval(scores, members, fpr, confidence)
    assert found == pytest.approx(by_loop(scores, members, fpr, confidence), abs=1e-9)
    assert 0 <= found[0] <= tpr_at_fpr(scores, members, fpr) <= found[1] <= 1


@pytest.mark.parametrize("members", [60, 500, 10_000])
@pytest.mark.parametrize(
    ("confidence", "least", "mean"),
    [(0.8, 0.72, 0.825), (0.9, 0.858, 0.92), (0.95, 0.938, 0.963), (0.99, 0.987, 0.994)],
)
def test_few_members_caught_are_missed_as_seldom_as_the_docs_say_whatever_their_rate(members, confidence, least, mean):
    # no non-member is near the threshold, so the number of members above it is binomial, and coverage is a sum
    numbers, others = np.arange(61), 1000
    ends = [
        tpr_interval(
            np.repeat([1.0, 0.0], [k, members - k + others]), np.arange(members + others) < members, 0.1, confidence
        )
        for k in numbers
    ]
    low, high = np.array(ends).T
    rates = np.linspace(0.005, 15, 1500)[:, None] / members
    held = (binom.pmf(numbers, members, rates) * (low <= rates) * (rates <= high)).sum(1)
    assert held.min() >= least
    assert held.mean() >= mean


PLACE = 0.05
PLACES = np.arange(-200, 201)
"""Thresholds around that of the rate, in steps of a twentieth of a standard error of the one that is found."""


def missed(curve, radius):
    """How often an interval of that radius misses, for large counts: of a curve at `PLACES`, 0 at the true threshold.

    Its unit is a standard error of the members. The threshold found deviates by t, the members by a normal number.
    """
    reach = np.arange(int(radius / PLACE) + 1)
    left = np.sqrt(radius**2 - (reach * PLACE) ** 2)
    found = np.flatnonzero(np.abs(PLACES) <= 5 / PLACE)
    low = (curve[found[:, None] - reach] - left).min(axis=1)
    high = (curve[found[:, None] + reach] + left).max(axis=1)
    weight = norm.pdf(PLACES[found] * PLACE)
    # the members' deviation is added to both ends: the truth, 0, is then below the low one or above the high one
    return float(weight @ (norm.cdf(low) + norm.sf(high)) / weight.sum())


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_a_high_step_beside_the_rate_is_missed_as_often_as_agreed(confidence):
    for step in (100.0 * (PLACES > 0), -100.0 * (PLACES < 0)):
        assert missed(step, radius_of(confidence)) == pytest.approx(1 - confidence, rel=0.02)


@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.1, 0.5]), st.sampled_from([0.0, 0.02, 0.2]))
def test_no_curve_is_missed_more_often(seed, steps, slope):
    generator = np.random.default_rng(seed)
    rises = (generator.random(len(PLACES)) < steps) * generator.choice([0.02, 0.3, 2.0, 20.0], len(PLACES))
    curve = np.cumsum(rises) + slope * PLACES
    assert missed(curve - curve[200], radius_of(0.95)) <= 0.0505


def test_a_smaller_radius_misses_too_often():
    assert missed(100.0 * (PLACES > 0), norm.isf(0.025)) == pytest.approx(0.062, abs=0.001)


def test_many_members_leave_the_noise_of_the_threshold():
    # with the curve known, the ends are the curve's values at the threshold's own quantiles
    n = 1000
    others = norm.isf((np.arange(n) + 0.5) / n)
    mine = norm.isf((np.arange(10 * n) + 0.5) / (10 * n)) + 1
    low, high = tpr_interval(np.concatenate((mine, others)), np.arange(11 * n) < 10 * n, 0.1)
    slope = norm.pdf(norm.isf(0.1) - 1) / norm.pdf(norm.isf(0.1))
    error = math.hypot(slope * math.sqrt(0.1 * 0.9 / n), math.sqrt(0.389 * 0.611 / (10 * n)))
    assert (high - low) / 2 == pytest.approx(radius_of(0.95) * error, rel=0.05)


def test_the_threshold_s_noise_widens_the_interval():
    generator = np.random.default_rng(0)
    members = np.arange(2000) < 1000
    curve = roc(generator.normal(size=2000) + members, members)
    fixed, chosen = operating_point(curve, curve.index_at_fpr(0.01)), point_at_fpr(curve, 0.01)
    assert chosen.tpr_interval[0] < fixed.tpr_interval[0] < fixed.tpr_interval[1] < chosen.tpr_interval[1]
    assert (chosen.tpr, chosen.fpr, chosen.fpr_interval) == (fixed.tpr, fixed.fpr, fixed.fpr_interval)


def test_a_tie_at_the_top_that_no_threshold_parts_is_no_reason_for_doubt():
    # a third of the non-members have the highest score: at 1% nobody can be accused, of that the sample leaves no doubt
    members = np.arange(3000) < 1500
    scores = np.where(np.arange(3000) % 3 == 0, 1.0, 0.0)
    low, high = tpr_interval(scores, members, 0.01)
    assert low == 0.0
    assert high < 0.003


@pytest.mark.parametrize("fpr", [0.0, 1e-6, 0.999, 1.0])
def test_extreme_rates_are_answered(fpr):
    scores = np.arange(100.0)
    low, high = tpr_interval(scores, scores % 2 == 1, fpr)
    assert 0 <= low < high <= 1


@pytest.mark.parametrize(("fpr", "confidence"), [(-0.1, 0.95), (1.1, 0.95), (0.1, 0.0), (0.1, 95)])
def test_rates_and_confidences_out_of_range_are_refused(fpr, confidence):
    with pytest.raises(ValueError, match="expected a"):
        tpr_interval([1.0, 0.0], [True, False], fpr, confidence)
