"""Mistakes of a user that would end in a confident wrong answer are noticed, and sound audits are not disturbed."""

import html
import json
import random
import re

import numpy as np
import pytest
import torch
from auditing.digits import audited, sides, trained, untrained
from claims.counts import record
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import redense
from redense.auditing.audit import audit_evidence
from redense.auditing.checks import of_accuracy, of_references
from redense.auditing.evidence import Evidence, References
from redense.auditing.loaders import read_twice
from redense.auditing.outputs import LogitsSeen
from redense.auditing.page import audit_html
from redense.auditing.result import AuditResult
from redense.auditing.saved import audit_signals_file
from redense.auditing.seen import first_norm
from redense.auditing.verdict import refuse_leak
from redense.errors import DataError
from redense.signals import Signals


def audit(model=None, members=None, nonmembers=None, **options):
    usual = audited()
    return redense.audit(
        model or usual[0],
        members=usual[1] if members is None else members,
        nonmembers=usual[2] if nonmembers is None else nonmembers,
        attacks=("threshold",),
        **options,
    )


def changed(change):
    """Members and non-members with their inputs changed."""
    return {name: (change(x), y) for name, (x, y) in zip(("members", "nonmembers"), audited()[1:], strict=True)}


def test_a_sound_audit_is_not_warned():
    result = audit()
    assert result.warnings == ()
    assert result.verdict.kind == "leak"
    assert not result.alike.told_apart


def test_accuracies_and_alikeness_stand_in_table_page_and_json(tmp_path):
    result = audit()
    model, *parts = audited()
    with torch.no_grad():
        expected = [(model(x).argmax(1) == y).double().mean().item() for x, y in parts]
    assert [result.members_accuracy, result.nonmembers_accuracy] == pytest.approx(expected)
    written = json.loads(result.to_json())
    assert [written["members_accuracy"], written["nonmembers_accuracy"]] == pytest.approx(expected)
    assert written["alike"]["auc"] == result.alike.auc
    assert AuditResult.from_json(result.to_json()) == result
    result.to_html(tmp_path / "audit.html")
    for shown in (str(result), (tmp_path / "audit.html").read_text()):
        assert f"right about {100 * expected[0]:.2f}% of the members and {100 * expected[1]:.2f}% of the non-" in shown
        assert "inputs and labels alone tell members from non-members with an AUC of" in shown


def bare():
    """The network without BatchNorm: accuracy is what notices."""
    members, _ = sides()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(members[0]), members[1]).backward()
        optimizer.step()
    return model


class Softmax(nn.Module):
    def __init__(self, log=False):
        super().__init__()
        self.model, self.log = audited()[0], log

    def forward(self, x):
        return self.model(x).log_softmax(1) if self.log else self.model(x).softmax(1)


def seeded():
    return torch.Generator().manual_seed(0)


def with_labels(side, change):
    return side[0], change(side[1])


def exchanged(a, b):
    """Exchange two classes of labels."""
    return lambda y: torch.where(y == a, b, torch.where(y == b, a, y))


def counted_from_one():
    """Labels from 1, for a model that knows a class 0 which is never right."""

    class Eleven(nn.Module):
        def forward(self, x):
            return nn.functional.pad(audited()[0](x), (0, 1), value=-9.0)

    return {
        "model": Eleven(),
        **{name: (x, y + 1) for name, (x, y) in zip(("members", "nonmembers"), audited()[1:], strict=True)},
    }


