"""What experiment trackers are told: the real ones behind a mark, a listening one in every run of the tests."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args
from unittest.mock import MagicMock

import pytest
from rich.console import Console

import redense
from redense.experiment import tracking
from redense.experiment.folder import ENDINGS, FOLDERS
from redense.experiment.found import find
from redense.experiment.resources import Resources, TrackerName
from redense.experiment.tracking import TRACKERS, Tracker, record_of, track

EXPECTED_CURVE = "re-dense-30/seed-0/test-accuracy-by-epoch"


@pytest.fixture
def folder(undisturbed, tmp_path, monkeypatch):
    """A copy of a finished run, to which the same command adds nothing but what trackers are told."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(undisturbed, tmp_path / "run")


def listen(monkeypatch, tell, module="json"):
    monkeypatch.setitem(TRACKERS, "mlflow", Tracker(module, tell))


def test_the_table_and_the_setting_name_the_same_trackers():
    assert set(TRACKERS) == set(get_args(TrackerName))


def test_trackers_are_told_all_of_a_run_and_nothing_of_an_example(audited_run, audited_recipe, tmp_path, monkeypatch):
    folder = shutil.copytree(audited_run[0], tmp_path / "run")
    told = []
    listen(monkeypatch, lambda record, _: told.append((record, record.report.read_text())))
    redense.experiment.write_report.write_report([folder], show_examples=True)
    redense.run(audited_recipe, folder, workers=0, track=["mlflow"])
    ((record, page),) = told
    assert record.parameters == json.loads((folder / "results.json").read_text())["recipe"]
    found = find(folder)
    for row in found.results.rows:
        values = [value for name, value in record.metrics.items() if name.endswith("/test-accuracy")]
        assert row.test_accuracy in values
        assert tuple(accuracy for accuracy, _ in row.history) in record.curves.values()
    assert len(record.metrics) == 4 * len(found.results.rows) + 2 * sum(len(one.result.attacks) for one in found.audits)
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/") for name in record.metrics
    )
    assert "<html" in page
    assert "data:image/png" not in page
    assert not record.report.exists(), "it was told, and lies in the run"


@pytest.mark.parametrize("error", [RuntimeError("no server\nhere"), SystemExit(3), ImportError("half installed")])
def test_a_tracker_that_fails_never_stops_a_run(error, recipe, folder, monkeypatch):
    def fail(_record, _folder):
        raise error

    listen(monkeypatch, fail)
    expected = rf"track: mlflow raised {type(error).__name__}: .*; the run is complete"
    with pytest.warns(UserWarning, match=expected) as warned:
        results = redense.run(recipe, folder, workers=0, track=("mlflow",))
    assert [one.filename for one in warned] == [__file__], "it is about who called"
    assert results == redense.Results.load(folder)


def test_one_that_is_not_installed_is_named_before_anything_is_trained(recipe, tmp_path, monkeypatch):
    listen(monkeypatch, print, module="no_such_module_anywhere")
    with pytest.raises(redense.RedenseError, match=r"track: mlflow is not installed; pip install 'redense\[mlflow\]'"):
        redense.run(recipe, tmp_path / "run", workers=0, track=("mlflow",))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mlflow", "track: got .*expected a list"),
        (["neptune"], r"track\[0\]: got 'neptune'; expected one of mlflow, tensorboard, wandb"),
    ],
)
def test_trackers_that_do_not_exist(given, message):
    with pytest.raises(redense.RedenseError, match=message):
        Resources(track=given)


@pytest.fixture
def stand_ins(monkeypatch):
    """Trackers that write where the real ones do, which the tests marked for it compare."""

    def write(place):
        place.mkdir(exist_ok=True)
        (place / "events.out.tfevents.2").write_text("events")
        return MagicMock()

    def page(_, path):
        path.write_text("page")
        return path

    monkeypatch.setattr(tracking, "write_report", page)  # which takes longer than all else
    writer = SimpleNamespace(SummaryWriter=lambda place: write(Path(place)))
    client = SimpleNamespace(init=lambda **given: write(Path(given["dir"]) / "wandb"), Artifact=MagicMock())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", writer)
    monkeypatch.setitem(sys.modules, "wandb", client)


