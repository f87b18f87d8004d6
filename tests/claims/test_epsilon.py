"""Repeated experiments: a private mechanism's epsilon is not overstated, and nothing is claimed on noise."""

import numpy as np
import pytest
from claims.counts import record
from scipy.stats import binomtest

from redense.metrics import epsilon_of_best_threshold, epsilon_of_held_out_threshold, one_run_epsilon_of_scores


def draw(world, canaries, generator):
    """Draw (scores, included, the mechanism's epsilon); each canary is in with probability 1/2."""
    included = generator.random(canaries) < 0.5
    if world == "noise":
        return generator.normal(size=canaries), included, 0.0
    if world == "ties":
        return generator.integers(0, 6, canaries).astype(float), included, 0.0
    if world == "randomized response":  # the mechanism for which the bound is exact
        told = generator.random(canaries) < 1 / (1 + np.exp(-1.0))
        return np.where(told, included, ~included) + 0.01 * generator.normal(size=canaries), included, 1.0
    return included + generator.laplace(size=canaries), included, 1.0


WORLDS = ("noise", "ties", "randomized response", "Laplace")


def too_high(world, canaries, runs):
    """Count the runs whose bound, of 95% confidence, is above the mechanism's epsilon."""
    generator = np.random.default_rng([canaries, WORLDS.index(world)])
    count = 0
    for _ in range(runs):
        scores, included, epsilon = draw(world, canaries, generator)
        count += one_run_epsilon_of_scores(scores, included) > epsilon
    return count


@pytest.mark.parametrize("world", WORLDS)
def test_the_epsilon_of_one_run_in_few_runs(world):
    # a true error of 12% gives more than 46 in all but 4 of 10,000 such tests, one of 5% in 19 of them
    count = too_high(world, 1_000, runs=600)
    record("one-run epsilon", f"{world}, 1,000 canaries", 600 - count, 600, quick=True)
    assert count <= 46


@pytest.mark.evidence
@pytest.mark.parametrize(
    ("canaries", "runs"), [(500, 5000), (1_000, 5000), (5_000, 5000), (20_000, 2000), (70_000, 2000)]
)
@pytest.mark.parametrize("world", WORLDS)
def test_the_epsilon_of_one_run(world, canaries, runs, capsys):
    count = too_high(world, canaries, runs)
    low, high = binomtest(count, runs).proportion_ci(0.95)
    record("one-run epsilon", f"{world}, {canaries:,} canaries", runs - count, runs)
    with capsys.disabled():
        print(f"\n# {world}, {canaries:,} canaries: {100 * count / runs:.1f}% [{100 * low:.1f}, {100 * high:.1f}]")
    assert binomtest(count, runs).proportion_ci(0.999).low <= 0.05


def test_examples_of_one_training_are_no_independent_runs():
    """The counterexample of the documentation: (0, delta)-private, and a fifth of the trainings "prove" more than 1."""
    delta, n, claimed = 0.02, 2_000, []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        members = generator.random(n) < 0.5
        scores = generator.normal(size=n)
        if seed % 5 == 0:  # a training in five gives away five times delta of the members
            scores[members & (generator.random(n) < 5 * delta)] += 100
        bounds = epsilon_of_best_threshold, epsilon_of_held_out_threshold, one_run_epsilon_of_scores
        claimed.append([bound(scores, members, delta=delta) for bound in bounds])
    best, held_out, one_run = (np.array(claimed) > 1).sum(0)
    assert best == held_out == 8
    assert one_run == 0