def counted_from_zero():
    class Eleven(nn.Module):
        def forward(self, x):
            return nn.functional.pad(audited()[0](x), (1, 0), value=-9.0)

    return {"model": Eleven()}


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda: changed(lambda x: 255 * x), "first BatchNorm layer differs from training"),
        (lambda: changed(lambda x: (x - 0.3) / 0.35), "first BatchNorm layer differs from training"),
        (lambda: changed(lambda x: x / 255), "first BatchNorm layer differs from training"),
        (lambda: {"model": bare(), **changed(lambda x: 1 - x)}, "hardly knows what it was trained on"),
        (lambda: {"model": untrained()}, "hardly knows what it was trained on"),
        (
            lambda: {"nonmembers": with_labels(audited()[2], lambda y: y[torch.randperm(len(y), generator=seeded())])},
            "check that their labels belong to their inputs",
        ),
        (lambda: {"nonmembers": with_labels(audited()[2], exchanged(2, 3))}, "nonmembers: .* labelled 2 for 3"),
        (lambda: {"members": with_labels(audited()[1], exchanged(4, 9))}, "members: .* labelled 4 for 9"),
        (counted_from_one, r"agrees with the label -1 in \d+\.\d% and with the label in"),
        (counted_from_zero, r"agrees with the label \+1 in \d+\.\d% and with the label in"),
        (lambda: {"model": Softmax()}, "look like probabilities"),
        (lambda: {"model": Softmax(log=True)}, "look like log-probabilities"),
        (
            lambda: dict(zip(("members", "nonmembers"), audited()[:0:-1], strict=True)),
            "it should know its members better",
        ),
        (
            lambda: dict(zip(("members", "nonmembers"), audited()[:0:-1], strict=True)),
            "members score lower than non-members",
        ),
    ],
)
def test_a_mistake_is_noticed_and_said_with_its_remedy_before_any_figure(mistake, said, tmp_path):
    result = audit(**mistake())
    assert any(re.search(said, warning) for warning in result.warnings), result.warnings
    result.to_html(tmp_path / "audit.html")
    page = html.unescape((tmp_path / "audit.html").read_text()).replace("\N{NO-BREAK SPACE}", " ")
    for shown, table in ((" ".join(str(result).split()), "attack AUC"), (page, "<table>")):
        verdict, first = shown.index(result.verdict.sentence), shown.index(table)
        assert all(verdict < shown.index(f"Warning: {warning}.") < first for warning in result.warnings)
    assert f"({len(result.warnings)} warning" in audit_html([("a", result), ("b", result)], "Two")


@pytest.mark.parametrize(("n", "rare"), [(60, 2), (200, 7), (500, 7), (2000, 9)])
@pytest.mark.parametrize("guess", [0, 2])
def test_garbage_is_noticed_however_uneven_the_classes_are(n, rare, guess):
    labels = np.where(np.arange(2 * n) % n < rare, 2, 0)
    z = np.random.default_rng(n).normal(size=(2 * n, 3)) / 100
    z[:, guess] += 5
    evidence = Evidence(Signals.of_logits(z, labels), labels, np.arange(2 * n) < n)
    warnings = of_accuracy(evidence)
    # always the largest class: no better than guessing, which shows where anything could be
    could_be_better = 1 - rare / n + 3 * np.sqrt(rare / n * (1 - rare / n) / n) <= 1
    assert any("hardly knows" in warning for warning in warnings) == (guess == 2 or could_be_better)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_probabilities_of_every_type_are_noticed_and_logits_are_not(dtype, classes):
    generator = torch.Generator().manual_seed(classes)
    z = 3 * torch.randn(200, classes, generator=generator)
    for logits, said in (
        (z.softmax(1), "look like probabilities"),
        (z.log_softmax(1), "look like log-probabilities"),
        (z, None),
    ):
        seen = LogitsSeen("members")
        seen.add(logits.to(dtype), logits.argmax(1).numpy())
        warnings = seen.warnings()
        assert [said in warning for warning in warnings] == [True] if said else warnings == []


def test_a_sigmoid_behind_a_single_logit_is_noticed():
    z = 3 * torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    for single, noticed in ((z.sigmoid(), True), (z, False), (z.sigmoid()[:40], False)):
        seen = LogitsSeen("members")
        seen.add(torch.cat((torch.zeros_like(single), single), 1), np.ones(len(single), dtype=np.int64))
        assert any("take the sigmoid out" in warning for warning in seen.warnings()) == noticed


@pytest.mark.parametrize(
    "before",
    [
        lambda: (nn.Flatten(), nn.Dropout(0.5)),
        lambda: (nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5)),
        lambda: (nn.Dropout2d(0.5), nn.Flatten()),
    ],
)
def test_dropout_before_the_first_norm_is_no_mistake_and_hides_no_large_ones(before):
    x = 0.5 + audited()[1][0] / 2  # far from 0, so that dropout adds much
    torch.manual_seed(0)
    layers = before()
    width = layers[1].out_features if isinstance(layers[1], nn.Linear) else 64
    model = nn.Sequential(*layers, nn.BatchNorm1d(width, momentum=None), nn.Linear(width, 10))
    for _ in range(20):
        model(x)  # the norm learns what passes in training
    for inputs, warned in ((x, False), (20 * x - 10, True)):
        with first_norm(model.eval()) as norms, torch.no_grad():
            model(inputs)
        assert bool(norms[0].warnings()) == warned
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_dropout_behind_the_first_norm_changes_nothing():
    torch.manual_seed(0)
    x = torch.randn(300, 8)
    model = nn.Sequential(nn.BatchNorm1d(8, momentum=None), nn.Dropout(0.5), nn.Linear(8, 2))
    model(x)
    for inputs, warned in ((x, False), (x / 10, True)):
        with first_norm(model.eval()) as norms, torch.no_grad():
            for batch in inputs.split(100):
                model(batch)
        assert bool(norms[0].warnings()) == warned


