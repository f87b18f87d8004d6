import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.metrics.spread import Spread

SHARES = st.floats(0.5, 1.0)


@given(st.lists(st.tuples(SHARES, SHARES), min_size=2, max_size=4), st.floats(0.0, 0.5))
def test_no_interval_of_a_best_accuracy_reaches_beyond_what_is_possible(values, reach):
    """Also where one of the two accuracies is the same in all seeds, as with few test examples."""
    best, cross_fitted = zip(*values, strict=True)
    found = Spread.of_best_accuracy(best, cross_fitted, [(one - reach, one + reach) for one in best])
    if found.interval is None:
        assert max(best) - min(best) < 1e-12 > max(cross_fitted) - min(cross_fitted)
    else:
        low, high = found.interval
        assert 0.5 <= low <= high <= 1.0


def test_the_low_end_goes_out_from_cross_fitted_accuracies_that_do_not_vary():
    found = Spread.of_best_accuracy([0.55, 0.56], [0.53, 0.53], [(0.51, 0.57), (0.51, 0.58)])
    assert found.interval[0] == pytest.approx(0.51)  # the mean reach over examples alone
