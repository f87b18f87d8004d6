"""What a run finds around it: lost notes, no process, no temporary folder, no current one, folders not to be read."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from folders import checkpoints
from rich.console import Console

from redense.commands.main import main
from redense.errors import FolderError, TrainingError
from redense.experiment.audit import audit_run
from redense.experiment.checkpoints import Store
from redense.experiment.doctor import self_test
from redense.experiment.engines import fork_server
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.local import EXHAUSTED, LOG, LocalEngine
from redense.experiment.export import export
from redense.experiment.folder import Trust, hold_folder
from redense.experiment.prepare import prepare
from redense.experiment.run import run
from redense.experiment.trained import Epoch, Progress
from redense.experiment.whole_folders import UNCHECKED, read_seconds
from redense.files.temporary import temporary_folder

ODD_SECONDS = ["NaN", "-1", "Infinity", '"x"', "-Infinity", "1e999", "1" + "0" * 400, "null", "[]", "{}", '"nan"']
ODD_NOTES = [None, "", "{}", "7", "{", "[" * 100_000, *(f'{{"seconds": {value}}}' for value in ODD_SECONDS)]


def refuse(number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    return refused


def audited(folder):
    return audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True), trust=Trust(all=True))


@pytest.mark.parametrize("text", ODD_NOTES, ids=lambda text: str(text)[:20])
def test_how_long_training_took_is_a_time_whatever_stands_there(text, tmp_path):
    if text is not None:
        (tmp_path / UNCHECKED).write_text(text)
    assert read_seconds(tmp_path) == 0.0


def test_notes_that_are_lost_or_forged_end_nothing(recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    for place, value in zip(sorted((folder / "checkpoints").iterdir()), [None, *ODD_SECONDS], strict=False):
        (place / UNCHECKED).unlink()
        if value is not None:
            (place / UNCHECKED).write_text(f'{{"seconds": {value}}}')
    assert [row.seconds for row in run(recipe, folder, workers=0).rows] == [0.0] * 5
    assert checkpoints(folder) == checkpoints(undisturbed)
    audited(folder)


def test_a_time_that_was_forged_does_not_go_into_the_next_checkpoint(recipe, tmp_path):
    prepared, store = prepare(recipe), Store(tmp_path / "run")
    store.root.mkdir()
    job = prepared.jobs[0]
    for _ in (event for event in InlineEngine().run([job], prepared.dataset, store) if store.epochs_done(job.key)):
        break
    (store.root / "progress" / job.key / "000001" / UNCHECKED).write_text('{"seconds": NaN}')
    list(InlineEngine().run([job], prepared.dataset, store))
    seconds = json.loads((store.finished_folder(job.key) / UNCHECKED).read_text())["seconds"]
    assert math.isfinite(seconds)
    assert seconds > 0


@pytest.mark.parametrize("number", EXHAUSTED)
def test_a_system_that_gives_no_process_is_one_line(number, npz, tmp_path, capsys, monkeypatch):
    """Also where the process that workers are forked from is started beforehand."""
    fork_server.stop()
    monkeypatch.setattr(subprocess, "Popen", refuse(number))
    command = ["run", "--data", str(npz), "--model", "mlp", "--sparsities", "0.5", "--epochs", "1", "1", "1"]
    with pytest.raises(SystemExit) as left:
        main([*command, "--engine", "local", "--workers", "2", "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert (left.value.code, said.count("\n")) == (2, 1)
    assert "a worker process cannot be started" in said


def test_a_log_that_may_not_be_written_is_one_line(recipe, tmp_path, monkeypatch):
    prepared = prepare(recipe)
    monkeypatch.setattr(fork_server, "start", lambda: None)
    (tmp_path / "run" / LOG).mkdir(parents=True)
    with pytest.raises(FolderError, match=f"{LOG}: cannot be written"):
        list(LocalEngine(1).run(prepared.jobs, prepared.dataset, Store(tmp_path / "run")))


@pytest.fixture
def no_temporary_folder(monkeypatch):
    def refused():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", refused)


def test_where_there_is_no_temporary_folder_it_is_said_how_to_name_one(recipe, tmp_path, no_temporary_folder):
    prepared = prepare(recipe)
    (tmp_path / "run").mkdir()

    def by_workers():
        list(LocalEngine(1).run(prepared.jobs, prepared.dataset, Store(tmp_path / "run")))

    def by_others():
        with temporary_folder("redense-", longest=40):
            pass

    for act in (by_workers, by_others, self_test):
        with pytest.raises(
            FolderError, match="No usable temporary directory found .*set TMPDIR to a folder"
        ) as refused:
            act()
        assert "\n" not in str(refused.value)


def test_a_current_folder_that_is_deleted_is_one_line(recipe, tmp_path, monkeypatch):
    prepared, here = prepare(recipe), tmp_path / "here"
    (tmp_path / "run").mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before = set(os.listdir("/proc/self/fd"))
    assert "" not in fork_server.module_path()
    with pytest.raises(TrainingError, match="the current folder has been deleted; what is finished stays"):
        list(LocalEngine(1).run(prepared.jobs, prepared.dataset, Store(tmp_path / "run")))
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(FolderError, match="the current folder has been deleted"), hold_folder(Path("run"), recipe):
        pass


def test_a_folder_that_may_not_be_listed_is_one_line(recipe, undisturbed, tmp_path, monkeypatch):
    folder, listed = shutil.copytree(undisturbed, tmp_path / "run"), os.listdir

    def refused(path="."):
        return refuse(errno.EACCES)() if Path(path) == folder else listed(path)

    monkeypatch.setattr(os, "listdir", refused)
    for act in (
        lambda: run(recipe, folder, workers=0),
        lambda: audited(folder),
        lambda: export(folder, phase="dense"),
    ):
        with pytest.raises(
            FolderError, match=r"run: cannot be read \(Permission denied\); expected a folder that you may list"
        ):
            act()


def test_a_phase_under_way_is_kept_where_nothing_may_be_listed(tmp_path, monkeypatch):
    store, scanned = Store(tmp_path), os.scandir
    progress = Progress(1, {}, {}, (Epoch(1, 0.5, 0.5, 0.5),), 0.0)

    def refused(path="."):
        return refuse(errno.EACCES)() if Path(path).name == "key" else scanned(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refused)
        store.save_progress("key", progress)
    assert store.load_progress("key") == progress


def test_what_cannot_be_set_aside_is_one_line(undisturbed, tmp_path, monkeypatch):
    store = Store(shutil.copytree(undisturbed, tmp_path / "run"))
    folder = next((store.root / "checkpoints").iterdir())
    (folder / "model.safetensors").write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse(errno.EACCES))
        with pytest.raises(FolderError, match=r"model.safetensors does not match .* cannot be set aside \(Permission"):
            store.load(folder.name)
    assert folder.is_dir()
    assert store.set_aside == []