@pytest.mark.parametrize("updates", [1, 10, 33, 34, 200])
def test_a_norm_of_few_updates_that_holds_its_initial_values_is_no_measure(updates):
    model = nn.BatchNorm1d(4)
    x = 5 + 20 * torch.randn(300, 4, generator=seeded())
    for _ in range(updates):
        model(x)
    for inputs, warned in ((x, False), (x / 20, updates > 33)):
        with first_norm(model.eval()) as norms, torch.no_grad():
            model(inputs)
        assert bool(norms[0].warnings()) == warned


def signals_of(seed, *, classes=10, references=0):
    """Logits of a model that leaks, of pairs of references like it, and their labels, of 500 members and 500 others."""
    generator = np.random.default_rng(seed)
    members, labels = np.arange(1000) < 500, generator.integers(0, classes, 1000)
    halves = generator.random((references // 2, 1000)) < 0.5
    included = np.concatenate([halves, ~halves])

    def answers(inside):
        z = generator.normal(size=(1000, classes))
        z[np.arange(1000), labels] += 3 + 2 * inside + generator.normal(size=1000)
        return z

    found = {"logits": answers(members), "labels": labels, "members": members}
    if references:
        found |= {"reference_logits": np.stack([answers(inside) for inside in included]), "included": included}
    return found


def softmax(z):
    return torch.from_numpy(z).softmax(-1).numpy()


def on_the_others(change):
    """Change the labels of non-members."""
    return lambda s: {"labels": np.where(s["members"], s["labels"], change(s["labels"]))}


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda s: {}, None),
        (lambda s: {"logits": softmax(s["logits"])}, "members: the model's outputs look like probabilities"),
        (lambda s: {"logits": np.log(softmax(s["logits"]))}, "nonmembers: .* look like log-probabilities"),
        (lambda s: {"reference_logits": softmax(s["reference_logits"])}, "of reference models 0, 1, .* probabilities"),
        (
            lambda s: {
                "reference_logits": np.concatenate([softmax(s["reference_logits"][:1]), s["reference_logits"][1:]])
            },
            "the outputs of reference model 0 look like probabilities",
        ),
        (lambda s: {"labels": (s["labels"] + 1) % 10}, r"agrees with the label -1 in"),
        (on_the_others(np.random.default_rng(0).permutation), "check that their labels belong to their inputs"),
        (on_the_others(lambda y: np.array([1, 0, *range(2, 10)])[y]), "nonmembers: .* in a circle"),
        (on_the_others(lambda y: 9 - y), "nonmembers: .* likewise 9 more"),
        (lambda s: {"included": np.roll(s["included"], 1, axis=1)}, "included seems to belong to other models"),
        (lambda s: {"included": np.roll(s["included"], 1, axis=0)}, "included seems to belong to other models"),
        (lambda s: {"included": s["included"][:, ::-1]}, "included seems to belong to other models"),
        (lambda s: {"included": ~s["included"]}, "included seems to belong to other models"),
        (lambda s: {"phi": softmax(s["logits"])[np.arange(1000), s["labels"]]}, "phi looks like probabilities"),
    ],
)
def test_a_mistake_in_a_file_of_signals_is_noticed(mistake, said, tmp_path):
    signals = signals_of(0, references=8)
    changes = mistake(signals)
    given = {"members": signals["members"], **changes} if "phi" in changes else {**signals, **changes}
    np.savez(tmp_path / "signals.npz", **given)
    warnings = audit_signals_file(tmp_path / "signals.npz", attacks=("threshold", "lira")).warnings
    if said is None:
        assert warnings == ()
    else:
        assert any(re.search(said, warning) for warning in warnings), warnings


