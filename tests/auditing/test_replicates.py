"""Every reference model as the target in turn, against slow and obvious computations."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redense.attacks.lira import LiRA
from redense.attacks.references import complementary_pairs
from redense.auditing.attacks import ATTACKS, FAMILIES
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence, References
from redense.auditing.replicates import ordered, replicable, replicate, replicate_without_pairs
from redense.auditing.settings import AuditSettings
from redense.errors import DataError
from redense.metrics import auc, tpr_at_fpr
from redense.signals import Signals

CLASSES = 3


def halves(generator, models, n):
    """Draw complementary halves, pair by pair: bool [models, n]."""
    first = generator.random((models // 2, n)).argsort(axis=1) < n // 2
    return np.stack([first, ~first], axis=1).reshape(models, n)


def evidence_of(seed, models, n, leak):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, n)
    included = halves(generator, models, n)
    z = generator.normal(size=(models, n, CLASSES))
    z[:, np.arange(n), labels] += 2 * generator.normal(size=n) + leak * included
    return References(Signals.stack([Signals.of_logits(of_model, labels) for of_model in z]), included), labels


def attack(name):
    return next(one for one in ATTACKS if one.name == name)


def without(references, models):
    keep = np.setdiff1d(np.arange(len(references.included)), models)
    return References(references.signals[keep], references.included[keep])


def test_every_attack_finds_on_each_model_what_an_audit_of_it_by_the_others_finds():
    references, labels = evidence_of(0, 8, 240, leak=1.0)
    attacks = replicable(references, labels, FAMILIES)
    found = replicate(references, labels, attacks)
    for model in range(8):
        others = without(references, [model, model ^ 1])
        evidence = Evidence(references.signals[model], labels, references.included[model], others)
        result = audit_evidence(evidence, attacks=[one for one in FAMILIES if one not in ("shadow", "samia")])
        assert [one.attack for one in result.attacks] == list(found)
        for one in result.attacks:
            figures = found[one.attack]
            assert figures["auc"][model] == one.auc
            assert figures["accuracy"][model] == one.accuracy
            scored = {f"tpr_at_{rate.fpr:g}": rate.point.tpr for rate in one.rates if rate.point}
            assert {name: values[model] for name, values in figures.items() if name.startswith("tpr")} == scored


def test_attacks_are_chosen_by_what_they_need():
    references, labels = evidence_of(0, 8, 60, leak=0.0)
    for one in ATTACKS:
        stored = one.learn is None and not {"augmented", "noisy"} & set(one.needs)
        assert (one in replicable(references, labels, [one.family])) == stored


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from([6, 8]), st.sampled_from(["LiRA online", "RMIA offline", "loss, per class"])
)
def test_without_pairs_is_what_each_model_gives_away_to_those_that_are_left(seed, models, name):
    references, labels = evidence_of(seed, models, 220, leak=1.0)
    shuffled = np.random.default_rng(seed).permutation(models)
    mixed = References(references.signals[shuffled], references.included[shuffled])
    found = replicate_without_pairs(mixed, labels, attack(name))
    pairs = complementary_pairs(mixed.included)
    for target, pair in product(range(models), range(models // 2)):
        model = pairs.ravel()[target]
        left = without(mixed, [*pairs[target // 2], *pairs[pair]])
        evidence = Evidence(mixed.signals[model], labels, mixed.included[model], left)
        scores = attack(name).scores(evidence, None, AuditSettings())
        assert found["auc"][target, pair] == auc(scores, mixed.included[model])
        assert found["tpr_at_0.1"][target, pair] == tpr_at_fpr(scores, mixed.included[model], 0.1)


def test_where_no_other_pair_is_left_out_stands_the_replicate_itself():
    references, labels = evidence_of(3, 8, 100, leak=1.0)
    once = replicate(references, labels, [attack("LiRA online")])["LiRA online"]
    left_out = replicate_without_pairs(references, labels, attack("LiRA online"))
    assert (left_out["auc"][np.arange(8), np.arange(8) // 2] == once["auc"]).all()


def test_a_target_whose_complement_attacks_it_is_betrayed_by_the_numbers_of_in_models():
    """On noise: .46 with the complement among 8 models, .5 without it."""
    with_it, without_it = [], []
    for seed in range(40):
        references, labels = evidence_of(seed, 8, 400, leak=0.0)
        phi, included = references.signals.phi, references.included
        for model in range(8):
            others = np.arange(8) != model
            with_it.append(auc(LiRA().score(phi[model], phi[others], included[others]), included[model]))
        without_it.extend(replicate(references, labels, [attack("LiRA online")])["LiRA online"]["auc"])
    for values, expected in ((with_it, 0.460), (without_it, 0.499)):
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(values) - expected) < 4 * error + 0.003
    assert np.mean(with_it) < 0.48


def test_models_without_their_complement_are_refused():
    references, labels = evidence_of(0, 8, 60, leak=0.0)
    with pytest.raises(DataError, match=r"2 of 7 reference models|1 of 7 reference models.*no complement"):
        replicate(without(references, [3]), labels, [attack("LiRA online")])
    included = references.included.copy()
    included[2, 0] ^= True
    with pytest.raises(DataError, match=r"2 of 8 reference models \(first: 2\) have no complement.*draw a half"):
        ordered(References(references.signals, included))


def test_two_pairs_are_too_few():
    references, labels = evidence_of(0, 4, 60, leak=0.0)
    with pytest.raises(DataError, match=r"got 2 pairs of reference models; expected 3 at least"):
        replicate_without_pairs(references, labels, attack("LiRA online"))


def test_one_half_may_be_drawn_twice():
    half = np.array([True, False, True])
    assert complementary_pairs(np.stack([half, half, ~half, ~half])).tolist() == [[0, 2], [1, 3]]
