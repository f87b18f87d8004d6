"""Checkpoints under sound checksums that are not what their run trained: trained again, or refused in one line."""

import contextlib
import dataclasses
import shutil

import pytest
import torch
from folders import checkpoints, resealed
from rich.console import Console
from safetensors.torch import load_file, save_file

from redense.errors import RedenseError
from redense.experiment.audit import audit_run
from redense.experiment.checkpoints import Store
from redense.experiment.engines import vectorized
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.vectorized import VectorizedEngine
from redense.experiment.events import Finished
from redense.experiment.expected import Expected
from redense.experiment.export import export
from redense.experiment.folder import Trust
from redense.experiment.optimizers import OPTIMIZERS
from redense.experiment.prepare import prepare
from redense.experiment.run import run
from redense.experiment.trained import Progress
from redense.experiment.whole_folders import Damaged
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


def moments_forged(change):
    """Return what forges the moments of one parameter: `change` is given their names and values, and its name."""

    def forge(state):
        own = {name.removeprefix("0."): value for name, value in state.items() if name.startswith("0.")}
        return {**{name: value for name, value in state.items() if not name.startswith("0.")}, **change(own)}

    return forge


def numbered(own, index="0"):
    return {f"{index}.{name}": value for name, value in own.items()}


MOMENTS = {
    "none at all": lambda state: {},
    "a count alone": lambda state: {"0.step": state["0.step"]},
    "no count": moments_forged(lambda own: numbered({**own, "step": None})),
    "a moment less": moments_forged(lambda own: numbered({**own, "exp_avg_sq": None})),
    "a moment more": moments_forged(lambda own: numbered({**own, "momentum_buffer": own["exp_avg"]})),
    "integers": moments_forged(lambda own: numbered({**own, "exp_avg": own["exp_avg"].int()})),
    "float64": moments_forged(lambda own: numbered({**own, "exp_avg": own["exp_avg"].double()})),
    "NaN": moments_forged(lambda own: numbered({**own, "exp_avg": own["exp_avg"] * float("nan")})),
    "infinity": moments_forged(lambda own: numbered({**own, "exp_avg_sq": own["exp_avg_sq"] + float("inf")})),
    "a number for a tensor": moments_forged(lambda own: numbered({**own, "exp_avg": torch.ones(())})),
    "a tensor for a number": moments_forged(lambda own: numbered({**own, "step": torch.ones_like(own["exp_avg"])})),
    "an integer count": moments_forged(lambda own: numbered({**own, "step": own["step"].long()})),
    "a count of NaN": moments_forged(lambda own: numbered({**own, "step": own["step"] * float("nan")})),
    "no step": moments_forged(lambda own: numbered({**own, "step": torch.zeros(())})),
    "fewer steps than none": moments_forged(lambda own: numbered({**own, "step": -torch.ones(())})),
    "a parameter more": moments_forged(lambda own: {**numbered(own), **numbered(own, "99")}),
    "an odd number": moments_forged(lambda own: numbered(own, "00")),
    "another's": moments_forged(lambda own: numbered(own, "1")),
    "no number": moments_forged(lambda own: {**numbered(own), **own}),
}


def under_way(engine, prepared, job, root):
    """Let an engine train a job, and stop it where one epoch is stored."""
    store = Store(root)
    root.mkdir(exist_ok=True)
    for _ in (event for event in engine.run([job], prepared.dataset, store) if store.epochs_done(job.key)):
        break
    return store


@pytest.fixture(scope="module")
def begun(prepared, tmp_path_factory):
    """A phase under way: its job, and its state after an epoch."""
    job = prepared.jobs[0]
    store = under_way(InlineEngine(), prepared, job, tmp_path_factory.mktemp("begun") / "run")
    return job, store.load_progress(job.key)


def without_none(tensors):
    return {name: value for name, value in tensors.items() if value is not None}


@pytest.mark.parametrize("kind", MOMENTS)
def test_moments_that_no_step_of_this_optimizer_can_follow_are_damage(kind, prepared, begun):
    job, progress = begun
    expected = Expected(job, prepared.form)
    expected.check_moments(progress.optimizer, "here")
    with pytest.raises(Damaged, match="here has (no )?moments") as found:
        expected.check_moments(without_none(MOMENTS[kind](progress.optimizer)), "here")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("kind", ["a count alone", "NaN"])
def test_a_phase_under_way_with_forged_moments_begins_anew(kind, prepared, begun, undisturbed, tmp_path):
    (job, progress), store = begun, Store(tmp_path)
    moments = {name: value.clone() for name, value in without_none(MOMENTS[kind](progress.optimizer)).items()}
    store.save_progress(job.key, dataclasses.replace(progress, optimizer=moments))
    list(InlineEngine().run([job], prepared.dataset, store))
    assert len(store.set_aside) == 1
    name = f"{job.key}/model.safetensors"
    assert checkpoints(tmp_path)[name] == checkpoints(undisturbed)[name]


OPTIMIZED = [(name, momentum) for name in OPTIMIZERS for momentum in ((0.0, 0.9) if name == "sgd" else (0.9,))]


@pytest.mark.parametrize(("name", "momentum"), OPTIMIZED)
@pytest.mark.parametrize("engine", [InlineEngine, VectorizedEngine])
def test_what_training_leaves_is_believed(name, momentum, engine, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(vectorized, "SAVED_EVERY", 0.0)
    prepared = prepare(dataclasses.replace(recipe, model="mlp", optimizer=name, momentum=momentum))
    job = prepared.jobs[0]
    store = under_way(engine(), prepared, job, tmp_path / "run").expecting(prepared.form, [job])
    assert store.load_progress(job.key).epoch == 1
    assert not store.set_aside


@pytest.mark.parametrize("engine", [InlineEngine, VectorizedEngine])
def test_a_parameter_that_no_step_has_moved_has_no_moments(engine, recipe, tmp_path):
    prepared = prepare(dataclasses.replace(recipe, model="mlp"))
    job = prepared.jobs[0]
    store = under_way(InlineEngine(), prepared, job, tmp_path / "run")
    progress = store.load_progress(job.key)
    others = {name: value for name, value in progress.optimizer.items() if not name.startswith("0.")}
    store.save_progress(job.key, dataclasses.replace(progress, optimizer=others))
    events = list(engine().run([job], prepared.dataset, store))
    assert isinstance(events[-1], Finished)
    assert not store.set_aside
