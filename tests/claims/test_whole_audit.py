"""Through the whole audit: each attack's intervals hold, without a leak and with one, 500 examples a side.

The examples of a world are drawn independently, with what target and reference models say of them, so the mean of an
AUC or a TPR over many worlds is its truth, whatever the attack. An accuracy is that of the very thresholds that were
learnt. Of attacks that learn from reference models (shadow classifier, SAMIA) the truth is what this one, as it was
learnt, reaches on fresh examples.
"""

import dataclasses

import numpy as np
import pytest
from claims.counts import record
from claims.guarantees import FEWEST, bound
from claims.noise import CLASSES, FAST, noise
from scipy.stats import binom

from redense.attacks import label_only
from redense.auditing.attacks import ATTACKS, Learnt, possible_attacks
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence, NoisyAnswers, References, SampledAnswers
from redense.errors import DataError
from redense.metrics import roc
from redense.metrics.intervals import auc_interval_of, halves_of
from redense.signals import Signals

MODELS = 8
LEAK = 1.0
"""How much surer models are of the examples that they were trained on, where there is a leak."""
FRESH = 20_000
"""Fresh examples a side: their noise is a sixth of that of the interval's own."""
RUNS = {"shadow classifier": 1_000, "SAMIA": 200}
"""Of attacks that learn: of 200 the shadow classifier's AUC was held in 185, which may be chance or 92.5%."""
LEARNING = tuple(RUNS)
FULL = 5_000
"""Repeats of the one case that is counted by itself: 500 could not tell its share from too small a one."""
ALONE = ("label-only", "AUC", 0.0)


def world(seed, n, leak):
    """Draw evidence with 8 reference models, which leak in any case; the target's augmented answers leak with it."""
    evidence = noise(seed, n, n, MODELS, leak=leak, leaky_references=True)
    return dataclasses.replace(evidence, augmented=right_answers(seed, evidence.members, leak))


