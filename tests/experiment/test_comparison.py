import dataclasses
import json
import math
from functools import partial

import numpy as np
import pytest

from redense.experiment.comparison import Comparison, compare_phases, over_examples, over_seeds
from redense.methods import CONTROLS, METHODS, dsd
from redense.metrics.paired import holm

DENSE, SPARSE, REDENSE = dsd(0.5, (2, 1, 1))
LONGER = CONTROLS["longer"].phases(dsd(0.0, (2, 1, 1)))[2]
compare_phases = partial(compare_phases, method=METHODS["dsd"])


def test_differences_that_do_not_vary_are_no_proof():
    comparison = over_seeds("test_accuracy", DENSE, SPARSE, [0.01, 0.01, 0.01])
    assert comparison.interval is None
    assert comparison.t is None
    assert comparison.p == 0.25  # 2 of 8 patterns of signs
    assert over_seeds("test_accuracy", DENSE, SPARSE, [0.0, 0.0]).p == 1.0
    assert "[" not in comparison.verdict


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
    (paired,) = compare_phases(given_values, "test_accuracy", correct=lambda phase, _: correct[phase])
    assert (paired.only_first, paired.only_second, paired.seeds) == (0, 10, 1)
    assert paired.mcnemar.raw == pytest.approx(2 / 2**10)
    assert compare_phases(given_values, "inference_accuracy", correct=lambda phase, _: correct[phase]) == []


def test_only_seeds_that_both_phases_have_are_paired():
    known = values({LONGER: 0.0, REDENSE: 0.01})
    del known[LONGER][3], known[REDENSE][0]
    (paired,) = compare_phases(known, "test_accuracy")
    assert paired.seeds == 3
    assert paired.difference == pytest.approx(np.mean([known[REDENSE][s] - known[LONGER][s] for s in (1, 2, 4)]))


def test_holms_correction_is_over_the_sparsities_of_one_contrast():
    phases = [phase for sparsity in (0.3, 0.5) for phase in dsd(sparsity, (2, 1, 1))]
    found = compare_phases(values(dict.fromkeys([*phases, LONGER], 0.0), noise=0.01), "test_accuracy")
    for kinds in {(one.first.kind, one.second.kind) for one in found}:
        family = [one for one in found if (one.first.kind, one.second.kind) == kinds]
        assert [one.t.holm for one in family] == holm([one.t.raw for one in family])
        assert len(family) == 2


def test_comparisons_survive_json():
    for comparison in (
        *compare_phases(values({LONGER: 0.0, SPARSE: 0.0, REDENSE: 0.01}), "test_accuracy"),
        over_examples(DENSE, SPARSE, np.array([True, False]), np.array([False, False])),
    ):
        assert Comparison.from_mapping(json.loads(json.dumps(comparison.to_mapping()))) == comparison


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


@pytest.mark.parametrize(
    ("difference", "interval", "verdict"),
    [
        (
            0.02,
            (0.01, 0.03),
            "re-dense 50% leaks more than dense: AUC of LiRA online +0.0200 [+0.0100, +0.0300], half, 1 seed",
        ),
        (
            -0.02,
            (-0.03, -0.01),
            "re-dense 50% leaks less than dense: AUC of LiRA online -0.0200 [-0.0300, -0.0100], half, 1 seed",
        ),
        (
            0.02,
            (-0.01, 0.05),
            "no difference between re-dense 50% and dense that this audit can show: AUC of LiRA online ",
        ),
        (
            0.02,
            None,
            "no difference between re-dense 50% and dense that this audit can show: AUC of LiRA online +0.0200, half",
        ),
    ],
)
def test_the_words_of_audits(difference, interval, verdict):
    comparison = Comparison("auc", DENSE, REDENSE, 1, difference, interval, protocol="half", attack="LiRA online")
    assert comparison.verdict.startswith(verdict)
    assert comparison.sentence == f"{comparison.verdict[:1].upper()}{comparison.verdict[1:]}."
    assert comparison.p is None
    assert not comparison.shown
