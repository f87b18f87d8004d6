"""Repeated experiments: the mean over replicates, and one further training, lie in their intervals as often as is said.

A world is a pool of examples, and what models say of them that are trained on random halves of it: each example has a
difficulty and a shift of its own, each model leaks more or less than others, two phases of one model are alike, and an
example's answer depends on which of the others were trained on. One experiment trains R models anew.
"""

import numpy as np
import pytest
from claims.counts import record
from scipy.stats import binom, ttest_1samp

from redense.auditing.attacks import ATTACKS, PRIMARY
from redense.auditing.evidence import Evidence, References
from redense.auditing.replicates import replicate_without_pairs
from redense.auditing.settings import AuditSettings
from redense.metrics import auc, tpr_at_fpr
from redense.metrics.jackknife import pair_jackknife
from redense.signals import Signals

FIGURES = {"auc": "AUC", "tpr_at_0.1": "TPR at 10%"}
N = 80
"""Examples of the pool, small so that the spread of models stands out from the noise of so few examples."""
LEAKS = (0.5, 0.9)
"""How far being trained on moves an example's answer in either phase."""
INFLUENCE = 4.0
"""How far the other members do: so far that a t-interval over models would be too narrow."""


class World:
    """A pool of n examples; with `leaks` of the first and the second phase, from model to model and by neighbours."""

    def __init__(self, n, leaks=LEAKS, effect=0.3, influence=INFLUENCE):
        generator = np.random.default_rng(99)
        self.n, self.leaks, self.effect = n, leaks, effect
        self.difficulty = 2 * generator.normal(size=n)
        self.shift = generator.gamma(2, 0.5, size=n)
        self.neighbours = influence * generator.normal(size=(n, n)) / np.sqrt(n)

    def train(self, seed, groups, models):
        """Train groups of models, pair by pair: phi [2 phases, groups, models, n], and what they were trained on."""
        generator = np.random.default_rng([*np.atleast_1d(seed), self.n, models])
        first = generator.random((groups, models // 2, self.n)).argsort(axis=2) < self.n // 2
        included = np.stack([first, ~first], axis=2).reshape(groups, models, self.n)
        common, noise = generator.normal(size=(groups, models, 1)), generator.normal(size=included.shape)
        from_others = (included - 0.5) @ self.neighbours
        phases = [
            self.difficulty
            + leak * self.shift * np.exp(self.effect * self._part(common, generator)) * included
            + leak * from_others
            + self._part(noise, generator)
            for leak in self.leaks
        ]
        return np.stack(phases), included

    def _part(self, common, generator):
        """Return something of which half the variance is common to both phases."""
        return np.sqrt(0.5) * (common + generator.normal(size=common.shape))


def areas(scores, members):
    """The AUC along the last axis, of scores without ties and members [..., n]."""
    ranks = scores.argsort(axis=-1).argsort(axis=-1)
    inside = members.sum(axis=-1)
    return ((ranks * members).sum(axis=-1) - inside * (inside - 1) / 2) / (inside * (members.shape[-1] - inside))


def against(target, members, phi, included):
    """The AUC of answers [..., n] against the middle of the means of IN and OUT models, [..., models, n]."""
    inside = (phi * included).sum(axis=-2) / included.sum(axis=-2)
    outside = (phi * ~included).sum(axis=-2) / (~included).sum(axis=-2)
    return areas(target - (inside + outside) / 2, members)


def without_pairs(phi, included):
    """What each model gives away without each pair, for phi [..., models, n]: [..., models, models / 2]."""
    models = phi.shape[-2]
    pair_of, found = np.arange(models) // 2, np.empty((*phi.shape[:-1], models // 2))
    for model in range(models):
        for pair in range(models // 2):
            left = np.flatnonzero((pair_of != pair_of[model]) & (pair_of != pair))
            others = phi[..., left, :], included[..., left, :]
            found[..., model, pair] = against(phi[..., model, :], included[..., model, :], *others)
    return found


def fewest(runs):
    """The fewest of so many intervals that must hold: a true coverage of 88% reaches it with probability below .1."""
    return int(binom.ppf(0.9, runs, 0.88)) + 1


def held(found, expected):
    """Count the intervals that hold the expected value."""
    return sum(one.interval[0] <= expected <= one.interval[1] for one in found)


def predicted(found, further):
    """Count the further trainings that lie in their predictions."""
    inside = [one.prediction[0] <= value <= one.prediction[1] for one, value in zip(found, further, strict=True)]
    return sum(inside)


def truths(world, models):
    """The mean of the second phase, and of its difference from the first, over many other groups of models."""
    phi, included = world.train(1, 16_000 // models, models)
    pair_of, means = np.arange(models) // 2, []
    for model in range(models):
        left = np.flatnonzero(pair_of != pair_of[model])
        others = phi[..., left, :], included[..., left, :]
        means.append(against(phi[..., model, :], included[..., model, :], *others).mean(axis=-1))
    first, second = np.mean(means, axis=0)
    return second, second - first


@pytest.mark.parametrize(("models", "runs"), [(8, 400), (16, 250)])
def test_means_and_one_further_training_lie_in_their_intervals(models, runs):
    world = World(N)
    phi, included = world.train(0, runs, models)
    first, second = without_pairs(phi, included)
    fresh, members = (values[..., 0, :] for values in world.train(2, runs, 2))
    one, other = against(fresh, members, phi[..., 2:, :], included[:, 2:])
    of_one, of_difference = truths(world, models)
    cases = (("mean", second, of_one, other), ("difference", second - first, of_difference, other - one))
    for what, values, expected, further in cases:
        found = [pair_jackknife(of_group) for of_group in values]
        case = f"middle of means, {models} models, {what}"
        record("replicates, mean", case, held(found, expected), runs, quick=True)
        record("replicates, one further training", case, predicted(found, further), runs, quick=True)
        assert held(found, expected) >= fewest(runs), f"held in {held(found, expected)} of {runs}"
        assert predicted(found, further) >= fewest(runs), f"predicted {predicted(found, further)} of {runs}"


def test_a_plain_t_interval_over_the_models_would_not_pass():
    world, models, runs = World(N), 8, 400
    second = without_pairs(*world.train(0, runs, models))[1]
    each = second[:, np.arange(models), np.arange(models) // 2]
    low, high = ttest_1samp(each, 0.0, axis=1).confidence_interval()
    expected, _ = truths(world, models)
    assert np.sum((low <= expected) & (expected <= high)) < fewest(runs)


def test_nothing_is_claimed_where_phases_do_not_differ():
    world, runs = World(N, leaks=(0.7, 0.7)), 400
    first, second = without_pairs(*world.train(0, runs, 8))
    claimed = sum(pair_jackknife(values).p < 0.05 for values in second - first)
    record("replicates, mean", "middle of means, 8 models, phases alike", runs - claimed, runs, quick=True)
    assert runs - claimed >= fewest(runs), f"claimed in {claimed} of {runs}"


class Tally:
    """Counts over groups of models, for one attack of the library and one figure."""

    def __init__(self):
        self.found, self.each, self.further = [], [], []

    def add(self, values, further):
        self.found.append(pair_jackknife(values))
        self.each.append(values[np.arange(len(values)), np.arange(len(values)) // 2])
        self.further.append(further)

    def counts(self):
        """Count the groups whose intervals hold the mean of all, those that hold the further training, and all.

        Groups whose models are equal by chance have no interval, and are left out.
        """
        expected = np.mean([one.mean for one in self.found])
        printed = [place for place, one in enumerate(self.found) if one.interval]
        found = [self.found[place] for place in printed]
        return held(found, expected), predicted(found, [self.further[place] for place in printed]), len(found)

    def plain(self):
        """The share of groups in which a plain t-interval over the models holds the mean of all."""
        low, high = ttest_1samp(self.each, 0.0, axis=1).confidence_interval()
        expected = np.mean([one.mean for one in self.found])
        return np.mean((low <= expected) & (expected <= high))


def measured(name, models, runs, world):
    """Attack groups of models with an attack of the library; return a `Tally` by what is compared and figure.

    Counted is in how many groups the interval of the mean holds the mean over all groups, and in how many that of one
    further training holds the figure, or difference, of one more model, attacked by all but one pair.
    """
    attack = next(one for one in ATTACKS if one.name == name)
    labels, tallies = np.zeros(world.n, dtype=np.int64), {}
    for group in range(runs):
        phi, included = (values[..., 0, :, :] for values in world.train([0, group], 1, models))
        fresh, members = (values[..., 0, 0, :] for values in world.train([2, group], 1, 2))
        phases = []
        for of_phase, of_fresh in zip(phi, fresh, strict=True):
            signals = Signals.of_phi(of_phase)
            values = replicate_without_pairs(References(signals, included), labels, attack)
            others = References(Signals.of_phi(of_phase[2:]), included[2:])
            phases.append((values, once(attack, Evidence(Signals.of_phi(of_fresh), labels, members, others))))
        (first, first_fresh), (second, second_fresh) = phases
        for figure in FIGURES:
            for what, part in (("mean", 0.0), ("difference", 1.0)):
                tally = tallies.setdefault((what, figure), Tally())
                tally.add(second[figure] - part * first[figure], second_fresh[figure] - part * first_fresh[figure])
    return tallies


def once(attack, evidence):
    """The figures of one attack."""
    scores = attack.scores(evidence, None, AuditSettings())
    return {"auc": auc(scores, evidence.members), "tpr_at_0.1": tpr_at_fpr(scores, evidence.members, 0.1)}


@pytest.mark.evidence
@pytest.mark.parametrize("name", PRIMARY)
@pytest.mark.parametrize(("models", "runs"), [(8, 2000), (16, 1000)])
def test_the_attacks_that_decide_hold(name, models, runs):
    found = {key: (*tally.counts(), tally.plain()) for key, tally in measured(name, models, runs, World(200)).items()}
    for (what, figure), (of_mean, further, printed, plain) in found.items():
        case = f"{name}, {models} models, {what}, {FIGURES[figure]}"
        record("replicates, mean", case, of_mean, printed)
        record("replicates, one further training", case, further, printed)
        print(f"{case}: {of_mean}, one further {further} of {printed}, plain t {plain:.4f}")
    for of_mean, further, printed, _ in found.values():
        assert min(of_mean, further) >= binom.ppf(0.01, printed, 0.94), "below 94% by more than chance"