def right_answers(seed, members, leak):
    """Draw whether the target is right about five changed versions of each example, bool [n, 5]."""
    generator = np.random.default_rng([seed, len(members) // 2, 1])
    right = 0.6 + 0.1 * bool(leak) * members
    return generator.random((len(members), 5)) < right[:, None]


@dataclasses.dataclass
class Seen:
    """What audits of many worlds say of one attack: figures with their intervals, scores, and thresholds learnt."""

    leak: bool
    figures: dict = dataclasses.field(default_factory=dict)
    scores: list = dataclasses.field(default_factory=list)
    learnt: list = dataclasses.field(default_factory=list)

    def add(self, result, scores, members, decides):
        said = {"AUC": (result.auc, result.auc_interval), "accuracy": (result.accuracy, result.accuracy_interval)}
        for rate in result.rates:
            if rate.point is not None:
                said[f"TPR at {100 * rate.fpr:g}%"] = rate.point.tpr, rate.point.tpr_interval
        for figure, value in said.items():
            self.figures.setdefault(figure, []).append(value)
        self.scores.append(scores)
        halves = halves_of(scores, members)
        thresholds = (0.0, 0.0) if decides else [half.thresholds[half.best] for half in (halves.first, halves.second)]
        self.learnt.append(thresholds)

    def truths(self, figure, members):
        """Return what each world's interval is about: of an accuracy, these very thresholds in all worlds together."""
        if figure == "AUC" and not self.leak:
            return np.full(len(self.learnt), 0.5)
        if figure != "accuracy":
            return np.full(len(self.learnt), np.mean([value for value, _ in self.figures[figure]]))
        every = np.stack(self.scores)
        inside, outside = np.sort(every[:, members], axis=None), np.sort(every[:, ~members], axis=None)
        below = [np.searchsorted(side, self.learnt) / len(side) for side in (inside, outside)]
        return ((1 - below[0] + below[1]) / 2).mean(axis=1)

    def held(self, figure, members):
        """Count the worlds whose interval holds the truth."""
        low, high = np.array([interval for _, interval in self.figures[figure]]).T
        truths = self.truths(figure, members)
        return int(((low <= truths) & (truths <= high)).sum())


def audited(runs, n, leak):
    """Audit so many worlds; return what was seen of each attack, by name, and the verdicts."""
    seen, verdicts = {}, []
    for seed in range(runs):
        evidence = world(seed, n, leak)
        result = audit_evidence(evidence, attacks=FAST)
        verdicts.append(result.verdict)
        for attack in possible_attacks(FAST, evidence):
            settings = {"variance": "shrunk"} if attack.settings else {}
            scores = attack.score(evidence, None, **settings)
            of_attack = seen.setdefault(attack.name, Seen(bool(leak)))
            of_attack.add(result.attack(attack.name), scores, evidence.members, attack.decides(evidence))
    return seen, verdicts


def counts(runs, n, leak):
    """By attack and figure: in how many of the worlds the interval holds; and of the verdicts' intervals how many hold,
    and how many there are."""
    members, (seen, verdicts) = np.arange(2 * n) < n, audited(runs, n, leak)
    held = {(name, figure): one.held(figure, members) for name, one in seen.items() for figure in one.figures}
    assert len({verdict.attack for verdict in verdicts}) >= 2, "the strongest attack should differ from world to world"
    return held, headlines_that_hold(seen, verdicts, members)


def headlines_that_hold(seen, verdicts, members):
    """Count the verdicts whose interval holds the accuracy, in all worlds together, of the thresholds that the named
    attack has learnt; and those that have an interval: a random split is not comparable in at most 1%."""
    truths = {name: one.truths("accuracy", members) for name, one in seen.items()}
    told = [
        (*verdict.interval, truths[verdict.attack][place])
        for place, verdict in enumerate(verdicts)
        if verdict.kind != "not comparable"
    ]
    assert len(verdicts) - len(told) <= binom.ppf(0.999, len(verdicts), 0.01)
    return sum(bool(low <= truth <= high) for low, high, truth in told), len(told)


def trembling(generator, z):
    """What a model says to noisy queries: it trembles less where it is sure."""
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return NoisyAnswers(p, p * (1 - p) * generator.gamma(4.0, 0.25, size=p.shape))


def answers(generator, inside, leak):
    """Draw labels [n] and logits [models, n, classes]: what models with members bool [models, n] say of them."""
    labels = generator.integers(0, CLASSES, inside.shape[1])
    z = generator.normal(size=(*inside.shape, CLASSES))
    z[:, np.arange(len(labels)), labels] += 2 * generator.normal(size=len(labels)) + leak[:, None] * inside
    return z, labels


def learning_world(generator, n, leak):
    """Draw evidence with the noisy answers of two reference models, which leak in any case."""
    members = np.arange(2 * n) < n
    first = generator.random(2 * n).argsort() < n
    included = np.stack([first, ~first])
    z, labels = answers(generator, np.stack([members, *included]), np.array([leak, LEAK, LEAK]))
    signals = Signals.stack([Signals.of_logits(of_model, labels) for of_model in z])
    model, example = (places.ravel() for places in np.indices(included.shape))
    asked = SampledAnswers(model, example, trembling(generator, z[1:].reshape(-1, CLASSES)))
    references = References(signals[np.arange(1, 3)], included, asked)
    return Evidence(signals[0], labels, members, references, noisy=trembling(generator, z[0]))


def fresh_examples(generator, n, leak):
    """Draw further examples and what the target says of them: evidence without reference models."""
    members = np.arange(2 * n) < n
    z, labels = answers(generator, members[None], np.array([leak]))
    return Evidence(Signals.of_logits(z[0], labels), labels, members, noisy=trembling(generator, z[0]))


def learnt_and_held(name, runs, n, leak):
    """By figure: in how many worlds the interval holds what the attack, as it was learnt, reaches on fresh examples.

    And in how many it is made: where members and the models' training sets go together by chance, it is refused.
    """
    attack = next(one for one in ATTACKS if one.name == name)
    counts, made = {"AUC": 0, "accuracy": 0}, 0
    for seed in range(runs):
        generator = np.random.default_rng([seed, n, int(10 * leak)])
        evidence, fresh = learning_world(generator, n, leak), fresh_examples(generator, FRESH, leak)
        learnt = Learnt(evidence.references, evidence.labels)
        try:
            result = audit_evidence(evidence, attacks=(attack.family,), learnt=learnt).attack(name)
        except DataError as error:
            if "taken together, gives membership away" not in str(error):
                raise
            continue
        made += 1
        curve = roc(attack.score(fresh, learnt.of(attack)), fresh.members)
        place = np.searchsorted(-curve.thresholds, 0, side="right") - 1  # the last threshold that is not below 0
        accuracy = (curve.tpr[place] + 1 - curve.fpr[place]) / 2
        truths = {"AUC": (result.auc_interval, curve.auc), "accuracy": (result.accuracy_interval, accuracy)}
        for figure, ((low, high), truth) in truths.items():
            counts[figure] += bool(low <= truth <= high)
    assert runs - made <= binom.ppf(0.999, runs, 0.01)
    return counts, made


QUICK = 150


@pytest.mark.parametrize("leak", [0.0, LEAK])
def test_the_intervals_of_all_attacks_in_few_audits(leak):
    found, (headlines, told) = counts(QUICK, 60, leak)
    for (attack, figure), held in found.items():
        record("whole audit", f"{attack}, {figure}, {said(leak)}, 60 a side", held, QUICK, quick=True)
    record("headline", f"all attacks, 60 a side, {said(leak)}", headlines, told, quick=True)
    for key, held in found.items():
        assert held >= bound(QUICK), f"{key}: held in {held} of {QUICK}, {bound(QUICK)} needed"
    assert headlines >= bound(told), f"held in {headlines} of {told}, {bound(told)} needed"


def test_there_is_a_leak_to_find_in_a_world_with_one():
    for leak, least in ((0.0, 0.0), (LEAK, 0.53)):
        (result,) = (audit_evidence(world(0, 2_000, leak), attacks=FAST),)
        assert result.verdict.kind == ("leak" if leak else "none shown")
        assert all(attack.auc > least for attack in result.attacks)


def said(leak):
    return "a leak" if leak else "no leak"


def told_and_recorded(counted, runs, leak):
    for (attack, figure), held in counted.items():
        if (attack, figure, leak) != ALONE:
            record("whole audit", f"{attack}, {figure}, {said(leak)}", held, runs)
    for key, held in counted.items():
        assert held >= binom.ppf(0.001, runs, 0.95), f"{key}: held in {held} of {runs}"


@pytest.mark.evidence
@pytest.mark.parametrize("leak", [0.0, LEAK])
def test_the_intervals_of_all_attacks(leak):
    found, (headlines, told) = counts(500, 500, leak)
    record("headline", f"all attacks, 500 a side, {said(leak)}", headlines, told)
    told_and_recorded(found, 500, leak)
    assert headlines >= binom.ppf(0.001, told, 0.95), f"held in {headlines} of {told}"


@pytest.mark.evidence
@pytest.mark.parametrize("leak", [0.0, LEAK])
@pytest.mark.parametrize("n", [60, 200])
def test_the_verdicts_interval_of_many_differing_attacks(n, leak):
    _, (held, told) = counts(1_000, n, leak)
    record("headline", f"all attacks, {n} a side, {said(leak)}", held, told)
    assert held >= binom.ppf(0.001, told, 0.95), f"held in {held} of {told}"


@pytest.mark.evidence
def test_the_area_of_the_label_only_attack_without_a_leak():
    members = np.arange(1_000) < 500
    curves = (roc(label_only(right_answers(seed, members, 0.0)), members) for seed in range(FULL))
    intervals = (auc_interval_of(curve) for curve in curves)
    held = sum(low <= 0.5 <= high for low, high in intervals)
    record("whole audit", "label-only, AUC, no leak", held, FULL)
    assert held >= FEWEST * FULL, f"held in {held} of {FULL}"


@pytest.mark.evidence
@pytest.mark.parametrize("leak", [0.0, LEAK])
@pytest.mark.parametrize("attack", LEARNING)
def test_the_intervals_of_attacks_that_learn(attack, leak):
    runs = RUNS[attack]
    found, made = learnt_and_held(attack, runs, 500, leak)
    told_and_recorded({(attack, figure): held for figure, held in found.items()}, made, leak)