def assert_in_its_places(folder):
    """Nothing was written into a run's folder under a name that is not looked at before."""
    assert [
        path.name for path in folder.iterdir() if not path.name.endswith(ENDINGS) and path.name not in FOLDERS
    ] == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_trackers_write_into_a_runs_folder_under_names_that_are_looked_at(name, folder, stand_ins):
    track([name], folder, Console(quiet=True))
    assert (folder / name / "events.out.tfevents.2").read_text() == "events"
    assert (folder / name / "report.html").exists() == (name == "tensorboard")
    assert_in_its_places(folder)


@pytest.mark.parametrize(
    "link", ["tensorboard", "tensorboard/report.html", "tensorboard/events.out.tfevents.1", "wandb"]
)
@pytest.mark.filterwarnings("ignore:track")
def test_trackers_write_and_delete_nothing_elsewhere(link, folder, stand_ins, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    precious = dict.fromkeys(["report.html", "events.out.tfevents.1"], "precious")
    for name, text in precious.items():
        (elsewhere / name).write_text(text)
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(elsewhere / "report.html" if "/" in link else elsewhere)
    track([link.partition("/")[0]], folder, Console(quiet=True))
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == precious


def test_they_are_imported_only_when_used():
    code = (
        "import sys, redense.experiment.run, redense.commands.run; "
        "sys.exit(bool({'redense.experiment.tracking', 'mlflow', 'wandb', 'tensorboard'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_its_own_database(recipe, folder, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    results = redense.run(recipe, folder, workers=0, track=["mlflow"])
    assert (folder.parent / "mlflow.db").exists(), "SQLite, its default"
    import mlflow

    client = mlflow.MlflowClient()
    (told,) = client.search_runs([client.get_experiment_by_name("redense").experiment_id])
    assert told.info.status == "FINISHED"
    assert told.data.params["sparsities"] == "[0.3, 0.9]"
    record = record_of(find(folder), folder / "report.html")
    assert {name: told.data.metrics[name] for name in record.metrics} == pytest.approx(dict(record.metrics))
    curve = client.get_metric_history(told.info.run_id, EXPECTED_CURVE)
    row = next(row for row in results.rows if row.phase.label == "re-dense 30%")
    assert [(one.step, one.value) for one in curve] == [(1, row.history[0][0]), (2, row.history[1][0])]
    assert [artifact.path for artifact in client.list_artifacts(told.info.run_id)] == ["report.html"]


@pytest.mark.foreign  # it is small; the others bring half a hundred packages and older versions of some
@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")
def test_tensorboards_files_are_read_back(recipe, folder):
    for _ in range(2):  # the second time, it is written anew
        redense.run(recipe, folder, workers=0, track=["tensorboard"])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    record = record_of(find(folder), folder / "report.html")
    assert set(events.Tags()["scalars"]) == {*record.curves, *record.metrics}
    found = [(one.step, one.value) for one in events.Scalars(EXPECTED_CURVE)]
    assert found == [(epoch, pytest.approx(value)) for epoch, value in enumerate(record.curves[EXPECTED_CURVE], 1)]
    assert (folder / "tensorboard" / "report.html").read_text().startswith("<!doctype html>")
    assert events.Tags()["tensors"] == ["recipe/text_summary"]
    assert_in_its_places(folder)


@pytest.mark.trackers
@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_offline(recipe, folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    told = []
    real = TRACKERS["wandb"]
    monkeypatch.setitem(
        TRACKERS, "wandb", dataclasses.replace(real, tell=lambda *given: told.append(real.tell(*given)))
    )
    redense.run(recipe, folder, workers=0, track=["wandb"])
    assert told == [None], "it did not raise"
    (kept,) = folder.glob("wandb/offline-run-*/*.wandb")
    content = kept.read_bytes()
    assert EXPECTED_CURVE.encode() in content
    assert b"report.html" in content
    assert tracking.PROJECT.encode() in content
    assert_in_its_places(folder)
