import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.experiment.equal_accuracy import Trace, compare_traces, curve_differences
from redense.methods import dsd

DENSE, SPARSE, REDENSE = dsd(0.5, (2, 1, 1))


def curve_difference(first, second):
    """Compare one pair: its difference and between which test accuracies; None where the curves do not meet."""
    found = curve_differences([(first, second)])
    return found and (found.of_seeds[0], found.low, found.high)


def trace(*points, held_out=10_000):
    return Trace(points, held_out)


def line(height, slope, start=0.85, end=0.95, epochs=101):
    """Epochs whose inference accuracy rises in a line with their test accuracy."""
    accuracies = np.linspace(start, end, epochs)
    return trace(*((float(a), float(height + slope * (a - 0.9))) for a in accuracies))


def test_the_difference_is_the_mean_over_test_accuracies_that_both_reach():
    # parallel lines differ by as much everywhere; crossing lines by nothing on average over their common range
    assert curve_difference(line(0.52, 0.5), line(0.56, 0.5))[0] == pytest.approx(0.04)
    assert curve_difference(line(0.52, 0.5), line(0.52, 0.9))[0] == pytest.approx(0.0, abs=0.001)
    found = curve_difference(line(0.52, 0.0), line(0.52, 1.0, start=0.91, end=0.97))
    assert found[0] == pytest.approx(0.03, abs=0.001)  # of 0.91 to 0.95, where the second is 0.01 to 0.05 above
    assert 0.91 < found[1] < found[2] < 0.95


def test_early_and_late_epochs_both_count():
    rising_then_falling = trace((0.90, 0.50), (0.92, 0.52), (0.90, 0.60))
    found = curve_difference(trace((0.90, 0.50), (0.90, 0.50)), rising_then_falling)
    assert found[0] == pytest.approx(0.05, abs=0.001)


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
    assert there[0] == pytest.approx(-back[0])
    assert there[1:] == back[1:]


@given(
    st.floats(-1.5, 1.5),
    st.lists(st.floats(0.85, 0.95), min_size=2, max_size=20),
    st.lists(st.floats(0.85, 0.95), min_size=2, max_size=20),
    st.integers(500, 20_000),
)
def test_two_pieces_of_one_line_do_not_differ(slope, accuracies, others, held_out):
    one, other = (
        trace(*((a, 0.7 + slope * (a - 0.9)) for a in found), held_out=held_out) for found in (accuracies, others)
    )
    found = curve_difference(one, other)
    # what lies between two ends that count as meeting is half of a standard error
    allowed = abs(slope) * 0.5 * np.sqrt(0.85 * 0.15 / held_out)
    assert found is None or abs(found[0]) <= allowed + 1e-9


def test_traces_within_the_noise_of_a_test_accuracy_meet():
    # 46.94% and 47.10% of 2,000 test images: a tenth of a standard error apart
    lower, higher = trace((0.4694, 0.60), held_out=2000), trace((0.4710, 0.63), held_out=2000)
    found = compare_traces(DENSE, REDENSE, [(lower, higher), (higher, lower)])
    assert found.seeds == 2
    assert found.difference == pytest.approx(0.0)
    far = trace((0.60, 0.63), held_out=2000)
    assert curve_difference(lower, far) is None


def test_one_seed_is_described():
    found = compare_traces(DENSE, SPARSE, [(line(0.52, 0.5), line(0.56, 0.5))])
    assert found.difference == pytest.approx(0.04)
    assert (found.seeds, found.interval, found.t, found.wilcoxon) == (1, None, None, None)
    assert "early and late epochs alike) the network of sparse 50%" in found.verdict
    assert "has an inference accuracy 4.00 points above that of dense" in found.verdict
    assert found.verdict.endswith("; one seed cannot tell which phase gives away more")


def test_curves_that_meet_on_average_over_seeds_are_compared_over_all():
    near, high = (trace((0.9, 0.52)), trace((0.9, 0.56))), (trace((0.9, 0.52)), trace((0.904, 0.57)))
    low = trace((0.9, 0.52)), trace((0.896, 0.58))
    some = compare_traces(DENSE, SPARSE, [near, high, low])
    assert (some.seeds, some.apart) == (3, 0)
    assert some.difference == pytest.approx(0.05)
    none = compare_traces(DENSE, SPARSE, [high, high])
    assert (none.seeds, none.apart, none.difference, none.interval) == (0, 2, None, None)
    said = "sparse 50% and dense are too far apart in test accuracy to be compared at equal accuracy"
    assert none.verdict == f"{said} over 2 seeds"
    assert none.claimed  # the family was fixed beforehand
    assert compare_traces(DENSE, SPARSE, [high]).verdict == said


def test_equal_differences_have_no_interval():
    pair = trace((0.9, 0.52)), trace((0.9, 0.56))
    found = compare_traces(DENSE, SPARSE, [pair, pair])
    assert found.difference == pytest.approx(0.04)
    assert (found.interval, found.t) == (None, None)
    assert "+4.00 points, the same in every seed, 2 seeds" in found.verdict


def test_what_nobody_shows_to_give_anything_away_gives_away_no_more():
    pairs = [(trace((0.9, 0.50)), trace((0.9, 0.52 + 0.001 * seed))) for seed in range(5)]
    shown = compare_traces(DENSE, SPARSE, pairs)
    assert shown.shown
    assert compare_traces(DENSE, SPARSE, pairs, without_leak=(0.9, 1e-9)).t == shown.t
    assert compare_traces(DENSE, SPARSE, pairs, without_leak=(1e-9, 0.2)).t.raw == 0.2
