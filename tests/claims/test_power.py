"""With scores whose truth is known, attacks reach the best that is possible, and bounds do not exceed it."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from redense.attacks import RMIA, LiRA
from redense.metrics import auc, auc_interval, epsilon_of_best_threshold, epsilon_of_held_out_threshold
from redense.signals import Signals

N = 40_000


def shifted(d, models, seed=0, spread=2.0):
    """Answers N(difficulty + d * inside, 1) of target and reference models: the best AUC is Phi(d / sqrt 2)."""
    generator = np.random.default_rng(seed)
    difficulty = spread * generator.normal(size=N)
    members = generator.random(N) < 0.5
    first = generator.random((models // 2, N)) < 0.5
    included = np.concatenate([first, ~first])
    target = difficulty + d * members + generator.normal(size=N)
    references = difficulty + d * included + generator.normal(size=included.shape)
    return target, references, included, members


@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_a_threshold_is_best_where_examples_are_alike(d):
    target, _, _, members = shifted(d, 4, spread=0.0)
    best = norm.cdf(d / np.sqrt(2))
    signals = Signals.of_phi(target)
    assert auc(signals.phi, members) == pytest.approx(best, abs=0.01)
    assert auc(-signals.loss, members) == pytest.approx(best, abs=0.01)
    low, high = auc_interval(signals.phi, members)
    assert low - 0.005 < best < high + 0.005


@pytest.mark.parametrize("variance", ["example", "shared", "shrunk"])
@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_lira_reaches_the_optimum(d, variance):
    target, references, included, members = shifted(d, 128)
    best = norm.cdf(d / np.sqrt(2))
    assert auc(LiRA(variance=variance).score(target, references, included), members) == pytest.approx(best, abs=0.01)
    offline = LiRA(mode="offline", variance=variance).score(target, references, included)
    assert auc(offline, members) == pytest.approx(best, abs=0.01)


def test_rmia_reaches_the_optimum_where_confidences_are_far_from_one():
    # with small confidences p, log p is all but the scaled logit, and a ratio of them a difference
    target, references, included, members = shifted(1.0, 128)
    confidences = [Signals.of_phi(phi - 15).confidence for phi in (target, references)]
    best = norm.cdf(1 / np.sqrt(2))
    for mode in ("online", "offline"):
        rmia = RMIA(mode=mode, a=1.0)
        assert auc(rmia.ratio(*confidences, included), members) == pytest.approx(best, abs=0.01)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_epsilon_bounds_come_near_the_truth_and_stay_below(epsilon):
    # the Laplace mechanism with sensitivity 1 is epsilon-private and no better
    bounds = {epsilon_of_best_threshold: [], epsilon_of_held_out_threshold: []}
    for seed in range(40):
        generator = np.random.default_rng(seed)
        members = generator.random(20_000) < 0.5
        scores = members + generator.laplace(scale=1 / epsilon, size=len(members))
        for bound, found in bounds.items():
            found.append(bound(scores, members))
    for found in bounds.values():
        assert np.median(found) > 0.75 * epsilon
        assert binomtest(sum(value > epsilon for value in found), 40).proportion_ci(0.999).low <= 0.05
