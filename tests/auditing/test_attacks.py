import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calling import call

import redense
from redense.attacks import SAMIA, ShadowClassifier
from redense.attacks.samia import tokens
from redense.auditing.answers import noisy_pairs
from redense.auditing.attacks import (
    ATTACKS,
    FAMILIES,
    FURTHER_FAMILIES,
    PICTURED,
    PLAIN_FAMILIES,
    PRIMARY,
    Learnt,
    possible_attacks,
    queried,
)
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence, NoisyAnswers, References, SampledAnswers
from redense.auditing.page import _calibrated, attacks_explained
from redense.auditing.settings import AuditSettings
from redense.errors import DataError
from redense.signals import Signals

SOURCE = Path(redense.__file__).parent
NAMES = [attack.name for attack in ATTACKS]
THRESHOLDS = ["confidence", "loss", "entropy", "modified entropy"]
PER_CLASS = [f"{name}, per class" for name in THRESHOLDS]
PUBLISHED = [
    *("gap", *THRESHOLDS, *PER_CLASS, "label-only", "shadow classifier", "SAMIA"),
    *("RMIA offline", "RMIA online", "LiRA offline", "LiRA online"),
]
"""The attacks of docs/results in their order; others may stand among them."""


def world(n=400, m=4, classes=3, seed=0):
    """Evidence of every kind: logits, reference models on complementary halves, augmented and noisy queries."""
    generator = np.random.default_rng(seed)
    labels, members = generator.integers(0, classes, n), np.arange(n) < n // 2
    first = generator.random((m // 2, n)) < 0.5
    included = np.concatenate([first, ~first])

    def logits(inside):
        z = generator.normal(size=(n, classes))
        z[np.arange(n), labels] += 2 * inside
        return z

    def noisy(z):
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return NoisyAnswers(p, p * (1 - p))

    own, others = logits(members), [logits(inside) for inside in included]
    model, example = noisy_pairs(included)
    answers = [noisy(z[example[model == number]]) for number, z in enumerate(others)]
    return Evidence(
        Signals.of_logits(own, labels),
        labels,
        members,
        References(
            Signals.stack([Signals.of_logits(z, labels) for z in others]),
            included,
            SampledAnswers(model, example, NoisyAnswers.join(answers)),
        ),
        augmented=generator.random((n, 5)) < 0.7,
        noisy=noisy(own),
    )


def published(names):
    return [name for name in names if name in PUBLISHED]


def made(evidence):
    return published(attack.name for attack in possible_attacks(FAMILIES, evidence))


def test_the_order_and_the_ranks_of_published_results():
    """Another order or rank changes which attack risks rest on, and the pictures."""
    assert published(NAMES) == PUBLISHED
    assert PRIMARY == ("LiRA online", "RMIA online", "confidence")
    first = ["LiRA online", "RMIA online", "shadow classifier", "SAMIA", "confidence, per class", "confidence", "gap"]
    assert published(PICTURED) == first
    assert {"label-only", "shadow", "samia", "rmia", "lira"} <= set(FURTHER_FAMILIES)
    assert "threshold" in PLAIN_FAMILIES
    assert {*PLAIN_FAMILIES, *FURTHER_FAMILIES} == set(FAMILIES)


def test_names_and_ranks_are_given_once():
    assert len(set(NAMES)) == len(NAMES)
    for ranks in ([attack.primary for attack in ATTACKS], [attack.pictured for attack in ATTACKS]):
        given = sorted(rank for rank in ranks if rank is not None)
        assert given == list(range(1, len(given) + 1))


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ({}, []),
        ({"phi_only": True}, ["gap", *THRESHOLDS[2:], *PER_CLASS[2:], "shadow classifier"]),
        ({"labels": np.zeros(400, dtype=int)}, PER_CLASS),
        ({"references": None}, PUBLISHED[10:]),
        ({"augmented": None}, ["label-only"]),
        ({"noisy": None}, ["SAMIA"]),
    ],
    ids="-".join,
)
def test_attacks_that_lack_what_they_need_are_left_out(change, lacking):
    assert made(replace(world(), **change)) == [name for name in PUBLISHED if name not in lacking]


def test_reference_models_that_were_not_asked_noisy_queries_teach_nothing_about_them():
    evidence = world()
    assert "SAMIA" not in made(replace(evidence, references=replace(evidence.references, noisy=None)))


def test_models_are_asked_what_is_needed_and_no_more():
    assert queried(FAMILIES, "augmented", references=False)
    assert not queried(("lira", "samia"), "augmented", references=True)
    assert queried(("samia",), "noisy", references=True)
    assert not queried(("samia",), "noisy", references=False), "it cannot be made without reference models"


def test_every_attack_scores_every_example_and_decides_where_it_says():
    evidence = world()
    learnt = Learnt(evidence.references, evidence.labels)
    deciding = []
    for attack in ATTACKS:
        scores = attack.scores(evidence, learnt.of(attack), AuditSettings())
        assert (scores.shape, scores.dtype) == ((400,), np.float64), attack.name
        if attack.decides(evidence):
            deciding.append(attack.name)
            assert np.mean((scores >= 0) == evidence.members) > 0.55, attack.name
    assert published(deciding) == ["gap", *THRESHOLDS, *PER_CLASS, "shadow classifier", "SAMIA"]
    alone = replace(evidence, references=None)
    plain = possible_attacks(PLAIN_FAMILIES, alone)
    assert published(attack.name for attack in plain if attack.decides(alone)) == ["gap", *PER_CLASS]


