"""Training in bfloat16: what is in it, what is not, and that it is as reproducible as float32."""

import copy
import dataclasses
import warnings
from io import StringIO

import numpy as np
import pytest
import torch
from folders import carried_out, checkpoints
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from redense.data.batches import TensorData
from redense.errors import FolderError, ModelError, RecipeError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.dry_run import dry_run
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.local import LocalEngine
from redense.experiment.events import EpochDone
from redense.experiment.export import export
from redense.experiment.optimizers import make_optimizer
from redense.experiment.plan import Job, Training
from redense.experiment.precision import check_precision, logits_in, why_slow
from redense.experiment.prepare import prepare
from redense.experiment.recipe import Recipe
from redense.experiment.resources import Resources
from redense.experiment.run import run
from redense.experiment.trainer import train_epoch
from redense.models.registry import rebuild
from redense.signals import read_signals


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The published network, on images small enough for it to be trained in no time, and easy to tell apart."""
    generator = np.random.default_rng(0)
    y = np.arange(192) % 4
    x = generator.integers(0, 100, (192, 12, 12)).astype(np.uint8)
    for place, label in enumerate(y):
        x[place, 3 * label : 3 * label + 3] += 80
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    np.savez(path, x=x[:128], y=y[:128], x_test=x[128:], y_test=y[128:])
    return Recipe(
        data=str(path), model="fmnist-cnn", sparsities=(0.5,), epochs=(3, 2, 2), batch_size=8, precision="bf16"
    )


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """The folder of its run, to be read."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(recipe, folder, workers=0)
    return folder


def in_float32(recipe):
    return dataclasses.replace(recipe, precision="fp32")


def stored(recipe, folder):
    """The checkpoints of a recipe's jobs in a folder, by phase."""
    return {job.phase.kind: Store(folder).load(job.key) for job in prepare(recipe).jobs}


