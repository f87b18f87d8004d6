import json
from functools import partial

import numpy as np
import pytest

from redense.experiment.audit_comparison import _over_examples
from redense.experiment.comparison import Comparison, PValue, compare_phases, over_examples, over_seeds
from redense.experiment.family import corrected
from redense.methods import CONTROLS, METHODS, dsd

DENSE, SPARSE, REDENSE = dsd(0.5, (2, 1, 1))
LONGER = CONTROLS["longer"].phases(dsd(0.0, (2, 1, 1)))[2]
compare_phases = partial(compare_phases, method=METHODS["dsd"])


def test_differences_that_do_not_vary_are_no_proof():
    comparison = over_seeds("test_accuracy", DENSE, SPARSE, [0.01, 0.01, 0.01])
    assert comparison.interval is None
    assert (comparison.t, comparison.p, comparison.shown) == (None, None, False)
    assert comparison.wilcoxon.raw == 0.25  # 2 of 8 patterns of signs; shown, but never decides
    assert comparison.verdict.startswith("sparse 50% and dense: no difference that 3 seeds can show (test accuracy ")
    assert "+1.00 points, the same in every seed" in comparison.verdict


def values(differences, seeds=5, noise=0.001, seed=0):
    generator = np.random.default_rng(seed)
    return {
        phase: {s: 0.9 + difference + noise * generator.normal() for s in range(seeds)}
        for phase, difference in differences.items()
    }


def test_verdicts_in_words():
    (better,) = corrected(compare_phases(values({LONGER: 0.0, REDENSE: 0.01}), "test_accuracy"))
    assert better.verdict.startswith("re-dense 50% beats the equal-budget control (longer) by ")
    assert better.verdict.endswith(" over 1 claim, 5 seeds")
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
    assert paired.networks_differ
    assert (paired.p, paired.shown, paired.claimed) == (None, False, False)
    assert paired.verdict == (
        "these two networks differ, re-dense 50% from sparse 50% (test accuracy +10.00 points, p = .002); "
        "one seed cannot tell which phase is better"
    )
    assert compare_phases(given_values, "inference_accuracy", correct=lambda phase, _: correct[phase]) == []


def test_only_seeds_that_both_phases_have_are_paired():
    known = values({LONGER: 0.0, REDENSE: 0.01})
    del known[LONGER][3], known[REDENSE][0]
    (paired,) = compare_phases(known, "test_accuracy")
    assert paired.seeds == 3
    assert paired.difference == pytest.approx(np.mean([known[REDENSE][s] - known[LONGER][s] for s in (1, 2, 4)]))


def test_comparisons_survive_json():
    for comparison in (
        *compare_phases(values({LONGER: 0.0, SPARSE: 0.0, REDENSE: 0.01}), "test_accuracy"),
        over_examples(DENSE, SPARSE, np.array([True, False]), np.array([False, False])),
    ):
        assert Comparison.from_mapping(json.loads(json.dumps(comparison.to_mapping()))) == comparison


AUC = {"quantity": "auc", "first": DENSE, "second": REDENSE, "protocol": "half", "attack": "LiRA online", "claims": 48}


@pytest.mark.parametrize(
    ("difference", "interval", "p", "verdict"),
    [
        (
            0.02,
            (0.01, 0.03),
            0.001,
            "re-dense 50% leaks more than dense by AUC of LiRA online 0.0200 [0.0100, 0.0300], p = .001 over 48 "
            "claims, half, 3 seeds",
        ),
        (
            -0.02,
            (-0.03, -0.01),
            0.001,
            "re-dense 50% leaks less than dense by AUC of LiRA online 0.0200 [0.0100, 0.0300], p = .001 over 48 "
            "claims, half, 3 seeds",
        ),
        (
            0.02,
            (0.01, 0.03),  # alone it would leave out 0; the family decides
            0.2,
            "re-dense 50% and dense: no difference that 3 seeds can show (AUC of LiRA online +0.0200 [+0.0100, "
            "+0.0300], p = .2 over 48 claims, half, 3 seeds)",
        ),
    ],
)
def test_the_words_of_audits_over_seeds(difference, interval, p, verdict):
    comparison = Comparison(seeds=3, difference=difference, interval=interval, t=PValue(p / 48, p), **AUC)
    assert comparison.verdict == verdict
    assert comparison.sentence == f"{verdict[:1].upper()}{verdict[1:]}."


@pytest.mark.parametrize("interval", [(0.01, 0.03), (-0.01, 0.05), None])
def test_one_seed_never_says_that_a_phase_leaks_more(interval):
    comparison = Comparison(seeds=1, difference=0.02, interval=interval, **AUC)
    assert comparison.verdict.startswith("these two networks, re-dense 50% against dense: AUC of LiRA online +0.0200")
    assert comparison.verdict.endswith("on these examples, half; one seed cannot tell which phase leaks more")
    assert not comparison.shown


def test_an_interval_over_examples_stays_where_differences_of_areas_are():
    """Also where a side has one example, of whose spread nothing is known."""
    assert _over_examples(0.1, float("inf")) == (-1.0, 1.0)
    assert _over_examples(0.9, 0.5) == (pytest.approx(0.9 - 0.98, abs=0.001), 1.0)
    assert _over_examples(0.1, 0.0) is None
