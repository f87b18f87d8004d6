"""Claims over seeds, in the words that are printed: in few runs is any of them false."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from claims.counts import record
from claims.repeated import FEW, MOST, check, line
from scipy.stats import binom, nct, t

from redense.experiment import comparison
from redense.experiment.comparison import over_seeds
from redense.experiment.family import corrected
from redense.experiment.results import Results

PUBLISHED = Path(__file__).parents[2] / "docs" / "results"
DIRECTED = ("beats", "falls behind", "gives away more than", "gives away less than", "leaks more than", "leaks less")


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Leave out Wilcoxon's test, which decides nothing and takes longest."""
    monkeypatch.setattr(comparison, "wilcoxon", lambda differences: 1.0)


@cache
def published(name):
    return Results.from_json((PUBLISHED / f"dsd-against-control-{name}.json").read_text())


def claims(results):
    """Return the comparisons that claim a direction in words."""
    every = [(one, one.sentence) for one in (*results.comparisons, *results.at_equal_accuracy, *results.audits)]
    return [one for one, said in every if any(words in said for words in DIRECTED)]


def of_seeds(results, rows, seeds):
    recipe = dataclasses.replace(results.recipe, seeds=tuple(range(seeds)))
    return dataclasses.replace(results, recipe=recipe, rows=tuple(rows)).compared()


def shuffled(results, seeds, generator, *, curves):
    """Draw seeds of a real run, and give its networks to phases at random."""
    phases = list(dict.fromkeys(row.phase for row in results.rows))
    chosen = generator.choice(results.recipe.seeds, seeds, replace=False)
    rows = []
    for number, seed in enumerate(chosen):
        trained = [row for row in results.rows if row.seed == seed]
        for phase, place in zip(phases, generator.permutation(len(trained)), strict=True):
            history = trained[place].history if curves else ()
            rows.append(dataclasses.replace(trained[place], phase=phase, seed=number, history=history))
    return of_seeds(results, rows, seeds)


def simulated(results, seeds, generator, *, curves, real=()):
    """Draw accuracies that depend on the seed, and on the phase only where its label is among the `real`.

    Half of the variance is the seed's, shared by all phases; test and inference accuracy go against each other; a test
    accuracy is a number of 797 examples right.
    """
    rows = []
    for seed in range(seeds):
        common = generator.normal(size=2)
        for row in results.groups():
            own = (common + generator.normal(size=2)) / np.sqrt(2)
            effect = 0.05 * (row[0].phase.label in real)
            test = round(797 * (0.93 + effect + 0.004 * own[0])) / 797
            inference = 0.55 + effect - 0.002 * own[0] + 0.003 * own[1]
            noise = generator.normal(size=(10, 2)) * (0.004, 0.002)
            history = tuple((min(test + a, 1.0), inference + b) for a, b in noise) if curves else ()
            changes = {"test_accuracy": test, "inference_accuracy": inference, "history": history, "seed": seed}
            rows.append(dataclasses.replace(row[0], **changes))
    return of_seeds(results, rows, seeds)


WORLDS = {"simulated": ("digits", simulated), "digits": ("digits", shuffled), "location30": ("location30", shuffled)}


def runs_with_a_claim(world, seeds, runs, *, curves):
    """Count the runs in which any claim is made, where phases do not differ."""
    name, draw = WORLDS[world]
    results, generator = published(name), np.random.default_rng(seeds)
    return sum(bool(claims(draw(results, seeds, generator, curves=curves))) for _ in range(runs))


REAL = ("re-dense 90%", "sparse 90%", "dense")


def runs_with_a_false_claim(seeds, runs, *, curves):
    """Three phases are far above the others: claims between them, or between two of the others, are false."""
    results, generator = published("digits"), np.random.default_rng(seeds)
    wrong = found = 0
    for _ in range(runs):
        claimed = claims(simulated(results, seeds, generator, curves=curves, real=REAL))
        above = [((one.second.label in REAL) - (one.first.label in REAL)) * one.difference for one in claimed]
        # curves of phases that are far apart do not meet, so that none of them is between two kinds
        wrong += any(sign <= 0 for sign in above)
        found += any(sign > 0 for sign in above)
    return wrong, found


