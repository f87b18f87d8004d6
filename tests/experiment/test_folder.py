import errno
import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from redense.auditing.saved import write_audit
from redense.errors import FolderError
from redense.experiment.dry_run import dry_run
from redense.experiment.export import export
from redense.experiment.folder import LOCK_FILE, open_folder, read_plan, write_plan
from redense.experiment.plan import Fingerprints
from redense.experiment.recipe import Recipe
from redense.experiment.results import Results
from redense.experiment.run import run
from redense.experiment.write_report import write_report
from redense.files.writing import write_whole

RECIPE = Recipe()


def opened(path, recipe=RECIPE, needed=0):
    with open_folder(path, recipe, needed) as folder:
        return folder


def test_other_sparsities_and_seeds_may_join(tmp_path):
    opened(tmp_path / "run")
    opened(tmp_path / "run", Recipe(sparsities=(0.1,), seeds=(5,)))
    stored = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (stored["sparsities"], stored["seeds"]) == ([0.1], [5])


def test_another_recipe_may_not(tmp_path):
    opened(tmp_path / "run")
    with pytest.raises(FolderError, match="lr was 0.001 and is now 0.1"):
        opened(tmp_path / "run", Recipe(lr=0.1))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FolderError, match="is a file"):
            opened(path)
    assert (tmp_path / "file").read_text() == "precious"


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FolderError, match="not a run's"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a file system that refuses to be written")
def test_a_folder_that_cannot_be_written():
    with pytest.raises(FolderError, match="cannot be written|not writable"):
        opened(Path("/sys/kernel/redense/run"))


def test_a_name_that_is_too_long_is_one_line(recipe, tmp_path):
    """From the first look into the folder to its making."""
    for path in (tmp_path / ("n" * 256), tmp_path / "run" / ("n" * 256)):
        with pytest.raises(FolderError, match="File name too long.; choose a shorter name"):
            run(recipe, path, workers=0)
    assert list(tmp_path.iterdir()) == []


def at_places(tmp_path):
    """Where no folder can be made, with what is said of it."""
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    long, nul = "n" * 300, "a\0b"
    return {
        tmp_path / "nowhere": "nowhere is a link that leads nowhere; expected a folder",
        tmp_path / "nowhere" / "run": "nowhere is a link that leads nowhere",
        tmp_path / "loop": "loop is a link that leads nowhere",
        tmp_path / "loop" / "below" / "run": "loop is a link that leads nowhere",
        tmp_path / long: "File name too long); choose a shorter name",
        tmp_path / "new" / long / "run": "File name too long); choose a shorter name",
        tmp_path / "/".join(["new"] * 1100): "File name too long); choose a shorter name",
        tmp_path / nul: "cannot be written (embedded null byte); choose a name without it",
        tmp_path / "new" / nul / "run": "cannot be written (embedded null byte)",
    }


def test_a_dry_run_promises_no_more_than_a_run_keeps(recipe, tmp_path):
    """Where a folder cannot be made, both say the same, and nothing is left behind."""
    for path, message in at_places(tmp_path).items():
        with pytest.raises(FolderError) as by_run:
            run(recipe, path, workers=0)
        with pytest.raises(FolderError) as by_dry_run:
            dry_run(recipe, path, console=Console(quiet=True))
        assert message in str(by_run.value)
        assert str(by_run.value) == str(by_dry_run.value)
    assert {path.name for path in tmp_path.iterdir()} == {"nowhere", "loop"}


def test_a_link_to_a_folder_is_that_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    assert opened(tmp_path / "runs" / "one").path.samefile(tmp_path / "disk" / "one")


USES = [Results.load, export, lambda path: write_whole(path, "text"), lambda path: write_audit(None, path)]


@pytest.mark.parametrize("use", USES)
def test_no_path_has_a_nul_character(use):
    with pytest.raises(FolderError, match="embedded null byte"):
        use(Path("a\0b"))


