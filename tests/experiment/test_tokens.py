"""Runs of models that take integers: text, and all else that begins with an embedding."""

import hashlib
import json
from copy import deepcopy

import numpy as np
import onnxruntime
import pytest
import torch
from factories import Cast, OneHot, Padded, Table, Tokens, texts
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

import redense
from redense.commands.main import main
from redense.data.batches import as_input, examples_to_try
from redense.data.dataset import checked
from redense.errors import ModelError
from redense.experiment.checkpoints import Store
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.local import LocalEngine
from redense.experiment.engines.shared import SharedDataset, attach
from redense.experiment.engines.stacked import why_not_stacked
from redense.experiment.engines.vectorized import VectorizedEngine
from redense.experiment.events import Failed
from redense.experiment.export import export
from redense.experiment.prepare import prepare
from redense.experiment.recipe import Recipe
from redense.experiment.report.layers import layers
from redense.experiment.resources import Resources
from redense.experiment.run import run

SETTINGS = {"sparsities": (0.5,), "epochs": (1, 1, 1), "batch_size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tokens")


def npz(folder, dtype):
    path = folder / f"{np.dtype(dtype).name}.npz"
    (x, y), (x_test, y_test) = texts(dtype=dtype)
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
    return str(path)


def prepared(data, model):
    return prepare(Recipe(data=data, model=f"factories:{model}", **SETTINGS))


def trained_by(engine, found, folder):
    """Train what was prepared; return SHA-256 of every file of weights and signals, by its place in the folder."""
    events = list(engine.run(found.jobs, found.dataset, Store(folder)))
    assert not [event for event in events if isinstance(event, Failed)]
    files = sorted(folder.rglob("*.safetensors"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, ">i4"])
def test_integers_reach_a_model_that_begins_with_an_embedding_as_they_are(folder, dtype):
    found = prepared(npz(folder, dtype), "tokens").dataset
    for kept, stored in zip((found.x_train, found.x_test), (texts()[0][0], texts()[1][0]), strict=True):
        assert kept.dtype == np.int64
        np.testing.assert_array_equal(kept, stored)


@pytest.mark.parametrize(
    ("model", "dtype", "given"),
    [
        ("small", np.int32, np.float32),
        ("small", np.uint8, np.uint8),
        ("table", np.int64, np.float32),  # begins with an embedding, and refuses integers elsewhere
        ("cast_tokens", np.float32, np.float32),
        ("one_hot", np.int64, np.int64),
    ],
)
def test_all_else_gets_numbers_unless_it_refuses_them(folder, model, dtype, given):
    assert prepared(npz(folder, dtype), model).dataset.x_train.dtype == given


@pytest.mark.parametrize("model", [Tokens(), Cast(), Table(), OneHot(), torch.nn.Linear(7, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_an_audit_gives_a_model_what_a_run_gives_it(folder, monkeypatch, model, dtype):
    heard, model = [], deepcopy(model)
    model.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0].clone()))
    monkeypatch.setattr("factories.tokens", lambda: model)
    path = npz(folder, dtype)
    try:
        of_run = as_input(torch.from_numpy(prepared(path, "tokens").dataset.x_train))
    except ModelError:
        assert dtype == np.float32 or (isinstance(model, OneHot) and dtype == np.uint8)
        return
    heard.clear()
    redense.audit(model, members=path, nonmembers=path, attacks=("threshold",), batch_size=96)
    of_audit = next(x for x in reversed(heard) if len(x) == 96)
    assert of_run.dtype == of_audit.dtype
    torch.testing.assert_close(of_audit, of_run, rtol=0, atol=0)


whole = st.sampled_from([np.int8, np.int16, np.uint16, np.int32, np.int64]).flatmap(
    lambda kind: arrays(kind, st.sampled_from([(4, 3), (4, 3, 5), (4, 5, 5, 3), (4, 3, 5, 5)]))
)


@given(x=whole)
@example(x=np.full((4, 3), 2**53 + 1))
def test_data_are_the_same_data_in_whatever_form_they_are_read(x):
    y = np.array([0, 1, 0, 1])
    numbers = checked("mine", (x, y), (x, y))
    kept = checked("mine", (x, y), (x, y), integers=True)
    assert numbers.x_train.dtype == np.float32
    np.testing.assert_array_equal(kept.x_train, x)
    again = kept.as_numbers()
    for name, array in numbers.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array, strict=True)
    if np.abs(x.astype(float)).max() <= 2**24:
        assert kept.fingerprint == numbers.fingerprint
        np.testing.assert_array_equal(kept.parted(0.5).train_places, numbers.parted(0.5).train_places)


def test_integers_that_float32_rounds_are_not_taken_for_each_other():
    y = np.array([0, 1])
    kept = [checked("mine", (x, y), (x, y), integers=True) for x in ([[2**24], [2**24 + 1]], [[2**24], [2**24]])]
    assert kept[0].as_numbers().fingerprint == kept[1].as_numbers().fingerprint
    assert kept[0].fingerprint != kept[1].fingerprint


def test_what_was_trained_on_the_numbers_keeps_its_keys_and_bits(folder):
    """A model that makes integers of what it gets was trained on float32 before integers were kept."""
    floats, integers = (prepared(npz(folder, dtype), "cast_tokens") for dtype in (np.float32, np.int64))
    assert (floats.dataset.x_train.dtype, integers.dataset.x_train.dtype) == (np.float32, np.int64)
    assert [job.key for job in floats.jobs] == [job.key for job in integers.jobs]
    found = [trained_by(InlineEngine(), one, folder / f"{place}") for place, one in enumerate((floats, integers))]
    assert found[0] == found[1] != {}


