import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.errors import RecipeError
from redense.sparsity.schedules import Cubic, OneShot


@given(
    sparsity=st.floats(0.01, 0.99),
    length=st.integers(1, 60),
    every=st.integers(1, 7),
    share=st.floats(0.05, 0.95),
)
def test_cubic_rises_to_the_sparsity_and_leaves_time_to_train(sparsity, length, every, share):
    updates = Cubic(every=every, share=share).updates(sparsity, length)
    times, values = list(updates), list(updates.values())
    assert times[0] == 0
    assert times == sorted(set(times))
    assert times[-1] < length
    assert values == sorted(values)
    assert values[-1] == sparsity


def test_cubic_by_hand():
    # Zhu & Gupta, equation 1, s_i = 0.1, s_f = 0.9, T = 2: halfway 0.9 - 0.8 / 8
    with pytest.raises(RecipeError, match="got initial=0.9; expected at most the sparsity, 0.5"):
        Cubic(initial=0.9).updates(0.5, 4)
    assert Cubic(share=0.5, initial=0.1).updates(0.9, 4) == pytest.approx({0: 0.1, 1: 0.8, 2: 0.9})
    assert OneShot().updates(0.9, 4) == {0: 0.9}


@pytest.mark.parametrize("settings", [{"every": 0}, {"share": 1.0}, {"share": 0.0}, {"initial": 1.0}])
def test_bad_settings(settings):
    with pytest.raises(RecipeError, match="schedule: got"):
        Cubic(**settings)
