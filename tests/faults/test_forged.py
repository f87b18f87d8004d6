"""Checkpoints under sound checksums that are not what their run trained: trained again, or refused in one line."""

import contextlib
import shutil

import pytest
import torch
from folders import checkpoints, resealed
from rich.console import Console
from safetensors.torch import load_file, save_file

from redense.errors import RedenseError
from redense.experiment.audit import audit_run
from redense.experiment.checkpoints import Store
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.export import export
from redense.experiment.folder import Trust
from redense.experiment.prepare import prepare
from redense.experiment.run import run
from redense.experiment.trained import Progress
from redense.experiment.write_report import write_report


def tensors(name, change):
    """Return what changes the tensors of a file of a checkpoint."""

    def forge(folder):
        save_file(change(load_file(folder / name)), folder / name)
        resealed(folder)

    return forge


def of_model(change):
    return tensors("model.safetensors", change)


def of_signals(change):
    return tensors("signals.safetensors", change)


def index(**changes):
    return lambda folder: resealed(folder, **changes)


def with_nan(values):
    return {name: value if value.dtype == torch.bool else value * float("nan") for name, value in values.items()}


def half_a_history(folder):
    history = Store(folder.parents[1]).load(folder.name).history
    resealed(folder, history=[{**vars(history[0]), "validation_accuracy": None}])


FORGED = {
    "a tensor is missing": of_model(lambda model: {name: model[name] for name in [*model][1:]}),
    "a tensor more": of_model(lambda model: {**model, "more": torch.ones(1)}),
    "another shape": of_model(lambda model: {**model, "1.weight": torch.zeros(3, 3)}),
    "float64": of_model(lambda model: {name: value.double() for name, value in model.items()}),
    "integers": of_model(lambda model: {name: value.int() for name, value in model.items()}),
    "signals of few": of_signals(lambda signals: {name: value[:5].clone() for name, value in signals.items()}),
    "signals of NaN": of_signals(with_nan),
    "entropy of NaN": of_signals(lambda signals: {**signals, "train.entropy": signals["train.entropy"] * float("nan")}),
    "no history": index(history=[]),
    "half a history": half_a_history,
    "no checksums": index(files={}),
}
OF_SPARSE = {
    "no masks": index(mask_shapes={}, kept={}),
    "another parent": index(parent="zz", job=...),
}
ALL = {**FORGED, **OF_SPARSE}
TOGETHER = [[*OF_SPARSE, *FORGED][start : start + 5] for start in (0, 4, 7)]
"""As many as there are phases, sparse ones first."""


@pytest.fixture(scope="module")
def prepared(recipe):
    return prepare(recipe)


def forge(prepared, folder, kinds):
    """Forge a phase in each of these ways; return the names of their checkpoints."""
    jobs = sorted(prepared.jobs, key=lambda job: job.pruning is None)
    for kind, job in zip(kinds, jobs, strict=False):
        ALL[kind](Store(folder).finished_folder(job.key))
    return [job.key for job in jobs[: len(kinds)]]


@pytest.mark.parametrize("kind", ALL)
def test_what_a_run_did_not_train_is_damaged(kind, prepared, undisturbed, tmp_path):
    store = Store(tmp_path)
    shutil.copytree(undisturbed / "checkpoints", tmp_path / "checkpoints")
    (key,) = forge(prepared, tmp_path, [kind])
    assert store.expecting(prepared.form, prepared.jobs).load(key) is None
    assert len(store.set_aside) == 1


@pytest.mark.parametrize("kinds", TOGETHER, ids=", ".join)
def test_what_a_run_did_not_train_is_trained_again(kinds, prepared, recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    keys = forge(prepared, folder, kinds)
    assert len(run(recipe, folder, workers=0).rows) == 5
    assert checkpoints(folder) == checkpoints(undisturbed)
    assert {path.name for path in (folder / "damaged").iterdir()} == {f"checkpoints-{key}.0" for key in keys}


@pytest.mark.parametrize("kinds", TOGETHER, ids=", ".join)
def test_what_a_run_did_not_train_is_left_out_of_audits(kinds, prepared, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    forge(prepared, folder, kinds)
    with pytest.raises(RedenseError, match="is gone or damaged; run the recipe again") as refused:
        audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True), trust=Trust(all=True))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["a tensor is missing", "another shape", "signals of few", "no history"])
def test_reports_and_exports_take_it_or_refuse_it_in_one_line(kind, prepared, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    FORGED[kind](Store(folder).finished_folder(prepared.jobs[0].key))
    for format in ("safetensors", *(["onnx"] if kind == "a tensor is missing" else [])):
        with contextlib.suppress(OneLine):
            export_dense(folder, format)
    (folder / "shown.json").unlink()
    (folder / "results.json").unlink()
    assert write_report([folder]).is_file()


class OneLine(Exception):
    """A refusal that is one line."""


def export_dense(folder, format):
    try:
        export(folder, phase="dense", format=format, trust=True)
    except RedenseError as refused:
        raise OneLine if "\n" not in str(refused) else AssertionError(str(refused)) from refused


@pytest.mark.parametrize(
    "forge",
    [
        lambda one: Progress(1, {}, one.optimizer, one.history, 0.0),
        lambda one: Progress(1, {**one.model, "1.weight": torch.ones(2)}, one.optimizer, one.history, 0.0),
        lambda one: Progress(1, one.model, {"99.step": torch.ones(())}, one.history, 0.0),
        lambda one: Progress(1, one.model, {"0.exp_avg": torch.ones(2)}, one.history, 0.0),
        lambda one: Progress(1, one.model, {"x": torch.ones(())}, one.history, 0.0),
    ],
)
def test_a_phase_in_progress_of_another_form_begins_anew(forge, prepared, undisturbed, tmp_path):
    job, store = prepared.jobs[0], Store(tmp_path / "run")
    store.root.mkdir()
    for _ in (event for event in InlineEngine().run([job], prepared.dataset, store) if store.epochs_done(job.key)):
        break
    store.save_progress(job.key, forge(store.load_progress(job.key)))
    list(InlineEngine().run([job], prepared.dataset, store))
    assert len(store.set_aside) == 1
    name = f"{job.key}/model.safetensors"
    assert checkpoints(store.root)[name] == checkpoints(undisturbed)[name]
