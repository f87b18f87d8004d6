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
)
from redense.metrics.epsilon import GUESSES, one_run_p_value


def test_500_of_500_against_none():
    # the value that TensorFlow Privacy's epsilon_lower_bound_test expects at alpha = 0.01
    assert epsilon_lower_bound(500, 500, 0, 500, confidence=0.99) == pytest.approx(4.54, abs=0.005)


def test_katz_log_is_that_of_asbio():
    # R package asbio, ci.prat(method="katz.log"): tp 473, fn 511, fp 755, tn 950
    assert ratio_lower_bound(473, 473 + 511, 755, 755 + 950) == pytest.approx(1.01166194, abs=1e-8)


# jax_privacy's values correct for the 386, 374 and 140 corners of the curve's hull, whose number the data choose: on
# noise that does not hold. The others are those of 32 numbers of guesses, evenly spread in logs and fixed beforehand.
@pytest.mark.parametrize(
    ("shift", "jax_privacy", "of_32"), [(1, 1.13346, 1.99), (2, 2.311945, 3.9), (4, 4.395568, 5.82)]
)
def test_one_run_epsilon_of_shifted_normals(shift, jax_privacy, of_32):
    # deterministic quantiles of two unit normals, 10,000 canaries each, delta 1e-6, significance 0.05
    n = 10_000
    out = norm.ppf(np.linspace(0, 1, n, endpoint=False) + 1 / (2 * n))
    scores, included = np.concatenate([out + shift, out]), np.arange(2 * n) < n
    found = one_run_epsilon_of_scores(scores, included, delta=1e-6)
    assert found >= max(jax_privacy, of_32)
    assert one_run_epsilon_of_scores(scores - shift * included, included, delta=1e-6) == 0


@given(st.lists(st.integers(0, 30), min_size=12, max_size=60), st.data())
def test_the_one_run_bound_is_the_best_of_guesses_that_membership_does_not_choose(values, data):
    scores = np.array(values, dtype=float)
    included = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    included[:2] = True, False
    m, found = len(scores), []
    for least in np.geomspace(10, max(10, 0.75 * m), GUESSES):
        threshold = np.sort(scores)[::-1][int(np.ceil(least)) - 1]
        guessed = scores >= threshold  # the whole of a tie
        right = int((guessed & included).sum())
        found.append(one_run_epsilon(int(guessed.sum()), right, m, confidence=1 - 0.05 / GUESSES))
    assert one_run_epsilon_of_scores(scores, included) == pytest.approx(max(found), abs=1e-8)


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


SCORES = (np.arange(40.0), np.arange(40) >= 20)
BOUNDS = [
    (epsilon_lower_bound, (5, 10, 1, 10)),
    (epsilon_of_best_threshold, SCORES),
    (epsilon_of_held_out_threshold, SCORES),
    (one_run_epsilon, (10, 9, 20)),
    (one_run_epsilon_of_scores, SCORES),
]


@pytest.mark.parametrize("confidence", [95, 1, 0, -1, math.nan])
@pytest.mark.parametrize(("bound", "arguments"), [*BOUNDS, (ratio_lower_bound, (5, 10, 1, 10))])
def test_confidences_that_are_none_are_refused(bound, arguments, confidence):
    with pytest.raises(ValueError, match="confidence: got"):
        bound(*arguments, confidence=confidence)


@pytest.mark.parametrize("delta", [-0.1, 1, 2, math.nan])
@pytest.mark.parametrize(("bound", "arguments"), BOUNDS)
def test_deltas_that_are_none_are_refused(bound, arguments, delta):
    with pytest.raises(ValueError, match="delta: got"):
        bound(*arguments, delta=delta)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="expected no more of each"):
        one_run_epsilon(5, 6, 10)
    with pytest.raises(ValueError, match="count of 0"):
        ratio_lower_bound(0, 5, 1, 5)
    for method in ("katz-log", "clopper-pearson"):
        with pytest.raises(ValueError, match="got 6 of 5"):
            ratio_lower_bound(6, 5, 1, 5, method=method)
    with pytest.raises(ValueError, match="method: got 'wald'"):
        ratio_lower_bound(1, 5, 1, 5, method="wald")
