"""The system's own limits on open files and on their size, lowered step by step: one line, nothing lost."""

import contextlib
import os
import resource
import shutil

import pytest
from folders import checkpoints
from rich.console import Console

from redense.errors import RedenseError
from redense.experiment.audit import audit_run
from redense.experiment.export import export
from redense.experiment.folder import Trust
from redense.experiment.run import run
from redense.files.writing import TEMPORARY

ACTS = {
    "run": lambda recipe, folder: run(recipe, folder, workers=0),
    "audit": lambda _, folder: audit_run(
        folder, (), data_root=None, device="cpu", console=Console(quiet=True), trust=Trust(all=True)
    ),
    "export": lambda _, folder: export(folder, phase="dense", format="bitmask"),
}


@contextlib.contextmanager
def limited(kind, most):
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def refused_or_done(act, kind, most):
    """Do it under a limit; return whether it was done."""
    refusal = None
    with limited(kind, most):
        try:
            act()
        except RedenseError as error:
            refusal = str(error)
    failed_jobs = (refusal or "").splitlines()[1:]
    assert all(line.startswith("  ") for line in failed_jobs), refusal
    return refusal is None


@pytest.mark.parametrize("name", ACTS)
def test_ever_smaller_files(name, recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    before, done = checkpoints(folder), []
    for most in (0, 1_000, 20_000, 10**9):
        done.append(refused_or_done(lambda: ACTS[name](recipe, folder), resource.RLIMIT_FSIZE, most))
        assert checkpoints(folder) == before
        assert not list(folder.rglob(f"{TEMPORARY}*"))
    assert (done[0], done[-1]) == (False, True)


@pytest.mark.parametrize("name", ACTS)
def test_ever_fewer_open_files(name, recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    before, done = checkpoints(folder), []
    for more in (*range(4), 1000):
        most = max(map(int, os.listdir("/proc/self/fd"))) + 1 + more
        done.append(refused_or_done(lambda: ACTS[name](recipe, folder), resource.RLIMIT_NOFILE, most))
        assert checkpoints(folder) == before
        assert not (folder / "damaged").exists()
    assert done[-1]


def test_training_under_ever_smaller_files_loses_nothing(recipe, undisturbed, tmp_path):
    for most in (0, 2_000):
        refused_or_done(lambda: ACTS["run"](recipe, tmp_path / "run"), resource.RLIMIT_FSIZE, most)
        assert not list(tmp_path.rglob(f"{TEMPORARY}*"))
    run(recipe, tmp_path / "run", workers=0)
    assert checkpoints(tmp_path / "run") == checkpoints(undisturbed)


def test_a_runs_folder_follows_the_umask(recipe, tmp_path):
    before = os.umask(0o007)
    try:
        run(recipe, tmp_path / "run", workers=0)
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o770 if path.is_dir() else 0o660), path
