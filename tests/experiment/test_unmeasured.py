"""A run that was killed before it wrote any results: its report shows what the checkpoints hold."""

import dataclasses
import json
import shutil

import pytest

from redense.experiment.found import find
from redense.experiment.report.conclusion import conclusion
from redense.experiment.results import Results
from redense.experiment.unmeasured import planned, unmeasured
from redense.experiment.write_report import write_report

pytestmark = pytest.mark.xdist_group("audited_images")  # the run of that name is made in one process


def _killed(run, folder, kinds=("dense", "sparse", "redense", "control")):
    """Make the folder of the same run, killed when phases of these kinds were finished."""
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(run / "recipe.json", folder)
    for checkpoint in (run / "checkpoints").iterdir():
        if json.loads((checkpoint / "checkpoint.json").read_text())["job"]["phase"]["kind"] in kinds:
            shutil.copytree(checkpoint, folder / "checkpoints" / checkpoint.name)
    return folder


def test_rows_read_off_checkpoints_are_those_that_the_run_measured(audited_images, tmp_path):
    """Reference models and targets on halves, which are in the folder too, are no rows."""
    written = Results.load(audited_images)
    found = find(_killed(audited_images, tmp_path / "run"))
    assert found.results == dataclasses.replace(written, audits=()).compared()
    assert found.state == ""
    assert unmeasured(audited_images, written) == []


def test_an_unfinished_first_run_shows_the_phases_that_are_finished(audited_images, tmp_path):
    folder = _killed(audited_images, tmp_path / "run", ("dense", "sparse"))
    page = write_report([folder]).read_text()
    found = find(folder)
    assert {row.phase.kind for row in found.results.rows} == {"dense", "sparse"}
    of_run = {(row.seed, row.phase): row for row in Results.load(audited_images).rows}
    places = [(row.seed, row.phase) for row in found.results.rows]
    assert places == [place for place in planned(found.recipe) if place[1].kind in ("dense", "sparse")]
    assert [of_run[place] for place in places] == list(found.results.rows)
    assert f"{len(places)} of {len(of_run)} phases of the table are measured" in page
    assert "Test accuracy while training" in page


def test_checkpoints_that_are_damaged_or_lie_are_left_out(audited_images, tmp_path):
    folder = _killed(audited_images, tmp_path / "run", ("dense",))
    first, second, *_ = sorted((folder / "checkpoints").iterdir())
    (first / "model.safetensors").write_bytes(b"no weights")
    (second / "checkpoint.json").write_text('{"job": 7}')
    assert {row.checkpoint for row in find(folder).results.rows}.isdisjoint({first.name, second.name})
    assert first.is_dir()


def test_what_a_recipe_asks_for_since_is_missing_though_results_do_not_know_of_it(audited_images, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(audited_images, folder, ignore=shutil.ignore_patterns("audit", "checkpoints", "*.png", "*.html"))
    recipe = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**recipe, "seeds": [0, 1, 2]}))
    before, now = Results.load(folder), find(folder)
    assert now.results.rows == before.rows
    assert f"{len(before.rows)} of {len(before.rows) // 2 * 3} phases" in now.state
    assert "not measured in every seed yet" in conclusion(now.results)[0]
    (folder / "recipe.json").write_text(json.dumps({**recipe, "seeds": [1]}))
    assert {row.seed for row in find(folder).results.rows} == {1}


FORGED = {
    "a phase of -1 epochs": lambda job: job["phase"].update(epochs=-1),
    "masks of a dense phase": lambda job: job.update(
        pruning={"sparsity": 5.0, "exclude": [], "distribution": "uniform"}
    ),
    "another job's key": lambda job: job.update(key="another"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_checkpoint_that_says_what_no_job_is_or_is_gone_meanwhile_is_left_out(what, audited_images, tmp_path):
    folder = _killed(audited_images, tmp_path / "run", ("dense",))
    of_rows = {row.checkpoint for row in find(folder).results.rows}
    forged, *others = sorted(of_rows)
    path = folder / "checkpoints" / forged / "checkpoint.json"
    index = json.loads(path.read_text())
    FORGED[what](index["job"])
    path.write_text(json.dumps(index))
    found = find(folder)
    assert {row.checkpoint for row in found.results.rows} == {*others}
    assert write_report([folder]).is_file()

    class Running:
        """A folder whose run takes a checkpoint away while it is looked through."""

        def glob(self, pattern):
            return [folder / "checkpoints" / name / "checkpoint.json" for name in ("gone", *of_rows)]

    nothing = dataclasses.replace(found.results, rows=())
    assert {job.key for job in unmeasured(Running(), nothing)} == {*others}