def test_pages_explain_the_attacks_that_were_made_and_no_others():
    for attack in ATTACKS:
        assert attack.says, attack.name
        assert attacks_explained([attack.name]) == [f"{attack.name}: {attack.says}"]
        (*_, told) = ["", *_calibrated([attack.name])]
        assert (f", {attack.name} tell what is easy from" in told) == attack.calibrated
    every = "\n".join(attacks_explained(NAMES))
    assert all(attack.name in every and attack.says in every for attack in ATTACKS)


def test_noisy_answers_reach_the_attack_that_learns_from_them():
    evidence = world()
    attack = ATTACKS[NAMES.index("SAMIA")]
    found = attack.score(evidence, Learnt(evidence.references, evidence.labels).of(attack))
    asked = evidence.references.noisy
    answers = tokens(asked.answers.probabilities, asked.answers.sensitivities, evidence.labels[asked.example])
    own = tokens(evidence.noisy.probabilities, evidence.noisy.sensitivities, evidence.labels)
    assert (found == SAMIA().score(own, answers, evidence.references.included[asked.model, asked.example])).all()


def test_attacks_learn_once_for_all_targets(monkeypatch):
    times = []
    fit = ShadowClassifier.fit
    monkeypatch.setattr(ShadowClassifier, "fit", lambda *arguments: times.append(1) or fit(*arguments))
    evidence = world()
    second = replace(
        evidence, target=Signals.of_logits(np.random.default_rng(1).normal(size=(400, 3)), evidence.labels)
    )
    learnt = Learnt(evidence.references, evidence.labels)
    results = [audit_evidence(one, attacks=("shadow",), learnt=learnt) for one in (evidence, second)]
    assert len(times) == 1
    assert results == [audit_evidence(one, attacks=("shadow",)) for one in (evidence, second)]
    assert len(times) == 3


def test_what_was_learnt_from_other_reference_models_is_refused():
    with pytest.raises(DataError, match="got what was learnt from other reference models"):
        audit_evidence(world(), learnt=Learnt(world(seed=1).references, world().labels))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: replace(e, augmented=np.ones((3, 5), dtype=bool)), r"augmented: got \(3, 5\); expected \(400, "),
        (lambda e: replace(e, noisy=NoisyAnswers(np.ones((3, 2)), np.ones((3, 2)))), r"noisy: got \(3, 2\); expected"),
        (lambda e: NoisyAnswers(np.ones((3, 2)), np.ones((3, 3))), r"sensitivities \(3, 3\); expected \[examples"),
        (lambda e: replace(e.references.noisy, model=np.zeros(1, dtype=int)), r"of models \(1,\) about examples"),
    ],
)
def test_answers_about_other_examples_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        change(world())


def test_the_sample_of_noisy_queries_is_of_both_sides():
    included = np.random.default_rng(0).random((3, 50)) < 0.5
    model, example = noisy_pairs(included)
    assert 0 < included[model, example].mean() < 1
    assert (np.diff(50 * model + example) > 0).all(), "a model's examples are ascending, and asked about together"


def strings(path):
    """The strings of a module that are not docstrings."""
    tree = ast.parse(path.read_text())
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    documented = {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documented)
    return [node.value for node in constants if isinstance(node.value, str)]


def test_no_other_module_names_an_attack():
    """Ordinary words that are names of attacks, too, may stand within sentences, and where they name something else."""
    ordinary = {"threshold", "confidence", "loss", "entropy", "gap"}
    elsewhere = {
        "threshold": {"attack_result.py", "result.py", "words.py"},
        "loss": {"saved.py", "inline.py", "local.py", "ray.py"},
    }
    elsewhere["loss"] |= {"vectorized.py", "phase_training.py"}
    told = "|".join(re.escape(name) for name in {*NAMES, *FAMILIES} - ordinary)
    found = []
    for path in SOURCE.rglob("*.py"):
        if path.is_relative_to(SOURCE / "attacks") or path == SOURCE / "auditing" / "attacks.py":
            continue
        for text in strings(path):
            if re.search(rf"(?<![\w-])({told})(?![\w-])", text):
                found.append((path.name, text))
            if text in ordinary and path.name not in elsewhere.get(text, ()):
                found.append((path.name, text))
    assert found == []


def test_the_guide_has_all_attacks():
    ranked = (SOURCE.parents[1] / "docs" / "audit.md").read_text()
    head = "| attack | asked for as | needs | source |\n| --- | --- | --- | --- |\n"
    lines = [line.strip("| ").split(" | ") for line in ranked.split(head)[1].split("\n\n")[0].splitlines()]
    assert list(dict.fromkeys(cells[1].strip("`") for cells in lines)) == list(FAMILIES)
    for attack in ATTACKS:
        one_a_class = attack.name.removesuffix(", per class")
        words = [one_a_class, one_a_class.split()[0]] if attack.family in ("rmia", "lira") else [one_a_class]
        assert any(word in cells[0] and attack.family in cells[1] for cells in lines for word in words), attack.name


def test_the_table_is_light_to_import():
    check = "import sys, redense.auditing.settings; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


@pytest.mark.parametrize("command", ["run", "audit"])
def test_help_lists_the_families(command, capsys):
    status, output, _ = call([command, "--help"], capsys)
    assert status == 0
    printed = " ".join(output.replace("│", " ").split())
    assert ", ".join(FURTHER_FAMILIES if command == "run" else FAMILIES) in printed
