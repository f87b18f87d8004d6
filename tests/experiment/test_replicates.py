import csv
import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from consoles import printed
from rich.console import Console

import redense
from redense.auditing.attacks import ATTACKS
from redense.auditing.evidence import References
from redense.auditing.replicates import replicate
from redense.errors import FolderError
from redense.experiment.audit import RunAuditor, audit_run
from redense.experiment.checkpoints import Store
from redense.experiment.comparison import over_seeds
from redense.experiment.family import corrected
from redense.experiment.folder import Trust
from redense.experiment.prepare import prepare
from redense.experiment.replicates import (
    PhaseReplicates,
    _found,
    _Kept,
    compare_replicates,
    means_of,
    replicate_phases,
)
from redense.experiment.report.replicates import replicates_summary
from redense.experiment.resources import Resources
from redense.files.kept import read_kept, write_kept
from redense.methods import METHODS
from redense.metrics.jackknife import pair_jackknife
from redense.phases import Phase
from redense.signals import Signals
from redense.text import p_text

pytestmark = pytest.mark.xdist_group("replicates")  # `out` is trained once

RECIPE = redense.Recipe(
    data="factories:data",
    model="factories:small",
    sparsities=(0.5,),
    epochs=(1, 1, 1),
    audit=("lira", "shadow"),
    references=8,
    protocols=("all", "half"),
)
DENSE, SPARSE = Phase("dense", 1, 1.0, None, 0), Phase("sparse", 1, 1.0, 0.5, 1)
REDENSE = Phase("redense", 1, 0.1, 0.5, 1)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicates") / "out"
    redense.run(RECIPE, out=folder, workers=0)
    return folder


def auditor_of(folder, references=8):
    prepared = prepare(dataclasses.replace(RECIPE, references=references), resources=Resources(workers=0))
    return RunAuditor(
        prepared.model_name, prepared.dataset, Store(folder), prepared.jobs, ("threshold", "lira", "shadow")
    )


