import dataclasses
import json
import os
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from auditing.models import CODES, Lookup, leaky, numbered, numbers, with_references
from claims.noise import noise
from factories import tensors
from pages import charts
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import redense
from redense.attacks import LiRA
from redense.auditing.attacks import ATTACKS, FAMILIES
from redense.auditing.audit import audit_evidence, check_coins
from redense.auditing.evidence import Evidence, References
from redense.auditing.result import AuditResult
from redense.errors import DataError, ModelError, RecipeError
from redense.metrics import auc, one_run_epsilon_of_scores
from redense.metrics.paired import shares_below
from redense.signals import Signals, flip, image_queries, shift


def figures(result):
    return list(result.attacks)


def test_a_leak_is_found_and_said_in_a_sentence():
    model, members, nonmembers = leaky()
    result = redense.audit(model, members=members, nonmembers=nonmembers)
    assert result.verdict.kind == "leak"
    assert "gives away who was in its training data" in result.verdict.sentence
    assert (result.members, result.nonmembers, result.references) == (120, 120, 0)
    assert result.attack("confidence").auc_interval[0] > 0.8


def test_data_sets_loaders_and_arrays_give_the_same():
    model, members, nonmembers = leaky()
    forms = [
        (members, nonmembers),
        (tensors(*members), tensors(*nonmembers)),
        (DataLoader(tensors(*members), batch_size=7), DataLoader(tensors(*nonmembers), batch_size=64)),
        tuple(tuple(torch.from_numpy(part) for part in side) for side in (members, nonmembers)),
        tuple([{"x": x, "labels": int(y)} for x, y in zip(*side, strict=True)] for side in (members, nonmembers)),
    ]
    results = [redense.audit(model, members=a, nonmembers=b) for a, b in forms]
    for other in results[1:]:
        assert figures(other) == figures(results[0])


