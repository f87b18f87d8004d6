import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import binomtest

from redense.metrics import accuracy_interval
from redense.metrics.accuracy import cross_fitted_counts, wilson
from redense.metrics.intervals import cross_fitted_accuracy, halves_of, wilson_limit

# Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 1998, table
# II, method 10 (score, without continuity correction)
NEWCOMBE = {
    (56, 70, 48, 80): (0.0524, 0.3339),
    (9, 10, 3, 10): (0.1705, 0.8090),
    (6, 7, 2, 7): (0.0582, 0.8062),
    (5, 56, 0, 29): (-0.0381, 0.1926),
    (0, 10, 0, 20): (-0.1611, 0.2775),
    (0, 10, 0, 10): (-0.2775, 0.2775),
    (10, 10, 0, 20): (0.6791, 1.0000),
    (10, 10, 0, 10): (0.6075, 1.0000),
}


@pytest.mark.parametrize(("counts", "expected"), NEWCOMBE.items())
def test_the_interval_is_newcombes(counts, expected):
    low, high = accuracy_interval(*counts, cross_fitted=False)
    assert (2 * low - 1, 2 * high - 1) == pytest.approx(expected, abs=6e-5)


def test_limits_of_many_rates_are_those_of_each():
    counts, z = np.arange(41), np.linspace(-3, 3, 41)
    together = wilson_limit(counts / 40, 40, z)
    for place, count in enumerate(counts.tolist()):
        assert together[place] == pytest.approx(float(wilson_limit(count / 40, 40, float(z[place]))), rel=1e-14)
    assert (together[z < 0] < counts[z < 0] / 40 + 1e-15).all()
    assert (together[z > 0] > counts[z > 0] / 40 - 1e-15).all()


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_scipys(case, confidence):
    k, n = case
    expected = binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, float(ndtri(0.5 + confidence / 2))) == pytest.approx(
        (k / n, expected.low, expected.high), abs=1e-9
    )


@given(st.integers(1, 200), st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_the_interval_holds_the_accuracy_and_cross_fitting_widens_it(m, n, tpr, fpr):
    found, accused = round(tpr * m), round(fpr * n)
    accuracy = (found / m + 1 - accused / n) / 2
    low, high = accuracy_interval(found, m, accused, n, cross_fitted=False)
    wide_low, wide_high = accuracy_interval(found, m, accused, n)
    assert 0 <= wide_low <= low <= accuracy <= high <= wide_high <= 1


@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(2, 30))
def test_counts_are_those_of_the_cross_fitted_accuracy(seed, m, n):
    generator = np.random.default_rng(seed)
    members = np.arange(2 * (m + n)) < 2 * m  # even numbers: halves weigh alike
    halves = halves_of(np.round(3 * generator.normal(size=len(members))), members)
    found, accused = cross_fitted_counts(halves)
    accuracy = (found / (2 * m) + 1 - accused / (2 * n)) / 2
    assert accuracy == pytest.approx(cross_fitted_accuracy(halves), abs=1e-12)


@pytest.mark.parametrize("counts", [(-1, 5, 0, 5), (6, 5, 0, 5), (0, 0, 0, 5), (0, 5, 6, 5)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="expected (0 to n|an integer of 0 or more)"):
        accuracy_interval(*counts)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_an_impossible_confidence_is_refused(confidence):
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        accuracy_interval(1, 2, 1, 2, confidence)
