"""Disks that are full or may not be written, damaged files and clocks that jump: nothing is lost, no bit changes."""

import os
import shutil
import subprocess
import time

import pytest
from folders import checkpoints

from redense.errors import FolderError, RedenseError
from redense.experiment.checkpoints import Store
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.local import LocalEngine
from redense.experiment.events import Failed
from redense.experiment.prepare import prepare
from redense.experiment.recipe import Recipe
from redense.experiment.run import run
from redense.files.writing import TEMPORARY


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_loses_nothing(recipe, undisturbed, small_disk, workers):
    out = small_disk / "run"
    prepared = prepare(recipe)
    # the disk fills up while the run is under way: after the dense phase, to the last kilobyte
    run(Recipe(**{**recipe.to_mapping(), "sparsities": (0.3,)}), out, workers=0)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(small_disk)
        file.write(bytes(free.f_bavail * free.f_frsize - 16_384))
    before = checkpoints(out)
    engine = LocalEngine(workers) if workers else InlineEngine()
    events = engine.run(prepared.jobs, prepared.dataset, Store(out))
    failed = [event for event in events if isinstance(event, Failed)]
    assert [event.job.phase.label for event in failed] == ["sparse 90%", "re-dense 90%"]
    assert "cannot be written (No space left on device)" in failed[0].reason
    assert not list(out.rglob(f"{TEMPORARY}*"))
    assert checkpoints(out) == before
    with pytest.raises(FolderError, match="are free there"):
        run(recipe, out, workers=workers)
    ballast.unlink()
    results = run(recipe, out, workers=workers)
    assert len(results.rows) == len(prepared.jobs)
    assert checkpoints(out) == checkpoints(undisturbed)


def test_results_that_do_not_fit_are_an_error_of_one_line(recipe, undisturbed, small_disk, monkeypatch):
    out = shutil.copytree(undisturbed, small_disk / "run")
    text = (out / "results.json").read_text()
    monkeypatch.setattr("redense.experiment.folder.check_folder", lambda *_: None)
    with (small_disk / "ballast").open("wb") as file:
        free = os.statvfs(small_disk)
        file.write(bytes(free.f_bavail * free.f_frsize))
    with pytest.raises(RedenseError, match="No space left on device"):
        run(recipe, out, workers=0)
    assert (out / "results.json").read_text() == text
    assert not list(out.rglob(f"{TEMPORARY}*"))


def test_a_folder_that_becomes_read_only_loses_nothing(recipe, undisturbed, small_disk):
    out = small_disk / "run"
    run(Recipe(**{**recipe.to_mapping(), "sparsities": (0.3,)}), out, workers=0)
    before = checkpoints(out)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(FolderError, match="not writable|cannot be written"):
        run(recipe, out, workers=2)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert checkpoints(out) == before
    run(recipe, out, workers=0)
    assert checkpoints(out) == checkpoints(undisturbed)


def test_clocks_that_jump_change_nothing(recipe, undisturbed, tmp_path, monkeypatch):
    """Neither the system's clock nor the files' times decide what is trained, resumed or kept."""
    prepared = prepare(recipe)
    out = tmp_path / "run"
    out.mkdir()
    jumps = iter(range(10**6))
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + (-1) ** next(jumps) * 1e8)
    events = InlineEngine().run(prepared.jobs, prepared.dataset, Store(out))
    for _ in range(8):
        next(events)
    events.close()
    for number, path in enumerate(sorted(out.rglob("*"))):
        os.utime(path, (0, (-1) ** number * 1e8 + 1e9))
    (out / "recipe.json").write_bytes((undisturbed / "recipe.json").read_bytes())
    run(recipe, out, workers=0)
    assert checkpoints(out) == checkpoints(undisturbed)


@pytest.mark.parametrize("name", ["model.safetensors", "signals.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_set_aside_and_its_phase_trained_again(recipe, undisturbed, tmp_path, name, damage):
    shutil.copytree(undisturbed, tmp_path / "run")
    expected = checkpoints(undisturbed)
    damaged = next((tmp_path / "run" / "checkpoints").iterdir())
    content = bytearray((damaged / name).read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    (damaged / name).write_bytes(content)
    run(recipe, tmp_path / "run", workers=0)
    assert checkpoints(tmp_path / "run") == expected
    assert len(list((tmp_path / "run" / "damaged").iterdir())) == 1