def test_every_reference_model_of_a_run_is_audited_by_the_others(out):
    auditor = auditor_of(out)
    found = list(replicate_phases(auditor))
    assert [one.phase.kind for one in found] == ["dense", "sparse", "redense"]
    for one in found:
        assert one.models == tuple(range(8))
        jobs = [job for job in auditor.jobs if job.phase == one.phase and job.member_set]
        jobs = [job for job in jobs if job.member_set.role == "reference"]
        signals = Signals.stack([Store(out).load_signals(job.key) for job in jobs])
        references = References(signals, np.stack([auditor.examples.members(job.member_set) for job in jobs]))
        lira = next(attack for attack in ATTACKS if attack.name == "LiRA online")
        expected = replicate(references, auditor.examples.labels, [lira])["LiRA online"]["auc"]
        assert one.primary == "LiRA online"
        assert one.figures["LiRA online"]["auc"].tolist() == expected.tolist()
        assert one.left_out["auc"][np.arange(8), np.arange(8) // 2].tolist() == expected.tolist()
        assert "shadow classifier" not in one.figures


def test_they_are_written(out):
    found = list(replicate_phases(auditor_of(out)))
    with (out / "replicates.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(len(one.figures) for one in found) * 8
    line = next(line for line in lines if line["phase"] == "redense" and line["attack"] == "LiRA online")
    assert float(line["auc"]) == found[2].figures["LiRA online"]["auc"][0]
    written = json.loads((out / "replicates.json").read_text())
    differences = compare_replicates(found, METHODS["dsd"])
    kept = [one for one in redense.Results.load(out).audits if one.replicates]
    assert [(one.difference, one.interval) for one in kept] == [(one.difference, one.interval) for one in differences]
    assert {(one["phase"], one["figure"]) for one in written["means"]} >= {("dense", "auc"), ("redense", "accuracy")}


def test_a_second_look_makes_and_reads_nothing(out, monkeypatch):
    before = (out / "replicates.json").read_text()
    monkeypatch.setattr("redense.experiment.replicates.replicate", lambda *a: pytest.fail("made again"))
    monkeypatch.setattr(Store, "load_signals", lambda *a: pytest.fail("signals were read"))
    text = io.StringIO()
    audit_run(out, (), data_root=None, device="cpu", console=Console(file=text, width=200), trust=Trust(all=True))
    assert (out / "replicates.json").read_text() == before
    assert "ver 8 models trained on random halves" in " ".join(text.getvalue().split())


WITH_A_FORMAT = {"results.json", "plan.json", "audit.json", "replicates.json", "shown.json"}


def test_no_file_of_a_newer_format_is_written_over_by_an_audit(out, tmp_path):
    """Of all that a run and its audit write with a format."""
    written = {path.name: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert {name for name, values in written.items() if "format" in values} == WITH_A_FORMAT
    for name in WITH_A_FORMAT:
        folder = tmp_path / name.removesuffix(".json")
        folder.mkdir()
        for path in out.glob("*.json"):
            shutil.copy(path, folder)
        (folder / name).write_text('{"format": 99}')
        with pytest.raises(FolderError, match=f"{name}: got format 99; .* use the version of redense that wrote it"):
            audit_run(folder, (), data_root=None, device="cpu", console=Console(file=io.StringIO()))
        assert (folder / name).read_text() == '{"format": 99}'


def test_a_damaged_file_is_made_again(out):
    before = {path: path.read_text() for path in (out / "audit").glob("replicates-*.json")}
    for path, text in before.items():
        path.write_text(text[:-20])
    list(replicate_phases(auditor_of(out)))
    assert len(before) == 3
    assert {path: path.read_text() for path in before} == before


def test_phases_with_fewer_than_eight_are_left_out(out):
    assert list(replicate_phases(auditor_of(out, references=6))) == []


def phase_of(phase, values, models=None):
    """Replicates on which reference models have no influence: `values` [R]."""
    values = np.asarray(values)
    figures = {
        name: np.repeat(values[:, None], len(values) // 2, axis=1) for name in ("auc", "tpr_at_0.1", "tpr_at_0.01")
    }
    return PhaseReplicates(phase, models or tuple(range(len(values))), {}, "LiRA online", figures)


def phases(models, step=0.012):
    generator = np.random.default_rng(3)
    dense = 0.8 + 0.01 * generator.normal(size=models)
    sparse = dense + 0.01 * generator.normal(size=models)
    return [
        phase_of(DENSE, dense),
        phase_of(SPARSE, sparse),
        phase_of(REDENSE, dense + step + 0.01 * generator.normal(size=models)),
    ]


def test_phases_are_compared_model_by_model_and_corrected_with_all_claims():
    dense, sparse, redense_ = phases(16)
    found = compare_replicates([dense, sparse, redense_], METHODS["dsd"])
    pairs = [("redense", "sparse"), ("redense", "dense"), ("sparse", "dense")]
    assert [(one.second.kind, one.first.kind, one.quantity, one.fpr) for one in found] == [
        (*pair, *figure) for pair in pairs for figure in (("auc", None), ("tpr", 0.01))
    ]
    expected = pair_jackknife(redense_.left_out["auc"] - dense.left_out["auc"])
    assert (found[2].difference, found[2].interval, found[2].t.raw) == (expected.mean, expected.interval, expected.p)
    others = [over_seeds("test_accuracy", DENSE, SPARSE, differences) for differences in ([0.01, -0.01, 0.02],) * 10]
    smallest = min(range(6), key=lambda place: found[place].t.raw)
    for together, claims in ((found, 6), ([*found, *others], 16)):
        one = corrected(together)[smallest]
        assert (one.claims, one.p) == (claims, pytest.approx(min(1, claims * one.t.raw)))


def test_the_words_of_a_claim():
    found = corrected(compare_replicates(phases(16), METHODS["dsd"]))[2]
    assert found.shown
    low, high, first, last = (f"{end:+.4f}" for end in (*found.interval, *found.prediction))
    assert found.sentence == (
        f"Over 16 models trained on random halves, re-dense 50% leaks more than dense (AUC of LiRA online "
        f"{found.difference:+.4f} [{low}, {high}], {p_text(found.p)} over 6 claims); for one further "
        f"training of each, 95% interval [{first}, {last}]."
    )


def test_what_is_not_shown_is_not_claimed():
    found = corrected(compare_replicates(phases(16, step=0.0), METHODS["dsd"]))[2]
    assert not found.shown
    assert "re-dense 50% and dense: no difference that they can show (AUC of LiRA online" in found.sentence


def test_eight_models_describe_and_claim_nothing():
    for one in corrected(compare_replicates(phases(8, step=0.5), METHODS["dsd"])):
        assert one.claims is None
        assert not one.shown
        assert "Over 8 models trained on random halves (fewer than the 16 that a claim needs), " in one.sentence
        assert "leaks" not in one.sentence
        assert "p =" not in one.sentence


def test_only_models_that_went_through_both_phases_are_compared():
    dense, sparse, _ = phases(16)
    other = dataclasses.replace(sparse, models=tuple(range(2, 18)))
    assert compare_replicates([dense, other], METHODS["dsd"]) == []


def test_models_that_do_not_vary_give_neither_interval_nor_claim():
    values = np.full(16, 0.75)
    both = [phase_of(DENSE, values), phase_of(SPARSE, values + 0.1)]
    one, _ = corrected(compare_replicates(both, METHODS["dsd"]))
    assert one.interval is None
    assert not one.shown
    assert "+0.1000" in one.sentence
    assert "0.750" in printed(replicates_summary(means_of([phase_of(DENSE, values)])))


def test_figures_under_one_anothers_names_are_made_again(out):
    paths = sorted((out / "audit").glob("replicates-*.json"))[:2]
    before = [path.read_text() for path in paths]
    for path, text in zip(paths, reversed(before), strict=True):
        path.write_text(text)
    list(replicate_phases(auditor_of(out)))
    assert [path.read_text() for path in paths] == before


def changed(values, place, change):
    """Return kept values with the lists at a place changed: ``figures``, an attack and a figure, or the like."""
    first, *others = place
    inner = change(values[first]) if not others else changed(values[first], others, change)
    return {**values, first: inner}


FIGURES, LEFT_OUT = ("figures", "LiRA online", "auc"), ("left_out", "auc")
FORGED = {
    "no figures": lambda kept: {name: value for name, value in kept.items() if name != "figures"},
    "figures of few": lambda kept: changed(kept, FIGURES, lambda values: values[:-1]),
    "a figure that is none": lambda kept: changed(kept, FIGURES, lambda values: ["x", *values[1:]]),
    "a figure beyond all": lambda kept: changed(kept, FIGURES, lambda values: [1e308, *values[1:]]),
    "NaN": lambda kept: changed(kept, FIGURES, lambda values: [float("nan"), *values[1:]]),
    "another attack": lambda kept: changed(kept, ("figures",), lambda each: {**each, "x": each["LiRA online"]}),
    "another figure": lambda kept: changed(kept, FIGURES[:2], lambda each: {**each, "x": each["auc"]}),
    "no area": lambda kept: changed(kept, FIGURES[:2], lambda each: {**each, "auc": []}),
    "models less": lambda kept: changed(kept, LEFT_OUT, lambda rows: rows[:-1]),
    "ragged": lambda kept: changed(kept, LEFT_OUT, lambda rows: [rows[0][:-1], *rows[1:]]),
    "below 0": lambda kept: changed(kept, LEFT_OUT, lambda rows: [[-1.0, *rows[0][1:]], *rows[1:]]),
    "a figure less": lambda kept: {**kept, "left_out": {"auc": kept["left_out"]["auc"]}},
    "nothing left out": lambda kept: {**kept, "left_out": {}},
    "no primary": lambda kept: {**kept, "primary": None},
    "another primary": lambda kept: {**kept, "primary": "confidence"},
    "more": lambda kept: {**kept, "more": 1},
}


def kept_of(path):
    key = path.stem.removeprefix("replicates-")
    return key, {name: value for name, value in read_kept(path, key).items() if name != "key"}


@pytest.mark.parametrize("kind", [None, *FORGED])
def test_kept_figures_are_believed_in_the_form_in_which_they_are_made_alone(kind, out, tmp_path):
    """Whoever computes their checksum anew."""
    key, kept = kept_of(next((out / "audit").glob("replicates-*.json")))
    write_kept(tmp_path / "kept", key, FORGED[kind](kept) if kind else kept)
    found = _found(tmp_path / "kept", key, 8, auditor_of(out).attack_names)
    assert found == (None if kind else _Kept(**kept))


def test_forged_figures_are_made_again(out):
    before = {path: path.read_text() for path in sorted((out / "audit").glob("replicates-*.json"))}
    for path, kind in zip(before, ("no figures", "ragged", "models less"), strict=True):
        key, kept = kept_of(path)
        write_kept(path, key, FORGED[kind](kept))
    assert len(list(replicate_phases(auditor_of(out)))) == 3
    assert {path: path.read_text() for path in before} == before


def test_phases_of_other_figures_are_not_compared():
    dense, sparse, _ = phases(16)
    fewer = dataclasses.replace(sparse, left_out={"auc": sparse.left_out["auc"]})
    assert compare_replicates([dense, fewer], METHODS["dsd"]) == []
