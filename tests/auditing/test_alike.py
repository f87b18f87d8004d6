"""Are members and non-members alike? What tells them apart without the model must not be called a leak."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from auditing.digits import network
from auditing.models import leaky, with_references
from claims.counts import record
from claims.guarantees import bound
from scipy.stats import binom, chi2, mannwhitneyu, norm
from torch import nn

import redense
from redense.auditing.alike import (
    FAR,
    FOLDS,
    OF_TWO_KINDS,
    Told,
    _chance_error,
    _chi_squared,
    _told_by_labels,
    compare_answers,
    compare_sides,
    not_comparable,
    sides_alike,
    surest,
    warned,
)
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence, References
from redense.auditing.result import Alike
from redense.auditing.sample import Sample
from redense.metrics import auc, roc
from redense.signals import Signals

SHIFT = 0.3583
"""Two unit normals so far apart have an AUC of 0.6."""


def described(x, y):
    return sampled(x, y).described()


def sampled(x, y, most=5_000, batch=500):
    """Sample arrays as an audit does that reads them in batches; equal inputs get equal fingerprints."""
    sample = Sample(most)
    for start in range(0, len(y), batch):
        part = torch.as_tensor(x[start : start + batch])
        prints = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in part.numpy()]
        sample.add(part, np.asarray(y[start : start + batch]), np.array(prints, dtype="S16"))
    return sample


def told(first, second):
    return surest(compare_sides(described(*first), described(*second)))


def tabular(generator, n=500):
    return generator.normal(size=(n, 20)).astype(np.float32), generator.integers(0, 5, n)


def tokens(generator, n=500):
    return generator.zipf(1.3, size=(n, 40)) % 3000, generator.integers(0, 2, n)


def pixels(generator, n=500):
    """Images with as much in common as neighbours have, constant at the rim."""
    x = generator.normal(size=(n, 10)) @ np.random.default_rng(0).normal(size=(10, 100))
    x = np.pad((x + generator.normal(size=(n, 100))).reshape(n, 1, 10, 10), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return x.astype(np.float32), generator.integers(0, 10, n)


def classes(generator, n=500):
    """Two columns, and as many classes as make most of them rare."""
    return generator.normal(size=(n, 2)).astype(np.float32), generator.zipf(1.3, n) % 100


WORLDS = {"tabular": tabular, "tokens": tokens, "pixels": pixels, "classes": classes}


def false_alarms(runs, world, n):
    generators = [np.random.default_rng([3, run]) for run in range(runs)]
    return sum(told(world(generator, n), world(generator, n)).told_apart for generator in generators)


@pytest.mark.parametrize("world", WORLDS)
def test_random_splits_are_alike_in_few_runs(world):
    assert false_alarms(4, WORLDS[world], 100) <= 1


@pytest.mark.evidence
@pytest.mark.parametrize(
    ("world", "n", "runs"),
    [(world, 60, 1_000 if world == "tokens" else 500) for world in WORLDS] + [(world, 500, 200) for world in WORLDS],
)
def test_random_splits_are_alike(world, n, runs):
    alarms = false_alarms(runs, WORLDS[world], n)
    record("random splits", f"{world}, {n} a side", runs - alarms, runs)
    assert alarms <= 0.01 * runs


def moved(name, generator, n=500):
    """Two sides of `n`, and what tells them apart best [2 n].

    It has an AUC of 0.60 to 0.65. Where it is one of many columns or a direction in them, classifiers that learn it
    from 500 a side reach 0.60 to 0.61.
    """
    first, second = (list(WORLDS["tokens" if name == "lengths" else "tabular"](generator, n)) for _ in range(2))
    if name == "columns":
        first[0] += 1.25 * SHIFT / np.sqrt(20)
        best = [side[0].sum(1) for side in (first, second)]
    elif name == "a column":
        first[0][:, 3] += 1.4 * SHIFT
        best = [side[0][:, 3] for side in (first, second)]
    elif name == "lengths":
        best = [generator.normal(mean, 5, n).clip(1, 39) for mean in (20 + 1.35 * SHIFT * 5, 20)]
        for side, length in zip((first, second), best, strict=True):
            side[0][np.arange(40) >= length[:, None]] = 0
    else:
        step = {"classes": 0.8, "faint classes": 0.55}[name]
        for side, sign in ((first, 1), (second, -1)):
            side[1] = np.clip(np.round(2 + step * SHIFT * sign + generator.normal(size=n)), 0, 4).astype(int)
        best = [first[1], second[1]]
    return first, second, np.concatenate(best)


DIFFERENCES = ("columns", "a column", "classes", "faint classes", "lengths")


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_differs_has_an_area_of_six_tenths(name):
    *_, best = moved(name, np.random.default_rng(0), 20_000)
    area = auc(best, np.arange(40_000) < 20_000)
    assert 0.595 < area < 0.655, "0.005 is two standard errors"


def reached(name, runs):
    found = [told(*moved(name, np.random.default_rng([2, run]))[:2]) for run in range(runs)]
    return np.mean([one.auc for one in found]), sum(one.told_apart for one in found)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_inputs_that_reach_an_area_of_six_tenths_are_noticed_in_few_runs(name):
    assert reached(name, 3)[1] >= 2


@pytest.mark.evidence
@pytest.mark.parametrize("name", DIFFERENCES)
def test_inputs_that_reach_an_area_of_six_tenths_are_noticed(name, capsys):
    area, noticed = reached(name, 1_000)
    record("told apart", f"{name}, 500 a side", noticed, 1_000)
    with capsys.disabled():
        print(f"\n# {name}: mean AUC {area:.3f}, noticed in {noticed} of 1,000")
    assert noticed >= 950


def areas_that_hold(name, n, runs):
    """Count intervals, corrected for all that is tried, that hold the mean area of what they are about.

    An area is what classifiers reach, of which each has learnt from other examples than it is judged on: its mean over
    repeats is what it is an estimate of. `surest` chooses the interval that is printed.
    """
    tried, chosen = [], []
    for run in range(runs):
        generator = np.random.default_rng([4, n, run])
        sides = [tabular(generator, n) for _ in range(2)] if name == "alike" else moved(name, generator, n)[:2]
        ways = compare_sides(*(described(*side) for side in sides))
        said = surest(ways)
        tried.append([one.auc for one in ways])
        chosen.append((tried[-1].index(said.auc), said.interval))
    means = np.mean(tried, axis=0)
    return sum(low <= means[way] <= high for way, (low, high) in chosen)


@pytest.mark.evidence
@pytest.mark.parametrize("n", [100, 500])
@pytest.mark.parametrize("name", ["alike", "a column", "columns", "classes"])
def test_the_interval_holds_the_mean_area(name, n):
    held = areas_that_hold(name, n, 1_000)
    record("area without the model", f"{name}, {n} a side", held, 1_000)
    assert binom.cdf(held, 1_000, 0.95) >= 0.001, held


def test_the_interval_of_labels_alone_holds_the_mean_area_in_few_runs():
    runs, found = 100, []
    for run in range(runs):
        generator = np.random.default_rng([5, run])
        first, second, _ = moved("classes", generator, 100)
        labels, is_member = np.concatenate([first[1], second[1]]), np.arange(200) < 100
        found.append(_told_by_labels(labels, is_member, generator.permutation(200) % FOLDS))
    mean = np.mean([one.auc for one in found])
    held = sum(low <= mean <= high for low, high in (one.interval(0.95) for one in found))
    record("area without the model", "labels alone, classes, 100 a side", held, runs, quick=True)
    assert held >= bound(runs), f"held in {held} of {runs}, {bound(runs)} needed"


def test_an_untrained_model_with_members_that_look_different_is_not_comparable():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(600, 1, 8, 8, generator=generator)
    x[:300] = x[:300] * 0.5 + 0.5
    y = torch.randint(0, 10, (600,), generator=generator)
    torch.manual_seed(0)
    result = redense.audit(network(), members=(x[:300], y[:300]), nonmembers=(x[300:], y[300:]))
    assert result.verdict.kind == "not comparable"
    assert result.attack(result.primary).epsilon is None
    assert result.alike.auc > 0.95
    sentence = result.verdict.sentence
    assert sentence.startswith(
        "Not comparable: members and non-members are told apart by inputs and labels alone, with an"
    )
    assert all(remedy in sentence for remedy in ("random split", "protocol half", "reference models"))
    assert "gives away" not in result.verdict.sentence


def different(n=300, shift=0.3):
    """Sides of which inputs alone tell a little."""
    generator = np.random.default_rng(0)
    x, y = tabular(generator, 2 * n)
    x[:n] += shift / np.sqrt(20) * 1.6
    return x, y


class Recalls(nn.Module):
    """Is sure about the members, which it tells by the sum of their inputs."""

    def __init__(self, x):
        super().__init__()
        self.register_buffer("sums", torch.as_tensor(x).sum(1))

    def forward(self, x):
        known = (x.sum(1)[:, None] - self.sums[None]).abs().amin(1) < 1e-4
        return torch.stack([4.0 * known.float() + 0.01 * x[:, 0], *[0.01 * x[:, c] for c in range(1, 5)]], dim=1)


def test_a_leak_far_above_what_inputs_tell_stays_a_leak_with_a_warning():
    x, _ = different(1000, 0.3)
    y = np.zeros(2000, dtype=int)
    model, (members, others) = Recalls(x[:1000]), ((x[part], y[part]) for part in (slice(1000), slice(1000, None)))
    result = redense.audit(model, members=members, nonmembers=others, randomized=True)
    assert result.alike.told_apart
    assert result.verdict.kind == "leak"
    assert result.attack(result.primary).epsilon is None, "no fair coins tell sides apart"
    assert any("an attack does far better than that" in warning for warning in result.warnings)


def test_the_rule_weighs_size_against_what_attacks_reach():
    faint = Alike(0.55, (0.52, 0.58), 1e-6, "inputs and labels alone")
    assert not_comparable(faint, [0.5, 0.65]).kind == "not comparable"
    assert not_comparable(faint, [0.67]) is None
    assert warned(faint, [0.67])
    assert not warned(faint, [0.65])
    unsure = Alike(0.6, (0.49, 0.7), 0.02, "inputs and labels alone")
    assert not_comparable(unsure, [0.5]) is None
    assert not warned(unsure, [0.9])
    assert not_comparable(Alike(0.8, (0.75, 0.85), 1e-9, "them"), [0.99]) is not None, "nothing is far above that"


def test_reference_models_that_saw_neither_tell_sides_apart():
    generator = np.random.default_rng(0)
    n = 800
    members = np.arange(n) < n // 2
    first = generator.random((4, n)) < 0.5
    included = np.concatenate([first, ~first])

    def evidence(harder):
        says = [Signals.of_phi(generator.normal(size=n) - harder * members + 2 * inside) for inside in included]
        target = Signals.of_phi(generator.normal(size=n) - harder * members)
        return Evidence(target, np.zeros(n, int), members, References(Signals.stack(says), included), phi_only=True)

    fair, unfair = evidence(0), evidence(1)
    (alike,) = compare_answers(fair)
    assert alike.p_value > 0.01
    (apart,) = compare_answers(unfair)
    mean_out = np.where(included, 0, unfair.references.signals.phi).sum(0) / (~included).sum(0)
    assert apart.auc == pytest.approx(1 - auc(mean_out, members))
    result = audit_evidence(unfair)
    assert result.verdict.kind == "not comparable"
    assert "reference models that saw neither" in result.verdict.sentence
    assert audit_evidence(unfair, protocol="half").verdict.kind != "not comparable", "a random half needs no check"


def test_false_alarms_are_shared_out_by_weight():
    half, quarter = Told("half", 0.56, 0.02, 0.004, weight=2), Told("quarter", 0.58, 0.02, 0.004)
    idle = Told("idle", 0.5, 0.02, 0.5)
    alike = surest([half, quarter, idle])
    assert (alike.by, alike.p_value) == ("half", pytest.approx(0.008))
    assert alike.interval == pytest.approx(half.interval(0.975))
    assert not surest([replace(half, weight=1), quarter, replace(idle, weight=2)]).told_apart


def test_of_those_that_tell_the_sides_apart_the_largest_area_is_said():
    """A sure small one would make an attack look far above it."""
    sure, large = Told("sure", 0.6, 0.01, 1e-20), Told("large", 0.7, 0.03, 1e-10)
    assert surest([sure, large]).by == "large"
    assert surest([sure, replace(large, p_value=0.2)]).by == "sure"


@pytest.mark.parametrize("name", ["classes", "faint classes"])
def test_labels_are_not_lost_among_inputs(name):
    first, second, _ = moved(name, np.random.default_rng(0))
    alike = told(first, second)
    assert alike.told_apart
    assert alike.by == "labels alone"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([20, 30], [30, 20], [[20, 30], [30, 20]]),
        ([20, 30, 3, 4], [30, 20, 4, 3], [[20, 30, 7], [30, 20, 7]]),  # rare classes are one
        ([20, 30, 4], [30, 20, 0], [[20, 30], [30, 20]]),  # too rare even together
        ([20, 30, 0], [300, 200, 54], [[20, 30], [300, 200]]),  # 4.9 of 55 expected on the smaller side
    ],
)
def test_shares_of_classes_are_compared_by_pearsons_statistic(first, second, expected):
    labels = np.concatenate([np.repeat(np.arange(len(counts)) * 3, counts) for counts in (first, second)])
    table = np.array(expected)
    even = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    statistic = ((table - even) ** 2 / even).sum()
    p_value = _chi_squared(labels, np.arange(len(labels)) < sum(first))
    assert p_value == pytest.approx(chi2.sf(statistic, table.shape[1] - 1))


@pytest.mark.parametrize("ties", [1, 1000])
def test_areas_of_alike_sides_vary_as_mann_and_whitney_say(ties):
    generator = np.random.default_rng(0)
    members = np.arange(90) < 30
    scores = np.round(generator.normal(size=90) * ties)
    error = _chance_error(roc(scores, members))
    p_value = mannwhitneyu(
        scores[members], scores[~members], alternative="greater", method="asymptotic", use_continuity=False
    ).pvalue
    assert norm.sf((auc(scores, members) - 0.5) / error) == pytest.approx(p_value)


def test_one_class_alone_tells_nothing():
    assert _chi_squared(np.zeros(200, dtype=int), np.arange(200) < 100) == 1


def test_few_examples_are_not_compared():
    model, members, nonmembers = leaky(n=49)
    result = redense.audit(model, members=members, nonmembers=nonmembers)
    assert result.verdict.kind == "too few"
    assert (result.alike.auc, result.alike.unchecked) == (None, "there are fewer than 50 examples on a side")


@pytest.mark.parametrize(
    ("n", "protocol", "times"), [(49, "all", 0), (50, "all", 1), (50, "half", 0), (50, "given", 1)]
)
def test_sides_are_compared_where_it_matters_alone(n, protocol, times):
    called = []
    phi = np.random.default_rng(0).normal(size=2 * n)
    evidence = Evidence(Signals.of_phi(phi), np.zeros(2 * n, dtype=int), np.arange(2 * n) < n, phi_only=True)
    audit_evidence(evidence, protocol=protocol, compare=lambda: called.append(1) or [])
    assert len(called) == times


def test_inputs_of_different_kinds_are_not_compared():
    generator = np.random.default_rng(0)
    assert sides_alike(sampled(*tabular(generator)), sampled(*tokens(generator))).startswith("the inputs of the two")


def test_inputs_of_different_kinds_are_warned_of():
    phi = np.random.default_rng(0).normal(size=200)
    evidence = Evidence(Signals.of_phi(phi), np.zeros(200, dtype=int), np.arange(200) < 100, phi_only=True)
    (warning,) = audit_evidence(evidence, compare=lambda: OF_TWO_KINDS).warnings
    assert "what the attacks find may be this difference; expected the same fields" in warning


def test_how_far_above_an_attack_must_be_does_not_depend_on_the_confidence_of_intervals():
    """With little confidence an attack would seem to be far above what inputs alone tell."""
    phi = np.random.default_rng(0).normal(size=400) + np.repeat([0.62, 0.0], 200)
    evidence = Evidence(Signals.of_phi(phi), np.zeros(400, dtype=int), np.arange(400) < 200, phi_only=True)
    errors = [error / len(audit_evidence(evidence).attacks) for error in (0.05, 0.5)]
    made = [audit_evidence(evidence, confidence=1 - error).attacks for error in errors]
    ends = [max(attack.auc_interval[0] for attack in attacks) for attacks in made]
    told = [Told("inputs", 0.5 + (np.mean(ends) - 0.5) / FAR, 1e-9, 1e-9)]
    kinds = [audit_evidence(evidence, compare=lambda: told, confidence=one).verdict.kind for one in (0.5, 0.95)]
    assert kinds == ["not comparable"] * 2


def test_equal_inputs_share_a_fold():
    """Members that are there twice must not be recognised by having been learnt from."""
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(6):
        x, y = tabular(generator, 100)
        alarms += told((np.repeat(x, 5, axis=0), np.repeat(y, 5)), tabular(generator)).told_apart
    assert alarms <= 1
    part = described(np.repeat(tabular(generator, 10)[0], 3, axis=0), np.zeros(30, int))
    assert len(np.unique(part.groups)) == 10


def test_a_sample_is_uniform_bounded_and_of_one_pass():
    sizes = []
    sample = Sample(100)
    for start in range(0, 4000, 50):
        places = np.arange(start, start + 50)
        sample.add(torch.from_numpy(places[:, None]).float(), places, places.astype("S16"))
        sizes.append(sum(len(part[0]) for part in sample._parts))
    kept = sample.described()
    assert len(kept) == 100
    assert max(sizes) <= 250
    assert (kept.values[:, 0] == kept.labels).all()
    # the same examples whatever the batches
    whole = Sample(100)
    whole.add(torch.arange(4000)[:, None].float(), np.arange(4000), np.arange(4000).astype("S16"))
    assert (whole.described().labels == kept.labels).all()
    counts, _ = np.histogram(kept.labels, 4, (0, 4000))
    assert counts.min() >= 10


def test_padding_does_not_count():
    """How long a text is padded depends on the batch that it came in."""
    text = torch.tensor([[5, 7, 7, 0, 0, 0]])
    short, masked = text[:, :4], {"input_ids": text, "attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0]])}
    found = []
    for inputs in (text, short, masked):
        sample = Sample()
        sample.add(inputs, np.zeros(1, int), np.zeros(1, "S16"))
        found.append(sample.described().features)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    assert (found[0][0, [5, 7, 0, -1]] == [1, 2, 1, 4]).all()


def test_large_images_are_shortened_and_those_of_many_sizes_summarised():
    sample = Sample()
    sample.add(torch.rand(4, 3, 64, 64), np.zeros(4, int), np.arange(4).astype("S16"))
    assert sample.described().values.shape == (4, 1024)
    sample.add(torch.rand(4, 3, 8, 8), np.zeros(4, int), np.arange(4).astype("S16"))
    assert sample.described().values.shape == (8, 0)
    assert sample.described().features.shape == (8, 5)


def test_one_reference_model_or_out_models_alone_are_audited_with_what_can_be_made():
    model, members, nonmembers, references, included = with_references()
    given = {"members": members, "nonmembers": nonmembers}

    def made(models, of_models):
        result = redense.audit(model, **given, references=models, included=of_models)
        return {one.attack for one in result.attacks}, [w for w in result.warnings if w.startswith("left out")], result

    plain = {one.attack for one in redense.audit(model, **given).attacks}
    names, left, result = made(references[:3], np.zeros((3, 240), dtype=bool))
    assert names == plain | {"RMIA offline", "LiRA offline"}
    assert any("RMIA online, LiRA online: 240 of 240 examples are in no reference model's" in line for line in left)
    assert any("shadow classifier, SAMIA: the reference models were trained on none" in line for line in left)
    assert result.attack("LiRA offline").auc > 0.8
    assert result.verdict.kind == "leak"
    names, left, _ = made(references[:1], np.zeros((1, 240), dtype=bool))
    assert names == plain | {"RMIA offline"}
    assert any("LiRA offline, LiRA online" in line and "1 reference model, and at least 2" in line for line in left)
    names, left, _ = made(references[:1], included[:1])
    assert names == plain | {"shadow classifier", "SAMIA"}
    assert any("RMIA offline" in line and "in every reference model's training data" in line for line in left)
    names, left, _ = made(references, included)
    assert left == []
