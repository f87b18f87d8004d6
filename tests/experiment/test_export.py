import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import redense
from redense.commands.main import main
from redense.errors import FolderError, RecipeError
from redense.experiment.checkpoints import Store
from redense.experiment.export import export
from redense.experiment.export_formats import FORMATS, Format
from redense.experiment.export_settings import ExportSettings, file_name
from redense.experiment.results import Results
from redense.models.registry import build
from redense.phases import Phase

SHORT = {"sparsities": (0.5,), "epochs": (1, 1, 1)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with two sparsities and two seeds."""
    from factories import arrays

    folder = tmp_path_factory.mktemp("export")
    (x, y), (x_test, y_test) = arrays()
    np.savez(folder / "data.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    settings = {"sparsities": (0.5, 0.8), "epochs": (1, 1, 1), "seeds": (3, 4), "rounds": 2}
    settings["controls"] = ("longer", "llr")
    redense.run(redense.Recipe(data=str(folder / "data.npz"), model="mlp", **settings), folder / "run", workers=0)
    return folder / "run"


def test_every_name_has_a_line():
    assert tuple(FORMATS) == get_args(Format)


@pytest.mark.parametrize("phase", ["dense", "sparse", "redense"])
@pytest.mark.parametrize("format", ["safetensors", "bitmask"])
def test_states_load_with_plain_pytorch(run, phase, format, tmp_path):
    path = export(run, phase=phase, sparsity=0.8, seed=4, format=format, out=tmp_path / "model")
    state = load_file(path) if format == "safetensors" else redense.load_sparse(path)
    model = build("mlp", (6,), 3)
    model.load_state_dict(state)
    sparsity = redense.measure_sparsity(model)
    assert sparsity == pytest.approx(0.8, abs=0.01) if phase == "sparse" else sparsity < 0.8


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("phase", ["dense", "sparse", "redense"])
def test_onnx_gives_pytorchs_logits(run, phase, tmp_path):
    import onnxruntime

    path = export(run, phase=phase, sparsity=0.8, format="onnx", out=tmp_path / "model.onnx")
    model = build("mlp", (6,), 3)
    model.load_state_dict(load_file(export(run, phase=phase, sparsity=0.8, out=tmp_path / "state")))
    x = torch.randn(11, 6)
    (logits,) = onnxruntime.InferenceSession(str(path)).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(logits, model.eval()(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phase": "sparse"}, r"sparsity: got none; expected one of 0.5, 0.8"),
        ({"phase": "sparse", "sparsity": 0.7}, "sparsity: got 0.7 for sparse; expected 0.5, 0.8"),
        ({"phase": "dense", "seed": 9}, "seed: got 9 for dense; expected 3, 4"),
        ({"phase": "sparse", "sparsity": 0.5, "round": 3}, "round: got 3 for sparse; expected 1, 2"),
        ({"phase": "control"}, "lineage: got none; expected one of control-longer, control-llr"),
        ({"phase": "finetuned"}, "phase: got 'finetuned'; expected one of dense, sparse, redense, control"),
        ({"lineage": "acdc"}, "lineage: got acdc; expected dsd, control-longer, control-llr"),
        ({"phase": "dense", "beside": "sparse"}, "beside: got sparse for dense; expected another phase"),
        ({"format": "pickle"}, "format: got 'pickle'; expected one of safetensors, bitmask, onnx"),
    ],
)
def test_phases_the_run_does_not_have(run, arguments, message):
    with pytest.raises(RecipeError, match=message):
        export(run, **arguments)


def test_every_row_can_be_named_and_has_a_file_of_its_own(run):
    rows = Results.load(run).rows
    assert {row.phase.kind for row in rows} == {"dense", "sparse", "redense", "control"}
    assert len({row.phase.lineage for row in rows}) == 3
    for row in rows:
        phase = row.phase
        names = {name: getattr(phase, name) for name in ("lineage", "sparsity", "beside", "round")}
        assert ExportSettings(phase=phase.kind, seed=row.seed, **names).row(rows) == row
    assert len({file_name(row, format) for row in rows for format in FORMATS}) == len(rows) * len(FORMATS)


def test_what_is_not_asked_for_is_the_last_phase_of_the_method_and_the_first_seed(run):
    rows = Results.load(run).rows
    chosen = ExportSettings(sparsity=0.8).row(rows)
    assert (chosen.phase.kind, chosen.phase.round, chosen.phase.lineage, chosen.seed) == ("redense", 2, "dsd", 3)
    control = ExportSettings(lineage="control-longer").row(rows)
    assert (control.phase.kind, control.phase.beside, control.phase.round) == ("control", "redense", 2)
    assert ExportSettings(phase="dense").row(rows) == rows[0]


def test_rows_of_another_method_can_be_exported(run):
    """Nothing about one method's lineage or phases is known beforehand."""
    first, *_ = Results.load(run).rows
    phases = [
        Phase("sparse", 1, 1.0, 0.5, 1, "other"),
        Phase("dense", 1, 1.0, None, 1, "other"),
        Phase("sparse", 1, 1.0, 0.5, 2, "other"),
    ]
    rows = [dataclasses.replace(first, phase=phase) for phase in phases]
    assert ExportSettings().row(rows) == rows[2]
    assert ExportSettings(phase="sparse", round=1).row(rows) == rows[0]
    assert ExportSettings(phase="dense").row(rows) == rows[1]


def test_a_control_is_exported(run, tmp_path):
    arguments = {"lineage": "control-longer", "beside": "sparse", "round": 1, "seed": 4}
    path = export(run, **arguments)
    assert path.name == "control-longer-beside-sparse-seed-4.safetensors"
    row = ExportSettings(**arguments).row(Results.load(run).rows)
    stored = Store(run).load(row.checkpoint).model
    assert all(torch.equal(tensor, stored[name]) for name, tensor in load_file(path).items())


def test_folders_that_are_no_run(run, tmp_path):
    with pytest.raises(FolderError, match="no results.json"):
        export(tmp_path)
    with pytest.raises(FolderError, match="its folder does not exist"):
        export(run, sparsity=0.5, out=tmp_path / "nowhere" / "file")


def test_the_command(run, capsys):
    main(["export", str(run), "--phase", "sparse", "--sparsity", "0.5", "--round", "1", "--format", "bitmask"])
    path = run / "sparse-50-seed-3.bitmask.safetensors"
    assert capsys.readouterr().out == f"Written: {path}, {path.stat().st_size:,} bytes\n"
    with pytest.raises(SystemExit) as end:
        main(["export", str(run), "--phase", "sparse", "--sparsity", "0.6"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "redense: sparsity: got 0.6 for sparse; expected 0.5, 0.8\n"


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_onnx_of_a_model_that_took_grey_images_for_what_they_show(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8).repeat(3, axis=1)
    np.savez(tmp_path / "grey.npz", x=x[:8], y=np.arange(8) % 2, x_test=x[8:], y_test=np.arange(4) % 2)
    recipe = redense.Recipe(data=str(tmp_path / "grey.npz"), model="factories:one_channel", **SHORT)
    redense.run(recipe, tmp_path / "run", workers=0)
    path = export(tmp_path / "run", phase="dense", format="onnx", trust=True)
    import onnxruntime

    assert onnxruntime.InferenceSession(str(path)).get_inputs()[0].shape[1:] == [1, 8, 8]
