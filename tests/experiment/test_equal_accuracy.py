import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.experiment.equal_accuracy import Trace, compare_traces, curve_difference
from redense.methods import dsd

DENSE, SPARSE, REDENSE = dsd(0.5, (2, 1, 1))


def trace(*points, held_out=10_000):
    return Trace(points, held_out)


def line(height, slope, start=0.85, end=0.95, epochs=101):
    """Epochs whose inference accuracy rises in a line with their test accuracy."""
    accuracies = np.linspace(start, end, epochs)
    return trace(*((float(a), float(height + slope * (a - 0.9))) for a in accuracies))


def test_the_difference_is_the_mean_over_test_accuracies_that_both_reach():
    # parallel lines differ by as much everywhere; crossing lines by nothing on average over their common range
    assert curve_difference(line(0.52, 0.5), line(0.56, 0.5)).mean == pytest.approx(0.04)
    assert curve_difference(line(0.52, 0.5), line(0.52, 0.9)).mean == pytest.approx(0.0, abs=0.001)
    found = curve_difference(line(0.52, 0.0), line(0.52, 1.0, start=0.91, end=0.97))
    assert found.mean == pytest.approx(0.03, abs=0.001)  # of 0.91 to 0.95, where the second is 0.01 to 0.05 above
    assert 0.91 < found.low < found.high < 0.95


def test_early_and_late_epochs_both_count():
    rising_then_falling = trace((0.90, 0.50), (0.92, 0.52), (0.90, 0.60))
    found = curve_difference(trace((0.90, 0.50), (0.90, 0.50)), rising_then_falling)
    assert found.mean == pytest.approx(0.05, abs=0.001)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 1)), min_size=1, max_size=6), st.integers(2, 10_000))
def test_an_epoch_near_an_accuracy_counts_by_the_normal_density(points, held_out):
    one = trace(*points, held_out=held_out)
    grid = np.array([0.0, 0.3, 1.0])
    for accuracy, width, near in zip(grid, one.width(grid), one.near(grid), strict=True):
        weights = np.array([np.exp(-(((accuracy - a) / width) ** 2) / 2) for a, _ in points])
        if weights.sum() > 1e-290:
            assert near == pytest.approx(weights @ np.array(points) / weights.sum())
        assert min(b for _, b in points) - 1e-12 <= near[1] <= max(b for _, b in points) + 1e-12


def test_exchanged_traces_have_the_opposite_difference():
    one, other = line(0.52, 0.5), line(0.55, 0.1, start=0.88, end=0.93)
    there, back = curve_difference(one, other), curve_difference(other, one)
    assert there.mean == pytest.approx(-back.mean)
    assert (there.low, there.high) == (back.low, back.high)


def test_traces_within_the_noise_of_a_test_accuracy_meet():
    # 46.94% and 47.10% of 2,000 test images: a tenth of a standard error apart
    lower, higher = trace((0.4694, 0.60), held_out=2000), trace((0.4710, 0.63), held_out=2000)
    found = compare_traces(DENSE, REDENSE, [(lower, higher), (higher, lower)])
    assert found.seeds == 2
    assert found.difference == pytest.approx(0.0)
    far = trace((0.60, 0.63), held_out=2000)
    assert curve_difference(lower, far) is None


def test_one_seed_whose_curves_meet_is_described():
    met, apart = (line(0.52, 0.5), line(0.56, 0.5)), (line(0.52, 0.5), line(0.56, 0.5, start=0.5, end=0.6))
    found = compare_traces(DENSE, SPARSE, [met, apart])
    assert (found.seeds, found.apart, found.p) == (1, 1, None)
    assert found.verdict.endswith("; one seed of 2 in which the curves meet cannot tell which phase gives away more")


def test_one_seed_is_described():
    found = compare_traces(DENSE, SPARSE, [(line(0.52, 0.5), line(0.56, 0.5))])
    assert found.difference == pytest.approx(0.04)
    assert (found.seeds, found.interval, found.t, found.wilcoxon) == (1, None, None, None)
    assert "early and late epochs alike) the network of sparse 50%" in found.verdict
    assert "has an inference accuracy 4.00 points above that of dense" in found.verdict
    assert found.verdict.endswith("; one seed cannot tell which phase gives away more")


def test_seeds_in_which_the_curves_do_not_meet_are_told():
    near, high = (trace((0.9, 0.52)), trace((0.9, 0.56))), (trace((0.9, 0.52)), trace((0.95, 0.56)))
    other = trace((0.9, 0.52)), trace((0.9, 0.57))
    some = compare_traces(DENSE, SPARSE, [near, high, other])
    assert (some.seeds, some.apart) == (2, 1)
    assert some.difference == pytest.approx(0.045)
    assert "2 seeds of 3 in which the curves meet" in some.verdict
    none = compare_traces(DENSE, SPARSE, [high, high])
    assert (none.seeds, none.apart, none.difference, none.interval) == (0, 2, None, None)
    assert none.verdict == "sparse 50% and dense have no test accuracy in common in any of 2 seeds"
    assert none.claimed  # the family was fixed beforehand
    assert compare_traces(DENSE, SPARSE, [high]).sentence == "Sparse 50% and dense have no test accuracy in common."


def test_equal_differences_have_no_interval():
    pair = trace((0.9, 0.52)), trace((0.9, 0.56))
    found = compare_traces(DENSE, SPARSE, [pair, pair])
    assert found.difference == pytest.approx(0.04)
    assert (found.interval, found.t) == (None, None)
    assert "+4.00 points, the same in every seed, 2 seeds" in found.verdict
