"""Repeated experiments: on pure noise no attack, metric or protocol claims what is not there."""

from dataclasses import replace

import numpy as np
import pytest
from claims.counts import record
from claims.noise import Tally, audits, noise
from claims.repeated import FEW, check
from claims.worlds import World
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from redense.attacks import LiRA
from redense.auditing.attack_result import evaluate
from redense.auditing.audit import audit_evidence
from redense.auditing.checks import TELLING, _of_one_model, _together, telling_references
from redense.auditing.evidence import Evidence, References
from redense.errors import DataError
from redense.metrics import auc, auc_interval
from redense.signals import Signals

WORLDS = {
    "unequal": {"sizes": (300, 120)},
    "equal": {"sizes": (200, 200)},
    "ties": {"sizes": (250, 150), "ties": True},
    "leaky references": {"sizes": (250, 150), "leaky_references": True},
}


def tally(runs, models, *, sizes, **options):
    counts = Tally()
    for result in audits(runs, *sizes, models, **options):
        counts.add(result)
    return counts


@pytest.mark.parametrize("models", [0, 2, 8])
@pytest.mark.parametrize("protocol", ["all", "half"])
def test_calm_in_few_runs(models, protocol):
    world = "leaky references" if models else "ties"
    counts = tally(60, models, protocol=protocol, **WORLDS[world])
    case = f"{world}, {protocol}, {models} reference models"
    record("no leak is claimed", case, 60 - counts.leaks, 60, quick=True)
    counts.check()


@pytest.mark.evidence
@pytest.mark.parametrize("models", [0, 2, 4, 8, 16, 64])
@pytest.mark.parametrize("protocol", ["all", "half"])
@pytest.mark.parametrize("world", WORLDS)
def test_calm(models, protocol, world, capsys):
    counts = tally(300, models, protocol=protocol, **WORLDS[world])
    record("no leak is claimed", f"{world}, {protocol}, {models} reference models", 300 - counts.leaks, 300)
    if (models, protocol) == (8, "all"):
        for attack, surprising in counts.surprising.items():
            record("p of one attack", f"whole audit, {world}, {attack}", 300 - surprising, 300)
    with capsys.disabled():
        print(f"\n# {world}, {protocol}, {models} reference models", *counts.lines(), sep="\n")
    counts.check()


@pytest.mark.evidence
@pytest.mark.parametrize("variance", ["example", "shared"])
@pytest.mark.parametrize("models", [2, 4, 16, 64])
def test_calm_with_other_variances(models, variance, capsys):
    if variance == "example" and models < 4:
        pytest.skip("an example's own variance needs two models on each side")
    # with few models an example may still have a single one on a side: complementary halves of four give two each
    counts = tally(300, models, sizes=(250, 150), attacks=("lira",), variance=variance, leaky_references=True)
    record("no leak is claimed", f"LiRA, variance {variance}, {models} reference models", 300 - counts.leaks, 300)
    with capsys.disabled():
        print(f"\n# LiRA, variance {variance}, {models} reference models", *counts.lines(), sep="\n")
    counts.check()


@pytest.mark.evidence
@pytest.mark.parametrize("models", [2, 8, 64])
def test_the_shadow_classifier_is_calm(models, capsys):
    counts = tally(150, models, sizes=(250, 150), attacks=("shadow",), leaky_references=True)
    record("no leak is claimed", f"shadow classifier, {models} reference models", 150 - counts.leaks, 150)
    with capsys.disabled():
        print(f"\n# shadow classifier, {models} reference models", *counts.lines(), sep="\n")
    counts.check()