def by_hand(model, optimizer, x, y, order, batch_size):
    """Train a perceptron for an epoch with every product in bfloat16, written out: the oracle."""
    total = 0.0
    for batch in order.split(batch_size):
        z = x[batch].bfloat16()
        for layer in model[1:]:
            linear = isinstance(layer, nn.Linear)
            z = nn.functional.linear(z, layer.weight.bfloat16(), layer.bias.bfloat16()) if linear else layer(z)
        loss = nn.functional.cross_entropy(z.float(), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(batch)
    return total / len(order)


@settings(max_examples=20)
@given(optimizer=st.sampled_from(["adam", "adamw", "sgd"]), batch_size=st.integers(1, 9), seed=st.integers(0, 1000))
def test_an_epoch_is_what_products_in_bfloat16_of_float32_weights_give(optimizer, batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(30, 7, generator=generator), torch.randint(0, 3, (30,), generator=generator)
    order = torch.randperm(30, generator=generator)
    training = Training("", batch_size, optimizer, 0.01, 0.9, 0.01, "bf16")
    one = nn.Sequential(nn.Flatten(), nn.Linear(7, 20), nn.ReLU(), nn.Linear(20, 3))
    other = copy.deepcopy(one)
    with fixed_arithmetic("cpu"):
        first, second = (make_optimizer(model.parameters(), training) for model in (one, other))
        loss = train_epoch(one, first, x, y, order, batch_size, "bf16")
        assert loss == pytest.approx(by_hand(other, second, x, y, order, batch_size), rel=1e-6)
    for parameter, expected in zip(one.parameters(), other.parameters(), strict=True):
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert torch.equal(parameter, expected)
    moments = [value for state in first.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    assert {value.dtype for value in moments} == {torch.float32}


class Watched(nn.Linear):
    """Writes down what it is asked in."""

    def forward(self, x):
        answer = super().forward(x)
        self.seen = (answer.dtype, torch.is_autocast_enabled("cpu"))
        if answer.requires_grad:
            answer.register_hook(lambda _: self.__setattr__("backward", torch.is_autocast_enabled("cpu")))
        return answer


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_is_around_the_forward_pass_alone(precision, dtype):
    layer = Watched(3, 2)
    logits = logits_in(precision, layer, torch.rand(4, 3))
    assert layer.seen == (dtype, precision == "bf16")
    assert logits.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    nn.functional.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)).backward()
    assert layer.backward is False
    read_signals(layer, torch.rand(4, 3), torch.zeros(4, dtype=torch.int64))
    assert layer.seen == (torch.float32, False)


def test_a_run_has_keys_and_bits_of_its_own_and_an_accuracy_like_the_others(recipe, finished, tmp_path):
    prepared = prepare(in_float32(recipe))
    carried_out(InlineEngine(), prepared, tmp_path / "run")
    assert not {job.key for job in prepared.jobs} & {job.key for job in prepare(recipe).jobs}
    expected = stored(in_float32(recipe), tmp_path / "run")
    for kind, found in stored(recipe, finished).items():
        assert any(not torch.equal(value, expected[kind].model[name]) for name, value in found.model.items())
        accuracy = float(found.test.correct.mean())
        assert accuracy == pytest.approx(float(expected[kind].test.correct.mean()), abs=0.1)
        assert accuracy > 0.8  # of four classes


def test_weights_stay_float32_and_masks_hold(recipe, finished, tmp_path):
    sparse = stored(recipe, finished)["sparse"]
    assert {value.dtype for value in sparse.model.values()} == {torch.float32}
    for name, mask in sparse.masks.items():
        assert float(mask.float().mean()) == pytest.approx(0.5, abs=0.01)
        assert not sparse.model[name][~mask].any()
        assert not sparse.model[name][~mask].signbit().any()
        assert not torch.equal(sparse.model[name], sparse.model[name].bfloat16().float())
    exported = load_file(export(finished, phase="sparse", out=tmp_path / "model.safetensors"))
    assert all(torch.equal(value, exported[name]) for name, value in sparse.model.items())


def test_what_is_read_off_a_model_is_what_its_weights_give_in_float32(recipe, finished):
    dataset, found = prepare(recipe).dataset, stored(recipe, finished)["redense"]
    model, data = rebuild("fmnist-cnn", dataset.input_shape, 4, found.model), TensorData.of(dataset)
    with fixed_arithmetic("cpu"):
        assert np.array_equal(read_signals(model, data.x_train, data.y_train).phi, found.train.phi)
        assert np.array_equal(read_signals(model, data.x_test, data.y_test).phi, found.test.phi)


def test_a_run_stopped_in_one_engine_ends_with_the_same_bits_in_another(recipe, finished, tmp_path):
    prepared = prepare(recipe)
    (tmp_path / "run").mkdir()
    seen = 0
    for event in InlineEngine().run(prepared.jobs, prepared.dataset, Store(tmp_path / "run")):
        seen += isinstance(event, EpochDone)
        if seen == 4:
            break  # within the sparse phase
    carried_out(LocalEngine(1), prepared, tmp_path / "run")
    assert checkpoints(tmp_path / "run") == checkpoints(finished)


def test_jobs_tell_workers_of_it_and_former_jobs_are_in_float32(recipe):
    values = prepare(recipe).jobs[0].to_mapping()
    assert Job.from_mapping(values).training.precision == "bf16"
    del values["training"]["precision"]
    assert Job.from_mapping(values).training.precision == "fp32"


def test_a_folder_has_one_precision(recipe, finished):
    with pytest.raises(FolderError, match="precision was 'bf16' and is now 'fp32'; choose another folder"):
        run(in_float32(recipe), finished, workers=0)


def test_there_is_no_automatic_choice():
    with pytest.raises(RecipeError, match="precision: got 'auto'; expected one of fp32, bf16"):
        Recipe(precision="auto")


class Strict(nn.Linear):
    def forward(self, x):
        return torch.zeros(len(x), 2).index_copy_(1, torch.arange(2), super().forward(x))


def test_a_model_that_cannot_is_refused_before_training():
    check_precision("fp32", "mine:net", Strict(3, 2), torch.zeros(2, 3))
    check_precision("bf16", "mine:net", nn.Linear(3, 2), torch.zeros(2, 3))
    with pytest.raises(
        ModelError, match="precision: got bf16, in which model mine:net raised RuntimeError: .*; use fp32"
    ):
        check_precision("bf16", "mine:net", Strict(3, 2), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("capabilities", "units"),
    [
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": False}, False),
        ({}, False),
    ],
)
def test_units_are_found_by_what_pytorch_tells(monkeypatch, capabilities, units):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert (why_slow("cpu") is None) == units


@pytest.mark.parametrize(("capability", "slow"), [((7, 5), True), ((8, 0), False), ((9, 0), False)])
def test_units_of_gpus(monkeypatch, capability, slow):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert (why_slow("cuda") is not None) == slow


@pytest.fixture
def without_units(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


def printed(recipe, folder, **settings):
    text = StringIO()
    dry_run(recipe, folder, resources=Resources(**settings), console=Console(file=text, width=300))
    return text.getvalue()


@pytest.mark.parametrize(("settings", "warned"), [({}, 1), ({"ray_address": "auto"}, 0)])
def test_a_machine_without_units_is_warned_of_once(recipe, without_units, tmp_path, settings, warned):
    """Of a cluster's machines nothing is known."""
    text = printed(recipe, tmp_path / "run", **settings)
    assert text.count("precision bf16 is slower here") == warned
    assert " on cpu in bf16 (" in text
    assert "bf16" not in printed(in_float32(recipe), tmp_path / "run", **settings)


def test_who_calls_without_a_console_is_warned_too(recipe, without_units, tmp_path):
    short = dataclasses.replace(recipe, epochs=(1, 1, 1), batch_size=64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(short, tmp_path / "run", workers=0)
    (one,) = (warning for warning in caught if "bf16" in str(warning.message))
    assert one.filename == __file__
