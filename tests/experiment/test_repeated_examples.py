"""Equal inputs count once in the audits of a run, and its files keep the examples' own numbers."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from factories import arrays

import redense
from redense.attacks import LiRA
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence
from redense.errors import DataError
from redense.experiment import audit as audit_module
from redense.experiment import auditor as auditor_module
from redense.experiment.audit import RunAuditor
from redense.experiment.audit_comparison import compare_audits
from redense.experiment.checkpoints import Store
from redense.experiment.prepare import prepare
from redense.experiment.replicates import replicate_phases
from redense.experiment.resources import Resources
from redense.methods import METHODS
from redense.metrics import auc
from redense.signals import Signals

TRAIN, TEST = 400, 240
LEFT_OUT = [7, 11, TRAIN + 5, TRAIN + 20]
"""A repetition in the training data, an example that is in both, and one in the test data: in the order of all."""
REPEATED = [3, TRAIN + 2]
"""What the repetitions repeat."""


def written(folder, train, test):
    path = folder / "data.npz"
    np.savez(path, x=train[0], y=train[1], x_test=test[0], y_test=test[1])
    return redense.Recipe(
        data=str(path),
        model="factories:small",
        sparsities=(0.5,),
        epochs=(1, 1, 1),
        batch_size=200,
        audit=("lira",),
        references=8,
        protocols=("all", "half"),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repeated")
    (x, y), (x_test, y_test) = arrays(TRAIN, TEST)
    x[7], y[7] = x[3], y[3]
    x_test[5], y_test[5] = x[11], y[11]
    x_test[20] = x_test[2]
    y_test[20] = (y_test[2] + 1) % 3
    recipe = written(folder, (x, y), (x_test, y_test))
    redense.run(recipe, out=folder / "out", workers=0)
    prepared = prepare(recipe, resources=Resources(workers=0))
    families = ("threshold", "lira")
    auditor = RunAuditor(prepared.model_name, prepared.dataset, Store(folder / "out"), prepared.jobs, families)
    return folder / "out", auditor, list(auditor.rows())


def test_equal_inputs_count_once_in_every_audit(run):
    _, auditor, rows = run
    kept = np.delete(np.arange(TRAIN + TEST), LEFT_OUT)
    for row in rows:
        signals = Store(run[0]).load_signals(row.checkpoint)
        evidence = Evidence(signals[kept], auditor.examples.labels[kept], row.members[kept])
        alone = audit_evidence(evidence, protocol=row.protocol, attacks=("threshold",))
        result = row.result
        left_out = row.members[LEFT_OUT]
        assert (result.members, result.nonmembers) == (alone.members, alone.nonmembers)
        assert (result.members_left_out, result.nonmembers_left_out) == (left_out.sum(), (~left_out).sum())
        assert result.attack("gap") == alone.attack("gap")
        shared = auditor.of_phase(row.phase).evidence
        assert shared.included.shape == (8, len(kept))
        scores = LiRA().score(signals.phi[kept], shared.signals.phi, shared.included)
        assert result.attack("LiRA online").auc == auc(scores, row.members[kept])
        assert np.flatnonzero(np.isnan(row.risks)).tolist() == LEFT_OUT
        assert any("repetitions of others (equal inputs)" in warning for warning in result.warnings)
        common = "examples have inputs that are in the training and in the test data (1 of them distinct), and were"
        assert any(common in warning for warning in result.warnings)
        names = np.array(auditor.examples.names)
        assert all(names[one.example] == one.name and one.example not in LEFT_OUT for one in result.exposed)


def test_files_keep_the_numbers_of_examples_and_those_left_out_have_no_risk(run):
    folder, _, rows = run
    with (folder / "risks.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["split"], int(line["index"])) for line in lines] == [
        *(("train", place) for place in range(TRAIN)),
        *(("test", place) for place in range(TEST)),
    ]
    for row in rows:
        risks = [line[f"risk {row.name}"] for line in lines]
        assert [place for place, risk in enumerate(risks) if not risk] == LEFT_OUT
        assert risks[12] == f"{row.risks[12]:.6f}"
    results = [row["result"] for row in json.loads((folder / "audit.json").read_text())["rows"]]
    assert all(result["members_left_out"] + result["nonmembers_left_out"] == 4 for result in results)


def test_phases_are_compared_by_what_counts(run):
    _, _, rows = run
    compared = [one for one in compare_audits(rows, METHODS["dsd"]) if one.quantity == "auc"]
    assert len(compared) == 6
    for one in compared:
        phases = {row.phase: row.result for row in rows if row.protocol == one.protocol}
        first, second = (phases[phase].attack("LiRA online").auc for phase in (one.first, one.second))
        assert one.difference == pytest.approx(second - first, abs=1e-12)


def test_replicates_are_of_what_stands_once(run):
    _, auditor, _ = run
    kept = np.delete(np.arange(TRAIN + TEST), [*LEFT_OUT, *REPEATED])
    for found in replicate_phases(auditor):
        models = [job for job in auditor.of_phase(found.phase).references if job.member_set.index != 1]
        signals = Signals.stack([auditor.store.load_signals(job.key) for job in models])
        included = np.stack([auditor.examples.members(job.member_set) for job in models])[:, kept]
        scores = LiRA().score(signals.phi[0, kept], signals.phi[1:, kept], included[1:])
        assert found.figures["LiRA online"]["auc"][0] == auc(scores, included[0])


def test_answers_to_noisy_queries_are_about_what_counts(run):
    _, auditor, _ = run
    kept = np.delete(np.arange(TRAIN + TEST), LEFT_OUT)
    shared = dataclasses.replace(auditor, attacks=("samia",)).of_phase(auditor.phases[0])
    noisy = shared.evidence.noisy
    assert len(noisy.example) > 1_000
    labels = auditor.examples.labels[kept][noisy.example]
    assert shared.labels.tolist() == auditor.examples.labels[kept].tolist()
    asked = noisy.answers.probabilities[np.arange(len(labels)), labels]
    assert asked == pytest.approx(shared.evidence.signals.confidence[noisy.model, noisy.example], abs=1e-5)
    assert len(set(zip(noisy.model, noisy.example, strict=True))) == len(labels)


def test_audits_that_counted_repetitions_are_made_again(run, monkeypatch):
    folder, auditor, rows = run
    before = {path: path.read_text() for path in (folder / "audit").glob("*.json")}
    monkeypatch.setattr(auditor_module, "FORMAT", 2)
    old = [auditor._key(job, auditor.of_phase(job.phase).references) for job in auditor.finished]
    monkeypatch.undo()
    assert not {folder / "audit" / f"{key}.json" for key in old} & before.keys()
    path = next(path for path in before if not path.name.startswith("replicates"))
    kept = json.loads(before[path])
    path.write_text(json.dumps({**kept, "result": {**kept["result"], "format": 2}}))
    assert [row.result for row in auditor.rows()] == [row.result for row in rows]
    assert path.read_text() == before[path]


def test_halves_of_much_repeated_data_are_refused_before_anything_is_trained(tmp_path):
    (x, y), test = arrays()
    recipe = written(tmp_path, (x.repeat(4, axis=0), y.repeat(4)), test)
    with pytest.raises(DataError, match=r"among the members and among the non-members, more than 1% of \d+"):
        redense.run(recipe, out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_reference_models_know_an_example_if_they_saw_any_copy_and_replicates_are_of_what_stands_once(tmp_path):
    (x, y), test = arrays()
    x, y = np.concatenate([x.repeat(4, axis=0), 1 - x[:20]]), np.concatenate([y.repeat(4), y[:20]])
    recipe = written(tmp_path, (x, y), test)
    changes = {"protocols": ("all",), "audit": ("rmia",), "references": 2}
    recipe = dataclasses.replace(recipe, **changes)
    redense.run(recipe, out=tmp_path / "out", workers=0)
    for row in json.loads((tmp_path / "out/audit.json").read_text())["rows"]:
        result = row["result"]
        assert (result["members"], result["members_left_out"], result["nonmembers_left_out"]) == (116, 288, 0)
    auditor = audit_module._auditor(prepare(recipe), Store(tmp_path / "out"), ("rmia",))
    shared = auditor.of_phase(auditor.phases[0])
    drawn = np.stack([auditor.examples.members(job.member_set) for job in shared.references])
    any_copy = drawn[:, :384].reshape(2, 96, 4).any(2)
    assert np.array_equal(shared.evidence.included[:, :96], any_copy)
    assert any_copy.all(0).sum() > 50, "both models of a pair have seen most examples"
    once, labels = shared.halved
    assert len(labels) == once.included.shape[1] == 20 + len(test[1])
    assert (once.included.sum(0) == 1).all(), "one of a pair has seen what stands once"