@pytest.mark.parametrize("leak", [0, 0.3, 2])
def test_sound_references_of_any_leak_are_not_suspected(leak):
    warned = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        included, members = generator.random((4, 200)) < 0.5, np.arange(200) < 100
        phi = generator.normal(size=(4, 200)) + leak * included
        target = Signals.of_phi(generator.normal(size=200) + leak * members)
        evidence = Evidence(
            target, np.zeros(200, dtype=np.int64), members, References(Signals.of_phi(phi), included), phi_only=True
        )
        warned += bool(of_references(evidence))
    assert warned <= 2


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_a_sound_model_of_uneven_classes_is_not_warned(share):
    # log-odds of a rare class, two standard deviations apart: right about few more than guessing "never" is
    warned = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        labels = (generator.random(2000) < share).astype(np.int64)
        score = generator.normal(size=2000) + 2.2 * labels - 1.1 + np.log(share / (1 - share)) / 2.2
        z = np.stack([np.zeros(2000), 2.2 * score], 1)
        warned += bool(of_accuracy(Evidence(Signals.of_logits(z, labels), labels, np.arange(2000) < 1000)))
    assert warned <= 1


def test_a_hard_class_that_goes_to_others_is_no_other_order():
    labels = np.repeat([0, 1, 2, 3], [300, 300, 30, 30])
    z = np.eye(4)[np.where(labels >= 2, labels - 2, labels)] + np.random.default_rng(0).normal(size=(660, 4)) / 10
    assert answers_of(Evidence(Signals.of_logits(z, labels), labels, labels == 0), z) == []


def test_scores_the_wrong_way_round_are_no_verdict_of_no_leak(tmp_path):
    members = np.arange(400) < 200
    np.savez(tmp_path / "s.npz", phi=np.random.default_rng(0).normal(size=400) - 2 * members, members=members)
    result = audit_signals_file(tmp_path / "s.npz")
    assert result.verdict.kind == "not comparable"
    assert "Not comparable: members score lower than non-members" in str(result)
    with pytest.raises(DataError, match="members score lower"):
        refuse_leak([("", result)], 0.55)


def test_a_loss_given_as_phi_is_noticed(tmp_path):
    members = np.arange(400) < 200
    phi = np.random.default_rng(0).normal(size=400) + 2 * members
    path = tmp_path / "signals.npz"
    np.savez(path, phi=np.logaddexp(0, -phi), members=members)
    result = audit_signals_file(path)
    assert any("a wrong sign" in warning for warning in result.warnings)
    assert (result.members_accuracy, result.nonmembers_accuracy) == (None, None)
    assert "accuracy is not known" in str(result)
    assert "Not checked whether members and non-members are alike in inputs: only signals were given" in str(result)