@pytest.mark.evidence
def test_samia_is_calm():
    from redense.attacks import SAMIA
    from redense.attacks.samia import tokens

    held, runs = 0, 100
    generator = np.random.default_rng(0)
    inside, members = np.arange(1000) < 500, np.arange(400) < 250
    for _ in range(runs):
        p = generator.dirichlet(np.ones(3), size=1400)
        answers = tokens(p, generator.random((1400, 3)), generator.integers(0, 3, 1400))
        scores = SAMIA(epochs=2).score(answers[1000:], answers[:1000], inside)
        low, high = auc_interval(scores, members)
        held += low <= 0.5 <= high
    record("whole audit", "SAMIA, AUC, answers at random", held, runs)
    assert binomtest(held, runs).proportion_ci(0.999).high >= 0.95, held


def surprising(world, members, nonmembers, runs):
    """Count p-values below .05 of one attack whose scores are distributed alike on both sides."""
    generator = np.random.default_rng([members, nonmembers, *world.settings])
    is_member = np.arange(members + nonmembers) < members
    drawn = (world.draw(generator, members, nonmembers) for _ in range(runs))
    return sum(evaluate("any", scores, is_member, decides=False)[0].p_value < 0.05 for scores in drawn)


SCORES = (World(0.0), World(0.0, step=1.0), World(0.0, saturated=0.6))
SIZES = ((60, 60), (500, 500), (60, 1_000))


@pytest.mark.parametrize("world", SCORES, ids=lambda world: world.name)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{sizes[0]}+{sizes[1]}")
def test_p_of_one_attack_in_few_runs(world, sizes):
    wrong = surprising(world, *sizes, FEW)
    case = f"{world.name}, {sizes[0]:,} and {sizes[1]:,}"
    record("p of one attack", case, FEW - wrong, FEW, quick=True)
    check(wrong, FEW, 0.05, case)


@pytest.mark.evidence
@pytest.mark.parametrize("world", SCORES, ids=lambda world: world.name)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{sizes[0]}+{sizes[1]}")
def test_p_of_one_attack(world, sizes):
    runs, case = 5_000, f"{world.name}, {sizes[0]:,} and {sizes[1]:,}"
    wrong = surprising(world, *sizes, runs)
    record("p of one attack", case, runs - wrong, runs)
    check(wrong, runs, 0.05, case)


@pytest.mark.parametrize(("members", "nonmembers"), [(5, 5), (3, 40), (40, 3), (49, 400)])
def test_tiny_sets_get_no_verdict(members, nonmembers):
    for result in audits(20, members, nonmembers, 4):
        assert result.verdict.kind == "too few"


def trap(seed, n=2000, models=7):
    """Reference sets balanced with the target counted in: each example is in half of the eight models."""
    generator = np.random.default_rng(seed)
    included = generator.random((models + 1, n)).argsort(axis=0) < (models + 1) // 2
    members, included = included[0], included[1:]
    difficulty = generator.normal(size=n)
    says = [Signals.of_phi(difficulty + generator.normal(size=n)) for _ in range(models + 1)]
    return Evidence(
        says[0], np.zeros(n, dtype=int), members, References(Signals.stack(says[1:]), included), phi_only=True
    )


def split(seed, pairs, n=1000):
    """Nothing is memorised, but half of the reference models were trained on the members, half on the others.

    Training on the members gave surer models.
    """
    generator = np.random.default_rng(seed)
    members = generator.random(n) < 0.5
    difficulty = generator.normal(size=n)
    sides = np.tile(np.stack([members, ~members]), (pairs, 1))
    sureness = np.tile([[1.3], [0.8]], (pairs, 1)) * difficulty
    references = References(Signals.of_phi(sureness + 0.3 * generator.normal(size=sides.shape)), sides)
    target = Signals.of_phi(1.3 * difficulty + 0.3 * generator.normal(size=n))
    return Evidence(target, generator.integers(0, 2, n), members, references, phi_only=True)


def test_counts_that_give_membership_away_are_warned_of():
    evidence = trap(0)
    counts = evidence.references.included.sum(0)
    assert auc(-counts, evidence.members) == 1.0, "the trap: members are in one model fewer, always"
    (warning,) = audit_evidence(evidence).warnings
    assert "these counts give membership away" in warning
    assert telling_references(noise(0, 300, 200, 8)) == []


