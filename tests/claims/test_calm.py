"""Repeated experiments: on pure noise no attack, metric or protocol claims what is not there."""

import numpy as np
import pytest
from claims.counts import record
from claims.noise import Tally, audits, noise
from scipy.stats import binomtest

from redense.attacks import LiRA
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence, References
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
    tally(60, models, protocol=protocol, **WORLDS["leaky references" if models else "ties"]).check()


@pytest.mark.evidence
@pytest.mark.parametrize("models", [0, 2, 4, 8, 16, 64])
@pytest.mark.parametrize("protocol", ["all", "half"])
@pytest.mark.parametrize("world", WORLDS)
def test_calm(models, protocol, world, capsys):
    counts = tally(300, models, protocol=protocol, **WORLDS[world])
    record("no leak is claimed", f"{world}, {protocol}, {models} reference models", 300 - counts.leaks, 300)
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
    with capsys.disabled():
        print(f"\n# LiRA, variance {variance}, {models} reference models", *counts.lines(), sep="\n")
    counts.check()


@pytest.mark.evidence
@pytest.mark.parametrize("models", [2, 8, 64])
def test_the_shadow_classifier_is_calm(models, capsys):
    counts = tally(150, models, sizes=(250, 150), attacks=("shadow",), leaky_references=True)
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
    assert binomtest(held, runs).proportion_ci(0.999).high >= 0.95, held


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


def test_counts_that_give_membership_away_are_warned_of():
    evidence = trap(0)
    counts = evidence.references.included.sum(0)
    assert auc(-counts, evidence.members) == 1.0, "the trap: members are in one model fewer, always"
    warnings = audit_evidence(evidence, attacks=("lira",)).warnings
    assert any("these counts give membership away" in warning for warning in warnings)
    fair = audit_evidence(noise(0, 300, 200, 8), attacks=("lira",)).warnings
    assert not any("these counts" in warning for warning in fair)


def test_the_trap_springs_on_an_attack_and_our_draws_avoid_it():
    # with t distributions the number of IN models shapes the score: in the trap noise gives an AUC that is not 0.5
    trapped = [audit_evidence(trap(seed), attacks=("lira",)).attack("LiRA online").auc for seed in range(12)]
    fair = []
    for seed in range(12):
        evidence = noise(seed, 1000, 1000, 8)
        included = evidence.references.included
        fair.append(auc(LiRA().score(evidence.target.phi, evidence.references.signals.phi, included), evidence.members))
    error = 0.013 / np.sqrt(12)  # of a mean of twelve AUCs of 1,000 and 1,000
    assert abs(np.mean(fair) - 0.5) < 4 * error
    assert abs(np.mean(trapped) - 0.5) > 4 * error