class Augmented(Dataset):
    """Moves every image by a random step each time it is read."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return self.x[index].roll(int(torch.randint(-1, 2, ())), 2), self.y[index]


def in_numpy(x, y):
    class OfNumpy(Augmented):
        def __getitem__(self, index):
            return self.x[index] + float(np.random.random()) + random.random(), self.y[index]

    return OfNumpy(x, y)


@pytest.mark.parametrize(
    ("source", "contents", "order"),
    [
        (Augmented, True, False),
        (in_numpy, True, False),
        (lambda x, y: DataLoader(Augmented(x, y), batch_size=20), True, False),
        (lambda x, y: DataLoader(Augmented(x, y), batch_size=20, shuffle=True), True, True),
        (lambda x, y: DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True), False, True),
        (lambda x, y: DataLoader(TensorDataset(x, y), batch_size=20), False, False),
        (lambda x, y: DataLoader(TensorDataset(x, y), batch_size=20, num_workers=2), False, False),
        (lambda x, y: DataLoader(list(zip(x.split(9), y.split(9), strict=True)), batch_size=None), False, False),
        (lambda x, y: DataLoader(TensorDataset(x, y), 20, shuffle=True, generator=torch.Generator()), False, True),
        (TensorDataset, False, False),
        (lambda x, y: (x, y), False, False),
        (lambda x, y: {"x": x, "y": y}, False, False),
        (lambda x, y: list(zip(x, y, strict=True)), False, False),
    ],
)
def test_what_changes_from_reading_to_reading_is_noticed_and_chance_is_left_as_it_was(source, contents, order):
    data = source(*audited()[1])
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    warnings = read_twice(data, "members")
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert [any(word in warning for warning in warnings) for word in ("other contents", "a random order")] == [
        contents,
        order,
    ]
    assert len(warnings) == contents + order
    if isinstance(data, DataLoader) and data.generator is not None:
        assert torch.equal(data.generator.get_state(), torch.Generator().get_state())


def test_what_can_be_read_once_is_not_read_twice():
    class Once(IterableDataset):
        def __init__(self, pairs):
            self.left = iter(pairs)

        def __iter__(self):
            return self.left

    (x, y), (u, v) = audited()[1:]
    one = Once(list(zip(x, y, strict=True)))
    two = DataLoader(Once(list(zip(u, v, strict=True))), batch_size=10)
    result = audit(members=one, nonmembers=two)
    assert (result.members, result.nonmembers) == (300, 300)
    assert result.warnings == ()


def test_an_augmenting_loader_is_warned_of_in_the_audit():
    x, y = audited()[1]
    result = audit(members=DataLoader(Augmented(x, y), batch_size=50, shuffle=True))
    assert any("members: the data give other contents" in warning for warning in result.warnings)
    assert any("members: the loader gives its examples in a random order" in warning for warning in result.warnings)


def test_the_hook_is_gone_and_a_norm_that_has_learnt_nothing_is_passed_over():
    model = untrained()
    assert not any("BatchNorm" in warning for warning in audit(model).warnings)
    model = trained(*sides()[0], epochs=1)
    audit(model)
    assert not any(module._forward_pre_hooks for module in model.modules())


def sound(seed):
    """Evidence of a model that is right about 60 to 100% of its members, and about as many others or fewer."""
    generator = np.random.default_rng(seed)
    classes, members, nonmembers = int(generator.integers(2, 20)), *map(int, generator.integers(60, 400, 2))
    is_member = np.arange(members + nonmembers) < members
    labels = generator.integers(0, classes, len(is_member))
    z = generator.normal(size=(len(is_member), classes))
    z[np.arange(len(labels)), labels] += 3 + generator.random() * 2 + generator.random() * is_member
    return Evidence(Signals.of_logits(z, labels), labels, is_member), z


def answers_of(evidence, z):
    seen = LogitsSeen("members")
    seen.add(torch.from_numpy(z), evidence.labels)
    return seen.warnings()


def without_leak(seed):
    evidence, _ = sound(seed)
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(len(evidence.labels), 20))
    z[np.arange(len(z)), evidence.labels] += 4
    return Evidence(Signals.of_logits(z, evidence.labels), evidence.labels, evidence.members), z


def warned_although_sound(leak, runs):
    """Count sound audits, of answers of a model that leaks or does not, that are warned."""
    warned = 0
    for seed in range(runs):
        evidence, z = sound(seed) if leak else without_leak(seed)
        warned += bool(audit_evidence(evidence, attacks=("threshold",)).warnings or answers_of(evidence, z))
    return warned


@pytest.mark.parametrize("leak", ["no leak", "a leak"])
def test_checks_of_answers_are_calm_on_sound_audits_in_few_runs(leak):
    warned = warned_although_sound(leak == "a leak", 200)
    record("sound audits are not warned", f"simulated, {leak}", 200 - warned, 200, quick=True)
    assert warned <= 2


@pytest.mark.evidence
@pytest.mark.parametrize("leak", ["no leak", "a leak"])
def test_checks_of_answers_are_calm_on_sound_audits(leak):
    warned = warned_although_sound(leak == "a leak", 2_000)
    record("sound audits are not warned", f"simulated, {leak}", 2_000 - warned, 2_000)
    assert warned <= 20


@pytest.mark.evidence
def test_whole_audits_of_sound_models_are_not_warned():
    """200 networks trained on random halves of digits, audited with everything on."""
    warned, unlike = 0, 0
    for seed in range(200):
        members, nonmembers = sides(seed)
        loaders = [DataLoader(TensorDataset(*side), batch_size=64) for side in (members, nonmembers)]
        result = redense.audit(
            trained(*members, seed=seed), members=loaders[0], nonmembers=loaders[1], attacks=("threshold",)
        )
        warned += bool(result.warnings)
        unlike += result.verdict.kind == "not comparable"
    record("sound audits are not warned", "networks on random halves of digits", 200 - warned, 200)
    assert warned <= 2
    assert unlike <= 2
