import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from redense.metrics import (
    clopper_pearson,
    epsilon_lower_bound,
    epsilon_of_best_threshold,
    epsilon_of_held_out_threshold,
    one_run_epsilon,
    one_run_epsilon_of_scores,
    ratio_lower_bound,
    roc,
)
from redense.metrics.epsilon import _upper_hull, one_run_p_value


def test_500_of_500_against_none():
    # the value that TensorFlow Privacy's epsilon_lower_bound_test expects at alpha = 0.01
    assert epsilon_lower_bound(500, 500, 0, 500, confidence=0.99) == pytest.approx(4.54, abs=0.005)


def test_katz_log_is_that_of_asbio():
    # R package asbio, ci.prat(method="katz.log"): tp 473, fn 511, fp 755, tn 950
    assert ratio_lower_bound(473, 473 + 511, 755, 755 + 950) == pytest.approx(1.01166194, abs=1e-8)


@pytest.mark.parametrize(("shift", "expected"), [(0, 0), (1, 1.13346), (2, 2.311945), (4, 4.395568)])
def test_one_run_epsilon_of_shifted_normals_is_jax_privacys(shift, expected):
    # deterministic quantiles of two unit normals, 10,000 canaries each, delta 1e-6, significance 0.05
    n = 10_000
    out = norm.ppf(np.linspace(0, 1, n, endpoint=False) + 1 / (2 * n))
    scores, included = np.concatenate([out + shift, out]), np.arange(2 * n) < n
    assert one_run_epsilon_of_scores(scores, included, delta=1e-6) == pytest.approx(expected, rel=1e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.data(), st.floats(0, 0.3))
def test_the_bound_is_its_formula(m, n, data, delta):
    k, j = data.draw(st.integers(0, m)), data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, m)[0], clopper_pearson(j, n)[1]
    expected = max(0.0, math.log((low - delta) / high)) if low > delta else 0.0
    assert epsilon_lower_bound(k, m, j, n, delta=delta) == pytest.approx(expected)


@given(
    st.integers(1, 40).flatmap(lambda r: st.tuples(st.just(r), st.integers(0, r))),
    st.integers(0, 100),
    st.floats(0, 3),
    st.sampled_from([0.0, 1e-6, 1e-3, 0.1]),
)
def test_the_one_run_p_value_is_the_papers_sum(guesses, abstained, epsilon, delta):
    # algorithm in appendix D of Steinke et al. 2023, a sum at a time
    r, v = guesses
    m = r + abstained
    q = 1 / (1 + math.exp(-epsilon))
    beta = sum(binom.pmf(k, r, q) for k in range(v, r + 1))
    worst = running = 0.0
    for i in range(1, v + 1):
        running += binom.pmf(v - i, r, q)
        worst = max(worst, running / i)
    assert one_run_p_value(r, v, m, epsilon, delta) == pytest.approx(min(1, beta + 2 * m * delta * worst), abs=1e-9)


@given(st.integers(1, 200).flatmap(lambda r: st.tuples(st.just(r), st.integers(0, r))), st.sampled_from([0.0, 1e-5]))
def test_the_one_run_epsilon_is_the_largest_rejected(guesses, delta):
    r, v = guesses
    found = one_run_epsilon(r, v, 2 * r, delta=delta)
    if found > 0:
        assert one_run_p_value(r, v, 2 * r, found - 1e-6, delta) <= 0.05 + 1e-9
        assert one_run_p_value(r, v, 2 * r, found + 1e-6, delta) >= 0.05 - 1e-9
    else:
        assert one_run_p_value(r, v, 2 * r, 0.0, delta) >= 0.05 - 1e-9


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40))
def test_the_hull_holds_every_point_below_it(pairs):
    scores, members = np.array([score for score, _ in pairs], dtype=float), np.array([m for _, m in pairs])
    members[:2] = True, False
    curve = roc(scores, members)
    corners = _upper_hull(curve)
    x, y = curve.false_positives, curve.true_positives
    tops = {x[corner]: y[corner] for corner in corners}  # of corners above one another, the last is the highest
    assert (y <= np.interp(x, list(tops), list(tops.values())) + 1e-9).all()
    # what guesses "member" most precisely among all thresholds is a corner
    precision = y[1:] / (x[1:] + y[1:])
    assert max(precision) == pytest.approx(max(y[i] / (x[i] + y[i]) for i in corners if i))


def test_delta_and_doubt_lower_the_bounds():
    scores = np.random.default_rng(0).normal(size=4000) + 2 * (np.arange(4000) < 2000)
    members = np.arange(4000) < 2000
    for bound in (epsilon_of_best_threshold, epsilon_of_held_out_threshold, one_run_epsilon_of_scores):
        plain = bound(scores, members)
        assert plain > 1
        assert bound(scores, members, delta=0.01) < plain
        assert bound(scores, members, confidence=0.999) < plain


def test_perfect_attacks_prove_what_their_number_allows():
    members = np.arange(2000) < 1000
    assert epsilon_of_best_threshold(members.astype(float), members) > 4
    assert epsilon_of_held_out_threshold(members.astype(float), members) > 4
    assert one_run_epsilon_of_scores(members.astype(float), members) > 4


@pytest.mark.parametrize("bound", [epsilon_of_best_threshold, epsilon_of_held_out_threshold, one_run_epsilon_of_scores])
def test_a_wrong_sign_proves_nothing(bound):
    members = np.arange(400) < 200
    assert bound(-members.astype(float), members) == 0


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="delta"):
        epsilon_lower_bound(1, 2, 1, 2, delta=1.0)
    with pytest.raises(ValueError, match="expected no more of each"):
        one_run_epsilon(5, 6, 10)
    with pytest.raises(ValueError, match="count of 0"):
        ratio_lower_bound(0, 5, 1, 5)
