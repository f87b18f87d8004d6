import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, brunnermunzel

from redense.metrics import (
    auc,
    auc_interval,
    balanced_accuracy,
    balanced_accuracy_interval,
    balanced_accuracy_of_noise,
    clopper_pearson,
    operating_point,
    roc,
)
from redense.metrics.intervals import (
    auc_error,
    auc_interval_and_p_value,
    cross_fitted_accuracy,
    halves_of,
    split_halves,
)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_clopper_pearson_is_scipys(case, confidence):
    k, n = case
    expected = binomtest(k, n).proportion_ci(confidence, method="exact")
    assert clopper_pearson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_pearson_of_ten_in_ten_thousand():
    # the true rate behind 10 false positives of 10,000 may be up to 0.18%: the trap of a bare "0.1% FPR"
    low, high = clopper_pearson(10, 10_000)
    assert (round(100 * low, 3), round(100 * high, 3)) == (0.048, 0.184)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(ValueError, match="expected (0 to n|an integer of 0 or more)"):
        clopper_pearson(k, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_an_impossible_confidence_is_refused(confidence):
    with pytest.raises(ValueError, match="such as 0.95"):
        auc_interval([1.0, 0.0], [True, False], confidence)


def test_an_operating_point_has_exact_intervals_on_both_axes():
    scores = np.arange(1000.0)
    members = (scores % 3 == 0) | (scores > 900)
    curve = roc(scores, members)
    point = operating_point(curve, curve.index_at_fpr(0.05))
    guesses = scores >= point.threshold
    for rate, interval, side in ((point.tpr, point.tpr_interval, members), (point.fpr, point.fpr_interval, ~members)):
        assert rate == guesses[side].mean()
        expected = binomtest(int(guesses[side].sum()), int(side.sum())).proportion_ci(method="exact")
        assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert point.fpr <= 0.05


@given(st.integers(0, 2**32), st.integers(3, 40), st.integers(3, 40), st.sampled_from([1, 3, 50]))
def test_the_error_of_the_area_is_that_of_brunner_and_munzel(seed, m, n, levels):
    generator = np.random.default_rng(seed)
    scores = np.round(generator.normal(size=m + n) * levels)
    members = np.arange(m + n) < m
    area, error, freedom = auc_error(roc(scores, members))
    if error == 0:
        return
    with np.errstate(all="ignore"):
        # SciPy's statistic measures the other way round
        expected = brunnermunzel(scores[~members], scores[members])
    assert (area - 0.5) / error == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    from scipy.stats import t

    assert 2 * t.sf(abs(area - 0.5) / error, freedom) == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


def test_the_error_of_the_area_is_delongs_by_loop():
    generator = np.random.default_rng(3)
    scores = np.round(3 * generator.normal(size=60))
    members = np.arange(60) < 25

    def wins(a, b):
        return 1.0 if a > b else 0.5 if a == b else 0.0

    table = np.array([[wins(a, b) for b in scores[~members]] for a in scores[members]])
    variance = table.mean(1).var(ddof=1) / 25 + table.mean(0).var(ddof=1) / 35
    area, error, _ = auc_error(roc(scores, members))
    assert area == pytest.approx(table.mean(), abs=1e-12)
    assert error == pytest.approx(math.sqrt(variance), rel=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 30), st.floats(-3, 3))
def test_the_interval_of_the_area_holds_it_and_lies_in_the_unit_interval(seed, m, n, shift):
    generator = np.random.default_rng(seed)
    members = np.arange(m + n) < m
    scores = np.round(2 * (generator.normal(size=m + n) + shift * members))
    low, high = auc_interval(scores, members)
    assert 0 <= low <= auc(scores, members) <= high <= 1
    assert 0 < auc_interval_and_p_value(roc(scores, members))[1] <= 1


def test_perfect_separation_of_few_is_not_certain():
    low, high = auc_interval([4.0, 3.0, 2.0, 1.0], [True, True, False, False])
    assert low < 0.5
    assert high == 1.0


@pytest.mark.parametrize("n", [10, 50, 100, 500, 5000])
def test_noise_agrees_with_the_exact_mean_for_equal_sizes(n):
    # P(D >= k/n) = C(2n, n-k) / C(2n, n) (Gnedenko and Korolyuk 1951); the mean is the sum over k, divided by n
    log_ratio = [math.lgamma(n + 1) * 2 - math.lgamma(n - k + 1) - math.lgamma(n + k + 1) for k in range(1, n + 1)]
    exact = 0.5 + sum(map(math.exp, log_ratio)) / n / 2
    assert balanced_accuracy_of_noise(n, n) == pytest.approx(exact, abs=0.003 * (50 / n))


@pytest.mark.parametrize(("members", "nonmembers"), [(100, 100), (1000, 797), (2000, 100), (50, 900)])
def test_noise_agrees_with_simulation(members, nonmembers):
    generator = np.random.default_rng(0)
    labels = np.arange(members + nonmembers) < members
    simulated = [balanced_accuracy(generator.random(len(labels)), labels) for _ in range(2000)]
    error = np.std(simulated) / math.sqrt(len(simulated))
    bias_allowed = 0.0006
    assert abs(np.mean(simulated) - balanced_accuracy_of_noise(members, nonmembers)) < 4 * error + bias_allowed


def test_the_interval_holds_the_estimate_and_narrows_with_the_sample():
    generator = np.random.default_rng(0)
    widths = []
    for n in (200, 2000, 20_000):
        members = np.arange(2 * n) < n
        scores = generator.normal(size=2 * n) + members
        low, high = balanced_accuracy_interval(scores, members)
        assert 0.5 <= low <= balanced_accuracy(scores, members) <= high <= 1
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@given(st.integers(0, 2**32), st.integers(4, 60))
def test_cross_fitting_judges_each_half_by_the_other(seed, n):
    generator = np.random.default_rng(seed)
    scores = np.round(3 * generator.normal(size=n))
    members = np.arange(n) % 2 == 0
    first = split_halves(members)
    accuracies = []
    for judged in (first, ~first):
        candidates = sorted(set(scores), reverse=True)

        def advantage(threshold, half):
            guesses = scores >= threshold
            rates = [guesses[half & side].sum() / (half & side).sum() for side in (members, ~members)]
            return rates[0] - rates[1]

        learnt = [advantage(threshold, ~judged) for threshold in candidates]
        best = int(np.argmax(learnt))
        accuracies.append((1 + advantage(candidates[best], judged)) / 2 if learnt[best] > 0 else 0.5)
    assert cross_fitted_accuracy(halves_of(scores, members)) == pytest.approx(np.mean(accuracies), abs=1e-12)


def test_halves_are_balanced_on_both_sides():
    members = np.arange(100) < 31
    first = split_halves(members)
    assert (first & members).sum() == 16
    assert (first & ~members).sum() == 35


def test_tiny_samples_say_nothing():
    assert balanced_accuracy_interval([1.0, 0.0], np.array([True, False])) == (0.5, 1.0)
    assert auc_interval([1.0, 0.0], np.array([True, False])) == (0.0, 1.0)


def test_noise_needs_both_sides():
    with pytest.raises(ValueError, match="at least one of each"):
        balanced_accuracy_of_noise(0, 5)
