import dataclasses

import numpy as np
import pytest

from redense.experiment.comparison import over_examples, over_seeds
from redense.experiment.family import corrected
from redense.experiment.recipe import Recipe
from redense.experiment.results import Results, Row
from redense.methods import CONTROLS, dsd
from redense.metrics.paired import holm

DENSE, SPARSE, REDENSE = dsd(0.5, (2, 1, 1))
LONGER = CONTROLS["longer"].phases(dsd(0.0, (2, 1, 1)))[2]


def results(seeds, phases=(DENSE, SPARSE, REDENSE, LONGER)):
    """Make results whose figures are noise, with epochs in the same range."""
    generator = np.random.default_rng(0)

    def row(phase, seed):
        test, inference = 0.9 + 0.001 * generator.normal(), 0.55 + 0.01 * generator.normal()
        history = tuple((test + 0.001 * epoch, inference + 0.001 * epoch) for epoch in range(8))
        ends = inference - 0.01, inference + 0.01
        return Row(phase, 0.0, seed, 1.0, test, inference, inference, ends, 1.0, f"{phase.label} {seed}", history)

    rows = tuple(row(phase, seed) for seed in range(seeds) for phase in phases)
    recipe = Recipe(sparsities=(0.5,), epochs=(2, 1, 1), seeds=tuple(range(seeds)), controls=("longer",))
    return Results(recipe, 1000, 800, rows).compared(lambda key: np.arange(800) % 10 < len(key) % 3)


def auc(differences):
    return dataclasses.replace(over_seeds("auc", DENSE, REDENSE, differences), protocol="half", attack="LiRA online")


def test_the_family_is_all_that_a_run_claims():
    found = results(4)
    claims = [*found.comparisons, *found.at_equal_accuracy]
    assert {one.quantity for one in claims} == {
        "test_accuracy",
        "inference_accuracy",
        "inference_accuracy_at_equal_test_accuracy",
    }
    assert [one.t.holm for one in claims] == holm([one.t.raw for one in claims])
    assert {one.claims for one in claims} == {len(claims)} == {12}


def test_audits_join_the_family_and_all_are_corrected_again():
    alone = results(4)
    joined = alone.joined([auc([0.01, 0.02, 0.03, 0.015]), auc([0.01, -0.02, 0.03, 0.015])])
    claims = [*joined.comparisons, *joined.at_equal_accuracy, *joined.audits]
    assert len(claims) == 14
    assert [one.t.holm for one in claims] == holm([one.t.raw for one in claims])
    assert all("over 14 claims" in one.verdict for one in claims)
    before = [*alone.comparisons, *alone.at_equal_accuracy]
    assert [one.t.raw for one in before] == [one.t.raw for one in claims[:12]]
    assert Results.from_json(joined.to_json()) == joined
    # measured anew, with the audits that the file holds, nothing changes; nor do audits of phases that are gone stay
    assert results(4).joined(Results.from_json(joined.to_json()).audits) == joined
    assert dataclasses.replace(joined, rows=joined.rows[:2]).joined(joined.audits).audits == ()


def test_a_comparison_without_a_test_counts_among_the_claims():
    found = corrected([auc([0.01, 0.01, 0.01]), auc([0.01, 0.02, 0.03])])
    assert found[0].t is None
    assert found[1].t.holm == pytest.approx(2 * found[1].t.raw)
    assert [one.claims for one in found] == [2, 2]


def test_one_seed_claims_nothing_about_phases():
    found = results(1)
    said = [one.sentence for one in (*found.comparisons, *found.at_equal_accuracy)]
    assert len(said) == 8
    for words in ("beats", "falls behind", "gives away more than", "gives away less than", "leaks more"):
        assert not any(words in sentence.partition(";")[0] for sentence in said)
    assert all("one seed cannot tell which phase" in sentence for sentence in said)


def test_networks_are_a_family_of_their_own():
    right = np.arange(100) < 90
    networks = [over_examples(DENSE, SPARSE, right, np.roll(right, shift)) for shift in (3, 8)]
    found = corrected([*networks, auc([0.01, 0.02, 0.03])])
    assert [one.mcnemar.holm for one in found[:2]] == holm([one.mcnemar.raw for one in networks])
    assert [one.claims for one in found] == [None, None, 1]
    assert found[2].t.holm == found[2].t.raw