@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_reference_models_trained_on_the_sides_are_warned_of_and_left_out(pairs):
    evidence = split(0, pairs)
    result = audit_evidence(evidence, randomized=True)
    (warning,) = result.warnings
    assert warning.startswith("reference model 0 was trained on 100.0% of the members and 0.0% of the non-members")
    assert "attacks that need reference models were left out" in warning
    # what is left is what would be without them, and proves nothing: leaving them out looked at who is a member
    assert replace(result, warnings=()) == audit_evidence(replace(evidence, references=None))
    with pytest.raises(DataError, match=r"^included: reference model 0 was trained on 100\.0% of the members"):
        audit_evidence(evidence, attacks=("lira",))


def test_membership_that_several_models_tell_together_is_found():
    generator = np.random.default_rng(0)
    members = generator.random(2000) < 0.5
    # 20 models of which each has 3 points more of its own kind: hardly seen in one, and counts cancel
    own = np.where(np.arange(20) % 2, 1, -1)[:, None] * np.where(members, 1, -1)
    included = generator.random((20, 2000)) < 0.5 + 0.03 * own
    assert min(_of_one_model(included, members)) > TELLING / 3 / 20
    assert _together(included, members) < TELLING / 3
    references = References(Signals.of_phi(generator.normal(size=included.shape)), included)
    phi = Signals.of_phi(generator.normal(size=2000))
    evidence = Evidence(phi, np.zeros(2000, dtype=int), members, references, phi_only=True)
    (warning,) = telling_references(evidence)
    assert warning.startswith("what all reference models were trained on, taken together")


@pytest.mark.parametrize(("members", "nonmembers", "models"), [(50, 50, 4), (60, 300, 16), (300, 60, 64)])
def test_fair_reference_sets_are_seldom_taken_for_telling(members, nonmembers, models):
    generator = np.random.default_rng(members)
    n, runs = members + nonmembers, 400
    is_member, found = np.arange(n) < members, []
    for _ in range(runs):
        halves = generator.random((models // 2, n)).argsort(axis=1) < n // 2
        included = np.concatenate([halves, ~halves])
        found.append((min(_of_one_model(included, is_member)) * models, _together(included, is_member)))
    # p-values of fair draws: at a level of .05 each rejects 5% or fewer, but for chance (99.9%)
    for p_values in np.transpose(found):
        assert binomtest(int((p_values < 0.05).sum()), runs).proportion_ci(0.998).low <= 0.05
        assert p_values.min() > TELLING / 3


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(8, 40))
def test_the_multiple_correlation_is_that_of_least_squares(seed, models, n):
    generator = np.random.default_rng(seed)
    included, members = generator.random((models, n)) < 0.5, np.arange(n) % 3 == 0
    design = np.column_stack([np.ones(n), included.T])
    rank = np.linalg.matrix_rank(design) - 1
    fitted = design @ np.linalg.lstsq(design, members.astype(float), rcond=None)[0]
    explained = fitted.var() / members.var()
    expected = beta.sf(explained, rank / 2, (n - 1 - rank) / 2) if 0 < rank < n - 1 else 1.0
    assert _together(included, members) == pytest.approx(expected, abs=1e-4)


def area(evidence):
    """The AUC of LiRA online."""
    references = evidence.references
    return auc(LiRA().score(evidence.target.phi, references.signals.phi, references.included), evidence.members)


def drawn(seed):
    return noise(seed, 1000, 1000, 8)


def test_the_trap_springs_on_an_attack_and_our_draws_avoid_it():
    # with t distributions the number of IN models shapes the score: in the trap noise gives an AUC that is not 0.5
    trapped, fair = ([area(world) for world in worlds] for worlds in (map(trap, range(12)), map(drawn, range(12))))
    error = 0.013 / np.sqrt(12)  # of a mean of twelve AUCs of 1,000 and 1,000
    assert abs(np.mean(fair) - 0.5) < 4 * error
    assert abs(np.mean(trapped) - 0.5) > 4 * error
