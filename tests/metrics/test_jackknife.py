import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from redense.metrics.jackknife import pair_jackknife


@given(st.integers(3, 12), st.integers(0, 1000))
def test_where_reference_models_matter_nothing_it_is_students_interval_over_pairs(pairs, seed):
    of_model = np.random.default_rng(seed).normal(0.3, 1.0, size=2 * pairs)
    found = pair_jackknife(np.repeat(of_model[:, None], pairs, axis=1), confidence=0.9)
    expected = ttest_1samp(of_model.reshape(pairs, 2).mean(axis=1), 0.0)
    assert found.mean == pytest.approx(of_model.mean())
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert found.p == pytest.approx(expected.pvalue)


@given(st.integers(3, 8), st.integers(0, 1000))
def test_each_leave_out_is_the_mean_of_the_models_that_are_left(pairs, seed):
    values = np.random.default_rng(seed).normal(size=(2 * pairs, pairs))
    means = []
    for left_out in range(pairs):
        left = [values[model, left_out] for model in range(2 * pairs) if model // 2 != left_out]
        means.append(sum(left) / len(left))
    variance = (pairs - 1) / pairs * sum((mean - np.mean(means)) ** 2 for mean in means)
    found = pair_jackknife(values)
    low, high = found.interval
    t = {3: 4.302653, 4: 3.182446, 5: 2.776445, 6: 2.570582, 7: 2.446912, 8: 2.364624}  # tables of Student's t, .975
    assert found.mean == pytest.approx(np.mean([values[model, model // 2] for model in range(2 * pairs)]))
    assert (high - low) / 2 == pytest.approx(t[pairs] * np.sqrt(variance), rel=1e-6)


def test_a_prediction_is_wider_than_the_interval_of_the_mean_by_the_spread_of_models():
    of_model = np.random.default_rng(0).normal(size=16)
    found = pair_jackknife(np.repeat(of_model[:, None], 8, axis=1))
    (low, high), (lowest, highest) = found.interval, found.prediction
    t = 2.364624  # Student's t with 7 degrees of freedom, .975
    assert ((highest - lowest) / 2 / t) ** 2 == pytest.approx(((high - low) / 2 / t) ** 2 + of_model.var(ddof=1))


def test_models_that_do_not_vary_give_no_interval():
    found = pair_jackknife(np.full((8, 4), 0.25))
    assert (found.replicates, found.mean, found.interval, found.p, found.prediction) == (8, 0.25, None, None, None)


@pytest.mark.parametrize("shape", [(4, 2), (7, 3), (8, 3), (8,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \[R, R/2\] with R of at least 6"):
        pair_jackknife(np.zeros(shape))


def test_what_is_no_number_is_refused():
    values = np.zeros((8, 4))
    values[0, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 32 are NaN or infinite"):
        pair_jackknife(values)


def test_intervals_end_where_figures_are_no_longer_possible():
    values = np.repeat(np.abs(np.random.default_rng(0).normal(0.0, 0.1, size=16))[:, None], 8, axis=1)
    free, bounded = pair_jackknife(values), pair_jackknife(values, possible=(0.0, 1.0))
    assert free.prediction[0] < 0.0 == bounded.prediction[0]
    assert (free.interval, free.p, free.prediction[1]) == (bounded.interval, bounded.p, bounded.prediction[1])