def test_too_little_disk_leaves_nothing(tmp_path):
    with pytest.raises(FolderError, match="GB are free there"):
        opened(tmp_path / "run", needed=10**18)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("theirs", [(), ("new/theirs",), ("new/run/theirs",)])
def test_a_folder_that_cannot_be_locked_is_taken_away_without_what_others_have_made_there(
    theirs, tmp_path, monkeypatch
):
    def refuse(*_):
        for name in theirs:
            (tmp_path / name).write_text("precious")
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(FolderError, match="cannot be written .Too many open files"):
            opened(tmp_path / "new" / "run")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [*theirs]
    assert theirs or list(tmp_path.iterdir()) == []


def test_two_runs_exclude_each_other(tmp_path):
    opened(tmp_path / "run")
    descriptor = os.open(tmp_path / "run" / LOCK_FILE, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(FolderError, match="another run is using this folder"):
        opened(tmp_path / "run")
    os.close(descriptor)
    opened(tmp_path / "run")


def test_a_damaged_recipe_is_reported(tmp_path):
    opened(tmp_path / "run")
    (tmp_path / "run" / "recipe.json").write_text("{")
    with pytest.raises(FolderError, match="recipe.json: cannot be read as the recipe of a run .*choose another folder"):
        opened(tmp_path / "run")


def test_the_plan_of_a_folder_is_read_back(tmp_path):
    fingerprints = Fingerprints("data", "architecture", "vectorized-cpu")
    write_plan(tmp_path, fingerprints)
    assert read_plan(tmp_path) == fingerprints


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 99, "data": "a"}', "got format 99; expected 1; use the version of redense that wrote it"),
        ("7", "plan.json: cannot be read as the plan of a run .got 7; expected a mapping"),
        ("{}", "plan.json: cannot be read as the plan of a run .format is missing"),
        ('{"format": 1, "data": "a"}', "plan.json: cannot be read as the plan of a run .architecture is missing"),
        (None, "no plan.json that can be read .*the same `redense run` command writes it"),
    ],
)
def test_a_plan_that_cannot_be_read_is_one_line(text, message, tmp_path):
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(FolderError, match=message):
        read_plan(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "plan.json"])
def test_a_folder_of_a_newer_version_is_not_written_over(recipe, undisturbed, tmp_path, name):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    values = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**values, "format": 99}))
    before = (folder / name).read_bytes()
    with pytest.raises(FolderError, match=r"got format 99; expected \d; use the version of redense that wrote it"):
        run(recipe, folder, workers=0)
    assert (folder / name).read_bytes() == before


def test_a_run_without_its_recipe_is_called_one(recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    (folder / "recipe.json").unlink()
    with pytest.raises(FolderError, match=r"holds a run without its recipe.json; restore that file .results.json has"):
        run(recipe, folder, workers=0)
    shutil.copytree(undisturbed / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(FolderError, match=r"holds a run without its recipe.json"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("beside", None, "beside: got none for a control"),
        ("lineage", "control-other", "lineage: got 'control-other' for a control; expected one of control-longer"),
        ("test_accuracy", 1.5, "test_accuracy: got 1.5; expected a rate from 0 to 1"),
        ("inference_accuracy", -0.5, "inference_accuracy: got -0.5; expected a rate from 0 to 1"),
        ("seed", 7, r"rows: 0: got control-longer beside re-dense, seed 7; expected a phase of the recipe"),
    ],
)
def test_rows_that_no_run_has_are_refused(undisturbed, tmp_path, name, value, message):
    values = json.loads((undisturbed / "results.json").read_text())
    values["rows"][0] |= {"phase": "control", "lineage": "control-longer", "beside": "redense", name: value}
    (tmp_path / "results.json").write_text(json.dumps(values))
    for read in (Results.load, lambda folder: write_report([folder])):
        with pytest.raises(FolderError, match=f"results.json: cannot be read .*{message}.*the same `redense run`"):
            read(tmp_path)
