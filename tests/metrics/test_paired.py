import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.metrics import auc
from redense.metrics.paired import (
    auc_difference,
    holm,
    mcnemar,
    normal_interval,
    shares_below,
    t_interval,
    t_test,
    wilcoxon,
)

# Student's sleep data (Cushny & Peebles 1905), as R's help page of t.test has them
SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_the_t_test_and_its_interval_are_those_of_r_on_students_sleep_data():
    differences = [first - second for first, second in zip(*SLEEP, strict=True)]
    assert t_test(differences) == pytest.approx(0.002833, abs=5e-7)  # R: t.test(extra ~ group, paired = TRUE)
    assert t_interval(differences) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_wilcoxons_test_is_that_of_r_on_the_depression_data():
    # Hollander & Wolfe (1973), in R's help page of wilcox.test: V = 40, one-sided exact p = 0.01953
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    differences = [first - second for first, second in zip(before, after, strict=True)]
    assert wilcoxon(differences) == pytest.approx(2 * 0.01953, abs=2e-5)


def test_holms_correction_is_that_of_r():
    # what p.adjust with method "holm" gives in R
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    level = 0.05
    rejected = set()
    remaining = set(range(len(p_values)))
    while remaining:
        smallest = min(remaining, key=lambda place: p_values[place])
        if p_values[smallest] * len(remaining) > level:
            break
        rejected.add(smallest)
        remaining.remove(smallest)
    corrected = holm(p_values)
    assert {place for place, p in enumerate(corrected) if p <= level} == rejected


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemars_test_counts_all_outcomes_as_unlikely(examples):
    first, second = (np.array(side) for side in zip(*examples, strict=True))
    found = mcnemar(first, second)
    alone = sum(s and not f for f, s in examples)
    disagree = sum(f != s for f, s in examples)
    chances = [math.comb(disagree, k) / 2**disagree for k in range(disagree + 1)]
    expected = sum(chance for chance in chances if chance <= chances[alone] * (1 + 1e-7))
    assert found.p == pytest.approx(expected, abs=1e-12)
    assert (found.only_first, found.only_second) == (disagree - alone, alone)


@given(st.floats(-1, 1), st.integers(2, 9), st.floats(0, 1e-13))
def test_differences_that_do_not_vary_get_no_interval_and_no_t_test(value, number, rounding):
    same = [value] * number
    same[0] += rounding
    assert t_interval(same) is None
    assert t_test(same) is None
    assert normal_interval(value, 0.0) is None


def test_one_value_has_an_interval_over_examples_and_none_over_seeds():
    assert normal_interval(0.5, 0.1) == pytest.approx((0.5 - 0.1 * 1.959964, 0.5 + 0.1 * 1.959964))
    assert t_interval([0.5]) is None


SCORES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), min_size=2, max_size=25)


@given(SCORES)
def test_a_difference_of_areas_is_that_of_all_pairs(examples):
    first, second = (np.array([example[place] for example in examples], dtype=float) for place in (0, 1))
    members = np.array([example[2] for example in examples])
    if members.all() or not members.any():
        return
    difference, error = auc_difference(first, second, members)
    assert difference == pytest.approx(auc(second, members) - auc(first, members))
    # DeLong's variance from the placements of all pairs: each score against every one of the other side
    sides = [(members, ~members), (~members, members)]
    placed = [
        [np.mean([(a > b) + 0.5 * (a == b) for b in scores[other]]) for a in scores[side]]
        for scores in (first, second)
        for side, other in sides
    ]
    changes = [np.subtract(after, before) for before, after in zip(placed[:2], placed[2:], strict=True)]
    variance = sum(np.var(change, ddof=1) / len(change) if len(change) > 1 else np.inf for change in changes)
    assert error == pytest.approx(np.sqrt(variance), abs=1e-12)
    below = [
        np.mean([(other < score) + 0.5 * (other == score) for other in first[~members]]) for score in first
    ]  # every score against every non-member
    assert shares_below(first, members) == pytest.approx(below)


def test_the_paired_error_is_that_of_repeated_experiments():
    generator = np.random.default_rng(0)
    members = np.arange(600) < 350
    differences, errors = [], []
    for _ in range(300):
        common = generator.normal(size=600)
        first = common + 0.3 * generator.normal(size=600) + 0.5 * members
        second = common + 0.3 * generator.normal(size=600) + 0.6 * members
        difference, error = auc_difference(first, second, members)
        assert difference == pytest.approx(auc(second, members) - auc(first, members))
        differences.append(difference)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.12)
    unpaired = np.sqrt(2) * 0.023
    assert np.mean(errors) < 0.6 * unpaired, "what both have in common should cancel"