class Bag(nn.Module):
    """A text classifier called with keywords, which answers like those of transformers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(50, 4)

    def forward(self, input_ids, attention_mask):
        assert attention_mask.dtype == torch.int64
        return type("Output", (), {"logits": self.embedding(input_ids)})()


def test_text_in_mappings_is_audited():
    torch.manual_seed(0)
    texts = [
        {
            "input_ids": torch.randint(0, 50, (6,)),
            "attention_mask": torch.ones(6, dtype=torch.int64),
            "labels": torch.tensor(i % 4),
        }
        for i in range(120)
    ]
    result = redense.audit(Bag(), members=DataLoader(texts[:60], batch_size=16), nonmembers=texts[60:])
    assert (result.members, result.nonmembers) == (60, 60)
    assert 0.3 < result.attack("confidence").auc < 0.7


def test_reference_models_add_their_attacks():
    model, members, nonmembers, references, included = with_references()
    result = redense.audit(model, members=members, nonmembers=nonmembers, references=references, included=included)
    names = [measured.attack for measured in result.attacks]
    assert names[-6:] == ["shadow classifier", "SAMIA", "RMIA offline", "RMIA online", "LiRA offline", "LiRA online"]
    assert result.primary == "LiRA online"
    # difficulty hides membership from a threshold, not from an attack that knows how difficult an example is
    assert result.attack("LiRA online").auc > result.attack("confidence").auc + 0.1
    chosen = redense.audit(
        model, members=members, nonmembers=nonmembers, references=references, included=included, attacks=("lira",)
    )
    assert [measured.attack for measured in chosen.attacks] == ["LiRA offline", "LiRA online"]
    assert chosen.attacks[-1] == result.attacks[-1]


def test_images_are_asked_about_flipped_and_shifted():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, y = torch.rand(120, 1, 4, 4), torch.randint(0, 3, (120,))
    result = redense.audit(model, members=(x[:60], y[:60]), nonmembers=(x[60:], y[60:]), queries=image_queries())
    changed = [x, *(torch.roll(x, step, dim) for step, dim in ((1, 2), (-1, 2), (1, 3), (-1, 3)))]
    changed[1][:, :, 0] = changed[2][:, :, -1] = changed[3][..., 0] = changed[4][..., -1] = 0
    changed += [image.flip(3) for image in changed]
    with torch.no_grad():
        scores = torch.stack([model(image).argmax(1) == y for image in changed]).float().mean(0).numpy()
    assert result.attack("label-only").auc == pytest.approx(auc(scores, np.arange(120) < 60))


def test_shifts_and_flips_undo_each_other_inside():
    x = torch.rand(2, 1, 5, 5)
    assert torch.equal(flip(flip(x)), x)
    assert torch.equal(shift(-1, 2)(shift(1, -2)(x))[:, :, :4, 2:], x[:, :, :4, 2:])


def test_a_model_in_training_mode_is_evaluated_and_left_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, 3))
    model.train()
    model[1].eval()  # a frozen layer stays frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, members, nonmembers = leaky()
    first = redense.audit(model, members=members, nonmembers=nonmembers)
    second = redense.audit(model, members=members, nonmembers=nonmembers)
    assert first == second, "dropout should be off"
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_mode_comes_back_after_an_error_too():
    model = nn.Linear(2, 3).train()
    with pytest.raises(DataError, match="has the label 5"):
        redense.audit(model, members=(np.zeros((4, 2), np.float32), np.full(4, 5)), nonmembers=numbered(0, 4))
    assert model.training


@pytest.mark.parametrize("tiny", [False, True])
def test_few_examples_get_intervals_and_no_verdict(tiny):
    model, members, nonmembers = leaky(n=49 if not tiny else 1)
    result = redense.audit(model, members=members, nonmembers=nonmembers)
    assert result.verdict.kind == "too few"
    assert "at least 50 of each" in result.verdict.sentence
    assert all(low <= high for low, high in (measured.auc_interval for measured in result.attacks))


def test_rates_that_the_sample_does_not_allow_are_refused_with_the_reason():
    model, members, nonmembers = leaky(n=1000)
    result = redense.audit(model, members=members, nonmembers=nonmembers)
    rates = {rate.fpr: rate for rate in result.attack("confidence").rates}
    assert rates[0.01].point is not None
    assert rates[0.01].point.fpr <= 0.01
    assert rates[0.001].point is None
    assert rates[0.001].refusal == "needs 10,000 non-members, got 1,000"
    assert "TPR at 0.1% FPR: - (needs 10,000 non-members, got 1,000)" in str(result)


def test_a_result_survives_json_and_shows_in_all_forms(tmp_path):
    model, members, nonmembers, references, included = with_references()
    result = redense.audit(model, members=members, nonmembers=nonmembers, references=references, included=included)
    assert AuditResult.from_json(result.to_json()) == result
    made = {one.attack for one in result.attacks}
    assert [one.attack for one in result.attacks] == [one.name for one in ATTACKS if one.name in made]
    lines = result.to_csv().splitlines()
    assert len(lines) == 1 + len(result.attacks)
    assert lines[0].startswith("attack,auc,auc_low,auc_high,accuracy")
    for write, name in ((result.to_json, "audit.json"), (result.to_csv, "audit.csv")):
        assert write(tmp_path / name) == write() == (tmp_path / name).read_text()
    result.to_html(tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text()
    assert "\\xa0" not in page
    assert "&lt;&nbsp;.001" in page
    assert result.verdict.sentence.split("'")[0] in page
    assert "LiRA online" in page
    assert "Content-Security-Policy" in page
    assert [one["name"] for one in charts(page)["roc"]["views"][0]["series"]][-1] == "guessing"
    result.save_figure(tmp_path / "roc.png")
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(KeyError, match="not in this audit"):
        result.attack("magic")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.members = 3


def test_a_result_of_another_format_is_refused():
    model, members, nonmembers = leaky()
    written = json.loads(redense.audit(model, members=members, nonmembers=nonmembers).to_json())
    without = {name: value for name, value in written.items() if name != "format"}
    for other, message in (
        ({**written, "format": 99}, "got format 99; expected 3; use the version of redense that wrote it"),
        ({**written, "format": 0}, "got format 0; expected 3; audit again"),
        (without, "format is missing.; audit again"),
        (
            {"format": 3, "rows": [written]},
            "got the audits of a run, .*the result of one of its rows; `redense audit RUN` prints",
        ),
    ):
        with pytest.raises(DataError, match=message):
            AuditResult.from_json(json.dumps(other))


def test_json_has_no_number_that_is_none():
    model, members, nonmembers = leaky()
    text = redense.audit(model, members=members, nonmembers=nonmembers).to_json()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["members"] == 120


def test_every_examples_risk():
    model, members, nonmembers = leaky()
    result = redense.audit(model, members=members, nonmembers=nonmembers)
    sureness = model.sureness.numpy()
    for example, risk in enumerate(result.risks):
        assert risk == pytest.approx((sureness[120:] < sureness[example]).mean() + (example >= 120) / 240)
    assert result.exposed == (), "without reference models the easiest examples would be named"
    assert "none are named, because confidence ranks easy examples highest" in str(result)
    assert [(risk.label, risk.members, risk.nonmembers) for risk in result.classes] == [(c, 40, 40) for c in range(3)]
    of_class = np.arange(240) % 3 == 1
    assert result.classes[1].auc == pytest.approx(auc(sureness[of_class], (np.arange(240) < 120)[of_class]))


def test_the_most_exposed_are_chosen_by_an_attack_that_knows_how_difficult_examples_are(tmp_path):
    model, members, nonmembers, references, included = with_references()
    given = {"members": members, "nonmembers": nonmembers, "references": references, "included": included}
    result = redense.audit(model, **given)
    scores = LiRA(variance="shrunk").score(
        model.sureness.numpy().astype(np.float64),
        np.stack([reference.sureness.numpy() for reference in references]).astype(np.float64),
        included,
    )
    assert [one.example for one in result.exposed] == np.argsort(-scores[:120])[:20].tolist()
    assert [one.risk for one in result.exposed] == sorted(result.risks[:120], reverse=True)[:20]
    assert all(one.label == one.example % 3 and one.name == str(one.example) for one in result.exposed)
    named = redense.audit(model, **given, names=[f"person {number}" for number in range(240)])
    assert [one.name for one in named.exposed] == [f"person {one.example}" for one in result.exposed]
    first = named.exposed[0]
    chosen = "(the attack that was chosen beforehand; 8 of 20)"
    line = f"Most exposed members by LiRA online {chosen}: {first.name} (class {first.label})"
    assert line in " ".join(str(named).split())
    named.to_html(tmp_path / "audit.html")
    assert all(f"{one.name} <small>" in (tmp_path / "audit.html").read_text() for one in named.exposed)
    with pytest.raises(DataError, match="names: got 3; expected 240"):
        redense.audit(model, **given, names=["a", "b", "c"])


def test_nobody_is_exposed_where_no_leak_is_shown():
    model, members, nonmembers, references, included = with_references(shift=0.0)
    result = redense.audit(model, members=members, nonmembers=nonmembers, references=references, included=included)
    assert result.verdict.kind == "none shown"
    assert result.exposed == ()
    assert "none are named, because no leak is shown" in str(result)


def test_images_in_folders_keep_their_files_names(tmp_path):
    sides = {}
    for side, count in (("in", 60), ("out", 60)):
        for number in range(count):
            folder = tmp_path / side / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.full((4, 4, 3), 2 * number + (side == "out"), np.uint8)
            Image.fromarray(pixels).save(folder / f"{side}{number}.png")
        sides[side] = str(tmp_path / side)
    generator = np.random.default_rng(0)
    first = generator.random((4, 120)) < 0.5
    included = np.concatenate([first, ~first])

    def model(inside):
        table = np.zeros(256)
        for place, surer in enumerate(inside):  # folders are read class by class, in the order of their files' names
            table[order[place]] = generator.normal() + 4 * surer
        return Broken(lambda x: _by_pixel(x, table))

    def _by_pixel(x, table):
        pixel = (255 * x[:, 0, 0, 0]).round().long()
        own = torch.from_numpy(table)[pixel].float()
        label = (pixel // 2) % 2
        return torch.stack([own * (label == 0), own * (label == 1)], dim=1)

    order = [
        2 * number + (side == "out")
        for side in ("in", "out")
        for parity in (0, 1)
        for number in sorted(range(parity, 60, 2), key=lambda number: f"{number}.png")
    ]
    result = redense.audit(
        model(np.arange(120) < 60),
        members=sides["in"],
        nonmembers=sides["out"],
        references=[model(inside) for inside in included],
        included=included,
    )
    assert result.verdict.kind == "leak"
    numbers = [order[one.example] // 2 for one in result.exposed]
    assert [one.name for one in result.exposed] == [os.path.join("ab"[n % 2], f"in{n}.png") for n in numbers]


def test_risks_count_equal_scores_half():
    assert shares_below(np.zeros(4), np.array([True, False, False, False])).tolist() == [0.5] * 4


def test_overlap_of_more_than_a_hundredth_is_an_error():
    model, members, _ = leaky(n=200)
    with pytest.raises(DataError, match="3 inputs are among the members and among the non-members"):
        redense.audit(model, members=members, nonmembers=numbered(197, 200))


def test_a_little_overlap_and_repetitions_are_warnings_that_say_what_to_do():
    model, (x, y), _ = leaky(n=200)
    x[1], y[1] = x[0], y[0]
    others, theirs = numbered(199, 200)
    others[7], theirs[7] = others[8], theirs[8]
    result = redense.audit(model, members=(x, y), nonmembers=(others, theirs))
    again = (
        "repetitions of others (equal inputs), and were left out: the model says the same of them, and to count them "
        "as further cases is to find leaks by chance; all figures are of distinct examples; give each once, and look "
        "where copies come from, such as oversampling or drawing with replacement"
    )
    assert result.warnings == (
        "2 examples have inputs that are among the members and among the non-members (1 of them distinct), and were "
        "left out: what was trained on is no non-member; take them out of one side",
        f"1 of 200 members are {again}",
        f"1 of 200 non-members are {again}",
    )
    assert "Warning: 2 examples have inputs that are among" in str(result)


@pytest.mark.parametrize("members_as", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("nonmembers_as", [torch.float64, torch.int32])
def test_how_examples_are_stored_changes_neither_overlap_nor_what_inputs_tell(members_as, nonmembers_as):
    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(0, 50, (400, 8), generator=generator).float()
    labels = torch.randint(0, 3, (400,), generator=generator)
    model = nn.Linear(8, 3)
    sides = (whole[:200].to(members_as), labels[:200]), (whole[200:].to(nonmembers_as), labels[200:])
    plain = redense.audit(model, members=(whole[:200], labels[:200]), nonmembers=(whole[200:], labels[200:]))
    assert redense.audit(model, members=sides[0], nonmembers=sides[1]).to_json() == plain.to_json()
    with pytest.raises(DataError, match="200 inputs are among the members and among the non-members"):
        redense.audit(model, members=sides[0], nonmembers=(whole[:200].to(nonmembers_as), labels[:200]))


class Broken(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def nan_for_seven(x):
    z = torch.zeros(len(x), 3)
    z[numbers(x) == 7] = torch.nan
    return z


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (nan_for_seven, DataError, r"members: the model: phi is NaN or infinite for 1 of 60 examples \(first: 7\)"),
        (lambda x: torch.zeros(len(x), 3, 1), ModelError, r"the model's output is \(60, 3, 1\); expected logits"),
        (lambda x: torch.zeros(len(x), 0), ModelError, "or one logit an example for two classes"),
        (lambda x: torch.zeros(len(x)), DataError, "example 2 has the label 2, and the model knows 2 classes"),
        (lambda x: "yes", ModelError, "the model's output is str"),
        (lambda x: torch.zeros(len(x), 3).long(), ModelError, "of torch.int64 .*; expected logits, floating-point"),
        (lambda x: torch.zeros(len(x), 3) * 1j, ModelError, "of torch.complex64 .*; expected logits, floating-point"),
        (lambda x: torch.zeros(len(x), 3).to_sparse(), ModelError, "; expected logits, floating-point numbers"),
        (lambda x: torch.zeros(len(x), 3, device="meta"), ModelError, "; expected logits, floating-point numbers"),
        (lambda x: sys.exit(0), ModelError, "the model raised SystemExit: 0"),
        (
            lambda x: x @ torch.zeros(5, 3),
            ModelError,
            r"raised RuntimeError: .*tensor of torch.float32 \[60, 2\] as inputs",
        ),
        (lambda x: torch.zeros(len(x) - 1, 3), DataError, "gives 59 answers to 60 examples"),
        (lambda x: torch.zeros(len(x), 2), DataError, "example 2 has the label 2, and the model knows 2 classes"),
    ],
)
def test_unusable_answers_are_errors(answer, error, message):
    with pytest.raises(error, match=message):
        redense.audit(Broken(answer), members=numbered(0, 60), nonmembers=numbered(60, 60))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"members": (np.zeros((0, 2), np.float32), np.zeros(0, int))}, DataError, "members: got no examples"),
        ({"nonmembers": []}, DataError, "nonmembers: got no examples"),
        ({"members": (np.zeros((4, 2), np.float32), np.zeros(3, int))}, DataError, "4 inputs and 3 labels"),
        ({"members": (np.zeros((4, 2), np.float32), np.zeros(4))}, DataError, "expected one integer class an example"),
        ({"members": 5}, DataError, "got int; expected a data set, a loader of batches, or arrays"),
        ({"members": [{"x": 1.0}]}, DataError, "batches hold x; expected labels under"),
        ({"members": [1.0, 2.0]}, DataError, "got batches of Tensor"),
        ({"references": [nn.Linear(2, 3)]}, DataError, "included: got none"),
        ({"included": np.zeros((1, 240), bool)}, DataError, "got some, but no references"),
        (
            {"references": [nn.Linear(2, 3)] * 2, "included": np.zeros((2, 239), bool)},
            DataError,
            r"got membership \(2, 239\)",
        ),
        (
            {"references": [nn.Linear(2, 3)] * 2, "included": np.ones((2, 240), int)},
            DataError,
            "included: got an array of int64 .2, 240.; expected bool",
        ),
        ({"attacks": ("lyra",)}, RecipeError, "did you mean 'lira'"),
        ({"attacks": ("lira",)}, RecipeError, "none of lira can be made with what is given; add threshold.*, or"),
        ({"queries": image_queries()}, DataError, "the inputs are no images"),
    ],
)
def test_unusable_input_is_one_clear_error(change, error, message):
    model, members, nonmembers = leaky()
    with pytest.raises(error, match=message):
        redense.audit(model, **{"members": members, "nonmembers": nonmembers, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": np.ones(4, dtype=bool)}, "got no non-members"),
        ({"members": np.zeros(4, dtype=bool)}, "got no members"),
        ({"members": np.arange(4)}, "expected bool"),
        ({"labels": np.zeros(3, dtype=int)}, r"labels: got \(3,\)"),
        ({"labels": np.array([0, 0, -1, 0])}, "got -1; expected classes from 0"),
    ],
)
def test_unusable_evidence_is_one_clear_error(change, message):
    usual = {"target": Signals.of_phi(np.zeros(4)), "labels": np.zeros(4, dtype=int), "members": np.arange(4) < 2}
    with pytest.raises(DataError, match=message):
        Evidence(**{**usual, **change})


def test_references_about_other_examples_are_refused():
    signals = Signals.stack([Signals.of_phi(np.zeros(3))] * 2)
    references = References(signals, np.array([[True] * 3, [False] * 3]))
    with pytest.raises(DataError, match="got 3 examples; expected 4"):
        Evidence(Signals.of_phi(np.zeros(4)), np.zeros(4, dtype=int), np.arange(4) < 2, references)


def test_losses_alone_get_the_attacks_that_need_no_more():
    phi = np.random.default_rng(0).normal(size=300) + 2 * (np.arange(300) < 150)
    evidence = Evidence(
        Signals.of_loss(np.logaddexp(0, -phi)), np.zeros(300, dtype=int), np.arange(300) < 150, phi_only=True
    )
    result = audit_evidence(evidence)
    assert [measured.attack for measured in result.attacks] == ["confidence", "loss"]
    assert result.attacks[0].auc == pytest.approx(auc(phi, np.arange(300) < 150))


def coins(n=2000, shift=3.0):
    generator = np.random.default_rng(0)
    members = generator.random(n) < 0.5
    signals = Signals.of_phi(generator.normal(size=n) + shift * members)
    return Evidence(signals, np.zeros(n, dtype=int), members, phi_only=True)


@pytest.mark.parametrize("protocol", ["given", "all", "half"])
def test_one_training_proves_an_epsilon_only_where_membership_was_a_coin_toss(protocol):
    plain = audit_evidence(coins(), protocol=protocol)
    assert [attack.epsilon for attack in plain.attacks] == [None, None]
    assert "ε: -, not measured, which does not mean zero: one training proves" in str(plain)
    assert [line.split()[-1] for line in str(plain).splitlines() if line.startswith(("confidence", "loss"))] == [
        "-",
        "-",
    ]
    assert AuditResult.from_json(plain.to_json()) == plain
    result = audit_evidence(coins(), protocol=protocol, randomized=True)
    members = coins().members
    bound = one_run_epsilon_of_scores(coins().target.phi, members)
    assert [attack.epsilon for attack in result.attacks] == [bound, None], "of the attack chosen beforehand alone"
    assert bound > 1
    assert f"{bound:.2f}" in str(result)
    assert audit_evidence(coins(), randomized=True, delta=1e-3).attack("confidence").epsilon < bound


def test_the_attack_that_proves_an_epsilon_does_not_know_who_is_a_member():
    """A threshold learnt on the other half of the examples does: such an attack is never the primary one."""
    evidence = noise(0, 100, 100, 0)
    for size in range(1, len(FAMILIES) + 1):
        for families in combinations(FAMILIES, size):
            if {"threshold", "label-only"} & set(families):
                primary = audit_evidence(evidence, attacks=families).primary
                assert primary in ("confidence", "label-only")


def test_coins_that_cannot_have_been_fair_are_an_error():
    model, members, nonmembers = leaky(n=300)
    few = tuple(part[:100] for part in nonmembers)
    with pytest.raises(DataError, match="randomized: got 300 members and 100 non-members; fair coins"):
        redense.audit(model, members=members, nonmembers=few, randomized=True)
    assert (
        redense.audit(model, members=members, nonmembers=nonmembers, randomized=True).attack("confidence").epsilon > 0
    )


def test_fair_coins_are_hardly_ever_refused():
    members = np.random.default_rng(0).binomial(500, 0.5, size=20_000)
    refused = 0
    for number, times in zip(*np.unique(members, return_counts=True), strict=True):
        try:
            check_coins(int(number), 500 - int(number))
        except DataError:
            refused += times
    assert refused <= 8  # of 2 that are expected


def test_counts_of_in_models_that_tell_prove_no_epsilon():
    """Reference sets that were balanced with the target counted in give membership away without any model."""
    generator = np.random.default_rng(0)
    included = generator.random((8, 2000)).argsort(axis=0) < 4
    members, included = included[0], included[1:]
    signals = [Signals.of_phi(generator.normal(size=2000)) for _ in range(8)]
    references = References(Signals.stack(signals[1:]), included)
    evidence = Evidence(signals[0], np.zeros(2000, dtype=int), members, references, phi_only=True)
    result = audit_evidence(evidence, attacks=("threshold", "lira"), randomized=True)
    assert "counts give membership away" in " ".join(str(result).split())
    assert not any(one.attack.startswith("LiRA") or one.epsilon is not None for one in result.attacks)


@pytest.mark.parametrize("confidence", [95, 0, -1, 1.0])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(RecipeError, match="confidence: got"):
        audit_evidence(coins(), confidence=confidence)


def test_pixels_of_bytes_are_scaled():
    model = Broken(lambda x: torch.stack([x.flatten(1).sum(1), torch.zeros(len(x))], dim=1))
    x = np.random.default_rng(0).integers(0, 256, (100, 1, 2, 2), dtype=np.uint8)
    y = np.zeros(100, dtype=int)
    plain = redense.audit(model, members=(x[:50], y[:50]), nonmembers=(x[50:], y[50:]))
    scaled = (x / 255).astype(np.float32)
    assert figures(plain) == figures(
        redense.audit(model, members=(scaled[:50], y[:50]), nonmembers=(scaled[50:], y[50:]))
    )


def test_the_lookup_model_is_what_the_tests_say():
    assert Lookup([5.0, 1.0])(torch.tensor([[float(CODES[1]), 0.0]])).tolist() == [[0.0, 1.0, 0.0]]