def test_a_token_without_a_place_in_the_embedding_is_found_before_training(folder):
    with pytest.raises(
        ModelError,
        match=r"few_tokens: inputs of shape \(7,\), integers from 0 to 19, raised IndexError.*; .* from 0 to 9$",
    ):
        prepared("factories:texts", "few_tokens")


def test_an_embedding_with_sparse_gradients_is_refused_before_training():
    with pytest.raises(ModelError, match="got sparse gradients of embedding; expected dense ones: make it with sparse"):
        prepared("factories:texts", "sparse_gradients")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_layers_between_which_padding_is_left_out_have_the_shape_of_padded_texts():
    x = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 0]])
    shapes = {layer.name: layer.output_shape for layer in layers(Padded(), x)}
    assert shapes["embedding"] == (5, 8)
    assert shapes["head"] == (3,)
    assert {len(shape) for name, shape in shapes.items() if name.startswith("encoder")} <= {1, 2}


@given(x=arrays(np.int64, (5, 2, 3), elements=st.integers(-9, 9)), first=st.integers(1, 4))
def test_examples_to_try_hold_the_smallest_and_the_largest_integer(x, first):
    y = np.arange(5) % 2
    data = checked("mine", (x[:first], y[:first] * 0), (x[first:], y[first:] * 0), 2, integers=True)
    tried = examples_to_try(data)
    assert tried.shape == (2, 2, 3)
    assert (int(tried.min()), int(tried.max())) == (x.min(), x.max())
    assert all(any((one == other).all() for other in x) for one in tried.numpy())


@pytest.fixture(scope="module")
def trained(folder):
    """A finished run of a text model with its audits: with queries of noise, which text has none of, and others."""
    settings = {**SETTINGS, "audit": ("lira", "samia", "label-only"), "references": 2}
    recipe = Recipe(data="factories:texts", model="factories:tokens", **settings)
    run(recipe, folder / "run", workers=0)
    return folder / "run"


def test_every_phase_is_trained_and_audited(trained):
    results = redense.Results.load(trained)
    assert [row.phase.kind for row in results.rows] == ["dense", "sparse", "redense"]
    assert results.rows[1].measured_sparsity == pytest.approx(0.5, abs=0.01)
    rows = json.loads((trained / "audit.json").read_text())["rows"]
    assert len(rows) == 3
    names = {attack["attack"] for row in rows for attack in row["result"]["attacks"]}
    assert {"gap", "LiRA online", "SAMIA"} <= names
    assert "label-only" not in names  # there is no way to change a text a little


def test_worker_processes_get_the_same_integers():
    dataset = prepared("factories:texts", "tokens").dataset
    shared = SharedDataset.of(dataset)
    with shared.file:
        found = attach(shared.file.fileno(), shared.description)
        for name, array in dataset.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array, strict=True)


@pytest.mark.evidence
def test_worker_processes_give_the_same_bits(tmp_path):
    found = prepared("factories:texts", "recurrent_tokens")
    (tmp_path / "local").mkdir()
    inline = trained_by(InlineEngine(), found, tmp_path / "inline")
    assert inline == trained_by(LocalEngine(1), found, tmp_path / "local") != {}


def test_models_are_stacked_where_they_can_be(tmp_path):
    recipe = Recipe(data="factories:texts", model="factories:tokens", validation=0.1, seeds=(0, 1), **SETTINGS)
    found = prepare(recipe)
    for name, engine in {"inline": InlineEngine(), "together": VectorizedEngine(models=2)}.items():
        trained_by(engine, found, tmp_path / name)
    for job in found.jobs:
        one, other = (Store(tmp_path / name).load(job.key) for name in ("inline", "together"))
        np.testing.assert_allclose(one.test.phi, other.test.phi, rtol=1e-3, atol=1e-4)
        assert one.history[-1].loss == pytest.approx(other.history[-1].loss, rel=1e-4)
    assert prepare(recipe, resources=Resources(engine="vectorized")).choice.name == "vectorized"
    recurrent = prepared("factories:texts", "recurrent_tokens")
    assert "Batching rule" in why_not_stacked(recurrent.model, examples_to_try(recurrent.dataset))


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("own", [False, True])
def test_onnx_takes_the_tokens(trained, tmp_path, own):
    weights, out = tmp_path / "weights.safetensors", tmp_path / "model.onnx"
    export(trained, phase="sparse", out=weights)
    of_run = [str(trained), "--phase", "sparse", "--format", "onnx", "--trust"]
    of_ones_own = ["--model", "factories:tokens", "--weights", str(weights), "--input", "7", "--classes", "3"]
    main(["export", *(of_ones_own if own else of_run), "--out", str(out)])
    expected = Tokens().eval()
    expected.load_state_dict(load_file(weights))
    x = torch.from_numpy(texts()[1][0])
    (logits,) = onnxruntime.InferenceSession(str(out)).run(None, {"input": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected(x).detach())


def test_a_model_of_ones_own_that_takes_something_else_is_sent_to_python(tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    save_file(OneHot().state_dict(), weights)
    with pytest.raises(SystemExit) as left:
        main(["export", "--model", "factories:one_hot", "--weights", str(weights), "--input", "7", "--classes", "3"])
    assert left.value.code == 2
    assert "as the example of redense.export_onnx(model, example, path)" in capsys.readouterr().err
