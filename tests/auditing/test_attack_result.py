"""The rules by which an attack's figures are shown."""

from hypothesis import given
from hypothesis import strategies as st

from redense.auditing.attack_result import FEWEST_FALSE_POSITIVES, FPRS, nonmembers_needed
from redense.metrics.roc import allowed_at


@given(st.one_of(st.sampled_from(FPRS), st.floats(1e-4, 1.0)))
def test_a_rate_is_shown_from_the_first_number_of_which_enough_may_be_accused(fpr):
    needed = nonmembers_needed(fpr)
    assert allowed_at(fpr, needed) >= FEWEST_FALSE_POSITIVES > allowed_at(fpr, needed - 1)
