"""What a report shows of weights and losses: only figures that there can be are read back."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from folders import resealed
from pages import charts
from safetensors.torch import load_file, save_file

from redense.errors import FolderError
from redense.experiment.found import find
from redense.experiment.report.page import report_html
from redense.experiment.report.weight_charts import weight_charts
from redense.experiment.results import Results
from redense.experiment.shown import read_shown
from redense.experiment.write_report import write_report

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


def _of_states(values, change):
    for weights in values["weights"]:
        weights["states"] = [change(state) for state in weights["states"]]


def _huge(values):
    for weights in values["weights"]:
        weights["size"] += 10**400
        for state in weights["states"]:
            state["beyond"] += 10**400


def _alone(values):
    for weights in values["weights"]:
        weights["states"] = [state for state in weights["states"] if state["phase"]["kind"] == "redense"]


UNFIT = {
    "re-dense phases alone": _alone,
    "more weights than 64 bits count": _huge,
    "a loss beyond 32 bits": lambda values: _first_loss(values, 1e300),
    "controls": lambda values: _of_states(
        values, lambda state: {**state, "phase": {**state["phase"], "kind": "control", "beside": "sparse"}}
    ),
    "more kept than there are": lambda values: _of_states(values, lambda state: {**state, "kept": 10**12}),
    "other states than the first's": lambda values: values["weights"][0]["states"].pop(),
    "counts of 4,300 digits": lambda values: _of_states(
        values, lambda state: {**state, "counts": [int("9" * 4300)] * len(state["counts"])}
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_figures_that_do_not_fit_each_other_are_refused_in_one_line(audited_images, tmp_path, what):
    """Or no chart could be made of them."""
    values = json.loads((audited_images / "shown.json").read_text())
    UNFIT[what](values)
    (tmp_path / "shown.json").write_text(json.dumps(values))
    with pytest.raises(FolderError, match=r"shown\.json: cannot be read as what a report shows of a run \(") as said:
        read_shown(tmp_path)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("size", [3e38, 1e-44])
def test_weights_as_large_and_as_small_as_32_bits_hold_have_their_histogram(audited_images, tmp_path, size):
    folder = tmp_path / "run"
    shutil.copytree(audited_images, folder, ignore=shutil.ignore_patterns("audit", "*.png", "*.html"))
    results = Results.load(folder)
    key = next(row.checkpoint for row in results.rows if row.phase.kind == "dense" and row.seed == 0)
    dense = folder / "checkpoints" / key
    model = load_file(dense / "model.safetensors")
    forged = {name: value.sign() * size if value.dtype == torch.float32 else value for name, value in model.items()}
    save_file(forged, dense / "model.safetensors")
    resealed(dense)
    (folder / "shown.json").unlink()
    assert "weights" in charts(write_report([folder]).read_text())
    for weights in read_shown(folder).weights:
        state = next(state for state in weights.states if state.phase.kind == "dense")
        flat = forged[weights.name].flatten() if weights.name else None
        assert sum(state.counts) + state.zeros + state.beyond == weights.size
        if flat is not None:
            ends = state.counts[0], state.counts[-1]
            assert ends == (int((flat < 0).sum()), int((flat > 0).sum()))


def test_a_run_whose_sparse_phases_are_damaged_has_a_report(audited_images, tmp_path):
    """Rounds of a method whose first sparse checkpoint is damaged: the chain ends before anything is pruned."""
    found = find(audited_images)
    dense_alone = dataclasses.replace(
        found.shown,
        weights=tuple(
            dataclasses.replace(one, states=tuple(state for state in one.states if state.phase.kind == "dense"))
            for one in found.shown.weights
        ),
    )
    assert weight_charts(dense_alone) == []
    assert "What happens to the weights" not in report_html([dataclasses.replace(found, shown=dense_alone)])
