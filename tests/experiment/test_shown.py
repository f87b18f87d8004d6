"""What a report shows of weights and losses: only figures that there can be are read back."""

import json
import math
import shutil

import pytest

from redense.errors import FolderError
from redense.experiment.found import find
from redense.experiment.shown import read_shown

pytestmark = pytest.mark.xdist_group("audited_images")  # the run of that name is made in one process


def _first_loss(values, loss):
    values["losses"][next(iter(values["losses"]))] = [loss]


TAMPERED = {
    "a loss that is no number": lambda values: _first_loss(values, math.nan),
    "an infinite loss": lambda values: _first_loss(values, math.inf),
    "a negative loss": lambda values: _first_loss(values, -1.0),
    "no weights": lambda values: values["weights"][0].update(size=0),
    "an infinite reach": lambda values: values["weights"][0].update(reach=math.inf),
    "a negative reach": lambda values: values["weights"][0].update(reach=-1e308),
    "no bins": lambda values: values["weights"][0]["states"][0].update(counts=[]),
    "no states": lambda values: values["weights"][0].update(states=[]),
    "negative counts": lambda values: values["weights"][0]["states"][0].update(beyond=-1),
    "more weights than there are": lambda values: values["weights"][0]["states"][0].update(zeros=10**12),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_figures_that_there_cannot_be_are_refused_and_taken_anew(audited_images, tmp_path, what):
    folder = tmp_path / "run"
    shutil.copytree(audited_images, folder, ignore=shutil.ignore_patterns("audit", "*.png", "*.html"))
    before = read_shown(folder)
    values = json.loads((folder / "shown.json").read_text())
    TAMPERED[what](values)
    (folder / "shown.json").write_text(json.dumps(values))
    with pytest.raises(FolderError, match=r"shown\.json: cannot be read as what a report shows of a run \("):
        read_shown(folder)
    assert find(folder).shown == before


def test_when_and_on_what_every_phase_was_trained_is_told(audited_images):
    shown = read_shown(audited_images)
    assert set(shown.environments) == set(shown.checkpoints)
    (date,) = {one.finished[:10] for one in shown.environments.values()}
    page = (audited_images / "report.html").read_text()
    assert f"{date}T" in page.split("Data, versions and machines")[1]
    assert "PyTorch" in page.split("Data, versions and machines")[1]