@pytest.mark.parametrize(("world", "seeds"), [("simulated", 3), ("digits", 3), ("location30", 5)])
def test_in_few_runs_with_nothing_to_find_is_anything_claimed(world, seeds):
    claimed = runs_with_a_claim(world, seeds, FEW, curves=False)
    record("no false claim", f"nothing to find, {world}, {seeds} seeds", FEW - claimed, FEW, quick=True)
    check(claimed, FEW, 0.05, world)


def test_in_few_runs_with_something_to_find_is_anything_false_claimed():
    wrong, found = runs_with_a_false_claim(5, FEW, curves=False)
    record("no false claim", "some contrasts are real, 5 seeds", FEW - wrong, FEW, quick=True)
    check(wrong, FEW, 0.05, "false claims")
    assert found == FEW


def test_the_quick_tests_would_see_a_false_claim_in_twelve_percent():
    assert binom.sf(MOST, FEW, 0.12) > 0.9
    assert binom.sf(MOST, FEW, 0.05) < 0.02


def runs_that_claim_the_one_difference(runs, family):
    """Count the runs that claim one difference of two standard deviations among so many, of which no other is real."""
    results, generator = published("digits"), np.random.default_rng(0)
    assert sum(map(len, (results.comparisons, results.at_equal_accuracy))) == family
    pairs = [(one.first, one.second) for one in (*results.comparisons, *results.at_equal_accuracy)]
    claimed = 0
    for _ in range(runs):
        differences = generator.normal(size=(family, 10))
        differences[0] += 2
        found = [over_seeds("test_accuracy", *pair, each / 100) for pair, each in zip(pairs, differences, strict=True)]
        claimed += corrected(found)[0].shown
    return claimed


USUAL = 3 * 24
"""Claims of a usual run: three quantities, 24 contrasts (4 sparsities, two controls)."""


def test_a_difference_of_two_deviations_is_claimed_in_four_of_five_runs_of_ten_seeds():
    assert power_of_one(USUAL) > 0.8
    claimed = runs_that_claim_the_one_difference(100, USUAL)
    record("true differences are claimed", "two deviations, one of 72 claims, 10 seeds", claimed, 100, quick=True)
    assert claimed >= 75


@pytest.mark.evidence
def test_a_difference_of_two_deviations_is_claimed_as_often_as_said():
    claimed = runs_that_claim_the_one_difference(2_000, USUAL)
    record("true differences are claimed", "two deviations, one of 72 claims, 10 seeds", claimed, 2_000)
    assert binom.cdf(claimed, 2_000, 0.8) >= 0.001


def power_of_one(family):
    """Return how often the one difference of two deviations among so many claims is claimed with 10 seeds."""
    return nct.sf(t.isf(0.05 / family / 2, 9), 9, 2 * np.sqrt(10))


def test_up_to_83_claims_a_difference_of_two_deviations_is_claimed_in_four_of_five_runs():
    assert power_of_one(83) >= 0.8 > power_of_one(84)
    assert [power_of_one(family) for family in (48, 72, 144)] == pytest.approx([0.872, 0.822, 0.715], abs=0.0006)


@pytest.mark.evidence
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("world", WORLDS)
def test_false_claims_are_as_rare_as_promised(world, seeds, capsys):
    claimed = runs_with_a_claim(world, seeds, 1000, curves=True)
    record("no false claim", f"nothing to find, {world}, {seeds} seeds", 1000 - claimed, 1000)
    with capsys.disabled():
        print("\n" + line(claimed, 1000, f"any claim, nothing to find, {world}, {seeds} seeds"))
    check(claimed, 1000, 0.05, world)


@pytest.mark.evidence
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_false_claims_beside_true_ones_are_as_rare_as_promised(seeds, capsys):
    wrong, found = runs_with_a_false_claim(seeds, 1000, curves=True)
    record("no false claim", f"some contrasts are real, {seeds} seeds", 1000 - wrong, 1000)
    with capsys.disabled():
        print("\n" + line(wrong, 1000, f"a false claim, {seeds} seeds, a true one in {found}"))
    check(wrong, 1000, 0.05, "false claims")
