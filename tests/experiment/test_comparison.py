import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.experiment.comparison import Paired, compare_phases, holm, over_examples, over_seeds, t_interval
from redense.phases import Phase, contrasts, control_phases, dsd_phases

DENSE, SPARSE, REDENSE = dsd_phases(0.5, (2, 1, 1), (1, 1, 0.1))
LONGER = control_phases("longer", (2, 1, 1), (1, 1, 0.1))[2]
# Student's sleep data (Cushny & Peebles 1905), as R's help page of t.test has them
SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_the_t_test_and_its_interval_are_those_of_r_on_students_sleep_data():
    differences = [first - second for first, second in zip(*SLEEP, strict=True)]
    paired = over_seeds("test_accuracy", DENSE, SPARSE, differences)
    assert paired.t.raw == pytest.approx(0.002833, abs=5e-7)  # R: t.test(extra ~ group, paired = TRUE)
    assert paired.interval == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_wilcoxons_test_is_that_of_r_on_the_depression_data():
    # Hollander & Wolfe (1973), in R's help page of wilcox.test: V = 40, one-sided exact p = 0.01953
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    differences = [first - second for first, second in zip(before, after, strict=True)]
    assert over_seeds("test_accuracy", DENSE, SPARSE, differences).wilcoxon.raw == pytest.approx(2 * 0.01953, abs=2e-5)


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
    paired = over_examples(DENSE, SPARSE, first, second)
    alone = sum(s and not f for f, s in examples)
    disagree = sum(f != s for f, s in examples)
    chances = [math.comb(disagree, k) / 2**disagree for k in range(disagree + 1)]
    expected = sum(chance for chance in chances if chance <= chances[alone] * (1 + 1e-7))
    assert paired.mcnemar.raw == pytest.approx(expected, abs=1e-12)
    assert paired.only_second == alone
    assert paired.difference == pytest.approx(np.mean(second) - np.mean(first))


def test_differences_that_do_not_vary_are_no_proof():
    paired = over_seeds("test_accuracy", DENSE, SPARSE, [0.01, 0.01, 0.01])
    assert paired.interval is None
    assert paired.t is None
    assert paired.p == 0.25  # 2 of 8 patterns of signs
    assert over_seeds("test_accuracy", DENSE, SPARSE, [0.0, 0.0]).p == 1.0
    assert t_interval([0.5]) is None


def values(differences, seeds=5, noise=0.001, seed=0):
    generator = np.random.default_rng(seed)
    return {
        phase: {s: 0.9 + difference + noise * generator.normal() for s in range(seeds)}
        for phase, difference in differences.items()
    }


def test_verdicts_in_words():
    better = compare_phases(values({LONGER: 0.0, REDENSE: 0.01}), "test_accuracy")[0]
    assert better.verdict.startswith("re-dense 50% beats the equal-budget control (longer) by ")
    assert better.verdict.endswith(", 5 seeds")
    worse = compare_phases(values({LONGER: 0.0, REDENSE: -0.01}), "inference_accuracy")[0]
    assert "re-dense 50% gives away less than the equal-budget control (longer) by " in worse.verdict
    low, high = worse.interval
    assert f"[{-100 * high:.2f}, {-100 * low:.2f}]" in worse.verdict
    equal = compare_phases(values({LONGER: 0.0, REDENSE: 0.0}, seeds=3), "test_accuracy")[0]
    assert ": no difference that 3 seeds can show (" in equal.verdict


def test_one_seed_is_compared_on_the_test_examples():
    correct = {SPARSE: np.array([True] * 90 + [False] * 10), REDENSE: np.array([True] * 100)}
    given_values = {phase: {0: right.mean()} for phase, right in correct.items()}
    (paired,) = compare_phases(given_values, "test_accuracy", lambda phase, _: correct[phase])
    assert (paired.only_first, paired.only_second, paired.seeds) == (0, 10, 1)
    assert paired.mcnemar.raw == pytest.approx(2 / 2**10)
    assert compare_phases(given_values, "inference_accuracy", lambda phase, _: correct[phase]) == []


def test_only_seeds_that_both_phases_have_are_paired():
    known = values({LONGER: 0.0, REDENSE: 0.01})
    del known[LONGER][3], known[REDENSE][0]
    (paired,) = compare_phases(known, "test_accuracy")
    assert paired.seeds == 3
    assert paired.difference == pytest.approx(np.mean([known[REDENSE][s] - known[LONGER][s] for s in (1, 2, 4)]))


def test_holms_correction_is_over_the_sparsities_of_one_contrast():
    phases = [phase for sparsity in (0.3, 0.5) for phase in dsd_phases(sparsity, (2, 1, 1), (1, 1, 0.1))]
    found = compare_phases(values(dict.fromkeys([*phases, LONGER], 0.0), noise=0.01), "test_accuracy")
    for kinds in {(one.first.kind, one.second.kind) for one in found}:
        family = [one for one in found if (one.first.kind, one.second.kind) == kinds]
        assert [one.t.holm for one in family] == holm([one.t.raw for one in family])
        assert len(family) == 2


def test_comparisons_survive_json():
    for paired in (
        *compare_phases(values({LONGER: 0.0, SPARSE: 0.0, REDENSE: 0.01}), "test_accuracy"),
        over_examples(DENSE, SPARSE, np.array([True, False]), np.array([False, False])),
    ):
        assert Paired.from_mapping(json.loads(json.dumps(paired.to_mapping()))) == paired


def test_what_stands_against_what():
    phases = [
        *dsd_phases(0.3, (2, 1, 1), (1, 1, 0.1), rounds=2),
        *dsd_phases(0.5, (2, 1, 1), (1, 1, 0.1), rounds=2),
        *control_phases("longer", (2, 1, 1), (1, 1, 0.1), rounds=2),
        *control_phases("llr", (2, 1, 1), (1, 1, 0.1), rounds=2),
    ]
    found = {(second.label, first.label) for first, second in contrasts(phases)}
    of_second_round = {first for second, first in found if second == "re-dense 30% (round 2)"}
    assert of_second_round == {
        "dense",
        "sparse 30% (round 2)",
        "control-longer beside re-dense (round 2)",
        "control-llr beside re-dense (round 2)",
    }
    assert {first for second, first in found if second == "sparse 50%"} == {"dense", "control-longer beside sparse"}
    assert not any(second.startswith("control") or second == "dense" for second, _ in found)


def test_false_claims_over_four_sparsities_are_as_rare_as_promised():
    """300 runs in which no phase is better: at most 5% of them may claim a difference at any sparsity (Holm)."""
    generator = np.random.default_rng(1)
    claims = 0
    for _ in range(300):
        known = {
            dataclasses.replace(REDENSE, sparsity=s): dict(enumerate(generator.normal(size=4)))
            for s in (0.3, 0.5, 0.7, 0.9)
        }
        known[LONGER] = dict(enumerate(generator.normal(size=4)))
        claims += any(paired.p < 0.05 for paired in compare_phases(known, "test_accuracy"))
    assert claims / 300 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert claims > 0  # or it would never find anything


def test_labels_of_phases_are_distinct():
    phases = {
        *dsd_phases(0.5, (2, 1, 1), (1, 1, 1), rounds=2),
        *control_phases("longer", (2, 1, 1), (1, 1, 1), rounds=2),
        *control_phases("llr", (2, 1, 1), (1, 1, 1), rounds=2),
    }
    assert len({phase.label for phase in phases}) == len(phases) == 5 + 4 + 1
    assert Phase("dense", 2, 1, None, 0) in phases
