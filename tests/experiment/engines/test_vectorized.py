"""The vectorised engine against the plain trainer, which is its oracle."""

import copy
import math
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from folders import carried_out
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import redense.experiment.engines.vectorized
from redense.data.members import included
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.stacked import Stack, why_not_stacked
from redense.experiment.engines.vectorized import VectorizedEngine
from redense.experiment.events import EpochDone, Failed, Finished, Retried
from redense.experiment.optimizers import OPTIMIZERS, make_optimizer
from redense.experiment.plan import Training
from redense.experiment.prepare import prepare
from redense.experiment.trainer import train_epoch, trainable
from redense.models.registry import build
from redense.sparsity.enforce import masked
from redense.sparsity.masks import magnitude_masks

STEPS = 8
TOLERANCE = 1e-2
"""Of the way that eight steps have moved the weights. The order of sums differs, nothing else; but Adam's first step
moves a weight by the whole rate in the direction of a gradient that may be nothing but rounding."""
TIED = 0.1
"""Where two inputs of a pool are equal but for rounding: either may be the largest, and then gradients differ."""
ROUNDING = 1e-6
"""Of the larger one: what two orders of sums may be apart."""


@contextmanager
def pools_watched(model):
    """Collect, for each pass through a pool, whether the two largest of a window are all but equal, and above 0."""
    ties = []

    def watch(pool, inputs):
        windows = inputs[0].detach().unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
        first, second = windows.topk(2).values.unbind(-1)
        ties.append(bool(((first > 0) & (first - second < ROUNDING * first)).any()))

    hooks = [pool.register_forward_pre_hook(watch) for pool in model.modules() if isinstance(pool, torch.nn.MaxPool2d)]
    yield ties
    for hook in hooks:
        hook.remove()


def flat(state):
    return torch.cat([value.flatten() for _, value in sorted(state.items())])


def apart(found, expected, start):
    """How far two trained models are from each other, as a fraction of how far training has moved the second."""
    return float((flat(found) - flat(expected)).norm() / (flat(expected) - flat(start)).norm())


@settings(max_examples=25)
@given(
    models=st.integers(1, 5),
    optimizer=st.sampled_from([name for name, kind in OPTIMIZERS.items() if kind.elementwise]),
    weight_decay=st.sampled_from([0.0, 0.01]),
    batch_size=st.integers(1, 9),
    shares=st.lists(st.sampled_from([1.0, 1.0, 0.75, 0.4]), min_size=5, max_size=5),
    name=st.sampled_from(["mlp", "fmnist-cnn"]),
    seed=st.integers(0, 1000),
)
@example(1, "adam", 0.0, 7, [1.0] * 5, "fmnist-cnn", 202)
@example(2, "adam", 0.0, 1, [1.0] * 5, "fmnist-cnn", 252)
def test_a_stack_trains_every_model_as_the_plain_trainer_does(
    models, optimizer, weight_decay, batch_size, shares, name, seed
):
    generator = torch.Generator().manual_seed(seed)
    shape = (6,) if name == "mlp" else (1, 10, 10)
    examples = min(40, STEPS * batch_size)
    x = torch.randint(0, 256, (60, *shape), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, 3, (60,), generator=generator)
    lengths = [math.ceil(share * examples) for share in shares[:models]]
    orders = [torch.randperm(60, generator=generator)[:length] for length in lengths]
    rates = [0.01 if optimizer == "sgd" else 1e-3, 1e-4]
    trainings = [Training(name, batch_size, optimizer, rates[k % 2], 0.9, weight_decay) for k in range(models)]
    plain = [build(name, shape, 3, seed=k) for k in range(models)]
    starts = [copy.deepcopy(model.state_dict()) for model in plain]
    masks = [magnitude_masks(model, sparsity=0.2 * k) if k else {} for k, model in enumerate(plain)]
    with fixed_arithmetic("cpu"):
        stack = Stack(copy.deepcopy(plain[0]), [model.state_dict() for model in plain], masks, trainings, x, y)
        losses = stack.train_epoch(orders, batch_size)
        for k, model in enumerate(plain):
            adam = make_optimizer(trainable(model), trainings[k])
            with pools_watched(model) as ties, masked(model, adam, masks[k]) if masks[k] else torch.enable_grad():
                loss = train_epoch(model, adam, x, y, orders[k], batch_size)
            tolerance = TIED if any(ties) else TOLERANCE
            assert losses[k] == pytest.approx(loss, rel=5e-3 * tolerance)
            state = stack.state(k)
            assert state.keys() == model.state_dict().keys()
            assert apart(state, model.state_dict(), starts[k]) < tolerance
            for key, mask in masks[k].items():
                assert not state[key][~mask].any()
                assert not state[key][~mask].signbit().any()
            answers = stack.logits(orders)[k]
            model.eval()
            expected = model(x[orders[k]].float() / 255).detach()
            assert (answers - expected).norm() < tolerance * expected.norm()


@settings(max_examples=6)
@given(st.sampled_from(["sgd", "adam"]), st.sampled_from(["mlp", "fmnist-cnn"]), st.integers(0, 1000))
def test_a_stack_in_bfloat16_trains_as_the_plain_trainer_does_in_it(optimizer, name, seed):
    """Within rounding, of which there is more: a sum in another order may come out as the next of 256 values."""
    generator = torch.Generator().manual_seed(seed)
    shape = (6,) if name == "mlp" else (1, 10, 10)
    x = torch.randint(0, 256, (60, *shape), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, 3, (60,), generator=generator)
    orders = torch.stack([torch.randperm(60, generator=generator)[:40] for _ in range(3)])
    training = Training(name, 5, optimizer, 0.01 if optimizer == "sgd" else 1e-3, 0.9, 0.0, "bf16")
    plain = [build(name, shape, 3, seed=k) for k in range(3)]
    starts = [copy.deepcopy(model.state_dict()) for model in plain]
    masks = [magnitude_masks(model, sparsity=0.2 * k) if k else {} for k, model in enumerate(plain)]
    distances = []
    with fixed_arithmetic("cpu"):
        stack = Stack(copy.deepcopy(plain[0]), starts, masks, [training] * 3, x, y)
        losses = stack.train_epoch(list(orders), 5)
        for k, model in enumerate(plain):
            chosen = make_optimizer(trainable(model), training)
            with masked(model, chosen, masks[k]) if masks[k] else torch.enable_grad():
                loss = train_epoch(model, chosen, x, y, orders[k], 5, "bf16")
            assert losses[k] == pytest.approx(loss, rel=0.01)
            state = stack.state(k)
            assert {value.dtype for value in state.values()} == {torch.float32}
            assert not any(state[key][~mask].any() for key, mask in masks[k].items())
            distances.append(apart(state, model.state_dict(), starts[k]))
    assert np.median(distances) < 0.35  # of how far training went; .20 is the most of 160 seeds, other training is at 1


class Telling(torch.nn.Linear):
    """Writes down what it answers in."""

    def forward(self, x):
        answer = super().forward(x)
        self.dtype = answer.dtype
        return answer


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_stack_is_trained_in_its_precision_and_asked_in_float32(precision, dtype):
    layer = Telling(6, 3)
    training = Training("", 4, "sgd", 0.1, 0.0, 0.0, precision)
    x, y = torch.rand(8, 6), torch.randint(0, 3, (8,))
    stack = Stack(layer, [layer.state_dict()] * 2, [{}, {}], [training] * 2, x, y)
    stack.train_epoch([torch.arange(8)] * 2, 4)
    assert layer.dtype == dtype
    assert all(answer.dtype == torch.float32 for answer in stack.logits([torch.arange(8)] * 2))
    assert layer.dtype == torch.float32


@settings(max_examples=8)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    batch_size=st.integers(1, 9),
    optimizer=st.sampled_from(["adam", "adamw", "sgd"]),
    seed=st.integers(0, 1000),
)
def test_a_model_is_done_with_its_own_examples_whatever_its_neighbours_do(lengths, batch_size, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(30, 6, generator=generator), torch.randint(0, 3, (30,), generator=generator)
    orders = [torch.randperm(30, generator=generator)[:length] for length in lengths]
    training = Training("mlp", batch_size, optimizer, 0.01, 0.9, 0.01)
    models = [build("mlp", (6,), 3, seed=k) for k in range(len(lengths))]
    masks = [magnitude_masks(model, sparsity=0.3 * (k % 3)) if k % 3 else {} for k, model in enumerate(models)]

    def after_an_epoch(places):
        """Train a stack of some of the models; their weights, what the optimizer knows of them, and their losses."""
        some = [models[place] for place in places]
        states, kept = [model.state_dict() for model in some], [masks[place] for place in places]
        stack = Stack(copy.deepcopy(some[0]), states, kept, [training] * len(some), x, y)
        losses = stack.train_epoch([orders[place] for place in places], batch_size)
        return [(stack.state(k), stack.optimizer_state(k), losses[k]) for k in range(len(some))]

    with fixed_arithmetic("cpu"):
        together = after_an_epoch(range(len(models)))
        for k, (state, moments, loss) in enumerate(together):
            ((alone, moments_alone, loss_alone),) = after_an_epoch([k])
            assert loss == pytest.approx(loss_alone, rel=1e-5)
            assert apart(state, alone, models[k].state_dict()) < TOLERANCE
            assert moments.keys() == moments_alone.keys()
            for name, value in moments.items():
                assert torch.allclose(value, moments_alone[name], rtol=1e-3, atol=1e-6)
                assert not name.endswith("step") or value == -(-lengths[k] // batch_size)


def test_without_layers_of_its_own_as_on_a_gpu_a_stack_does_the_same():
    x, y = torch.rand(40, 1, 10, 10), torch.randint(0, 3, (40,))
    models = [build("fmnist-cnn", (1, 10, 10), 3, seed=k) for k in range(3)]
    states = [model.state_dict() for model in models]
    training = Training("fmnist-cnn", 4, "sgd", 0.01, 0.9, 0.0)
    found = []
    for layers in (None, nullcontext()):
        stack = Stack(models[0], states, [{}] * 3, [training] * 3, x, y)
        stack._layers = layers or stack._layers
        stack.train_epoch([torch.arange(40), torch.arange(30), torch.arange(9)], 4)
        found.append([stack.state(k) for k in range(3)])
    for own, native, start in zip(*found, states, strict=True):
        assert apart(own, native, start) < TOLERANCE


def test_what_a_neighbour_does_later_changes_no_bit():
    x, y = torch.rand(30, 6), torch.randint(0, 3, (30,))
    models = [build("mlp", (6,), 3, seed=k) for k in range(2)]
    masks = [magnitude_masks(model, sparsity=0.5) for model in models]
    training = Training("mlp", 4, "adamw", 0.01, 0.9, 0.1)
    found = []
    for length in (8, 30):
        stack = Stack(models[0], [model.state_dict() for model in models], masks, [training] * 2, x, y)
        stack.train_epoch([torch.arange(8), torch.arange(length)], 4)
        found.append((stack.state(0), stack.optimizer_state(0), stack.state(1)))
    (state, moments, other), (state_later, moments_later, other_later) = found
    assert all(torch.equal(value, state_later[name]) for name, value in state.items())
    assert all(torch.equal(value, moments_later[name]) for name, value in moments.items())
    assert not torch.equal(flat(other), flat(other_later))


class ScaledFirst(nn.Module):
    """Its first parameter has one number and no dimension, as counts of steps have none."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(self.scale * x)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_what_an_optimizer_knows_comes_back_whatever_shapes_its_parameters_have(optimizer):
    x, y = torch.rand(20, 6), torch.randint(0, 3, (20,))
    training = Training("mlp", 4, optimizer, 0.01, 0.9, 0.0)
    stacks = [Stack(ScaledFirst(), [ScaledFirst().state_dict()], [{}], [training], x, y) for _ in range(2)]
    stacks[0].train_epoch([torch.arange(20)], 4)
    kept = stacks[0].optimizer_state(0)
    stacks[1].load_optimizer_state(0, kept)
    again = stacks[1].optimizer_state(0)
    assert kept.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in kept.items())


@pytest.fixture
def prepared(recipe):
    changed = {
        **recipe.to_mapping(),
        "model": "mlp",
        "seeds": (0, 1, 2),
        "controls": ("longer", "llr"),
        "audit": ("lira",),
        "references": 2,
        "protocols": ("all", "half"),
    }
    return prepare(type(recipe)(**changed))


def test_the_engine_gives_what_the_plain_one_gives(prepared, tmp_path):
    carried_out(InlineEngine(), prepared, tmp_path / "plain")
    events = carried_out(VectorizedEngine(models=5), prepared, tmp_path / "stacked")
    ended = [event.job.key for event in events if isinstance(event, Finished)]
    assert sorted(ended) == sorted(job.key for job in prepared.jobs)
    epochs = [(event.job.key, event.epoch.epoch) for event in events if isinstance(event, EpochDone)]
    assert sorted(epochs) == sorted(
        (job.key, epoch) for job in prepared.jobs for epoch in range(1, job.phase.epochs + 1)
    )
    differences = []
    for job in prepared.jobs:
        plain, stacked = (Store(tmp_path / name).load(job.key) for name in ("plain", "stacked"))
        difference = (flat(stacked.model) - flat(plain.model)).norm() / flat(plain.model).norm()
        differences.append(float(difference))
        assert stacked.masks.keys() == plain.masks.keys()
        for part in ("train", "test"):
            phi, expected = getattr(stacked, part).phi, getattr(plain, part).phi
            assert np.abs(phi - expected).max() < 0.02
        for entry, expected in zip(stacked.history, plain.history, strict=True):
            assert entry.loss == pytest.approx(expected.loss, rel=1e-3)
            assert entry.inference_accuracy == pytest.approx(expected.inference_accuracy, abs=0.05)
    assert np.median(differences) < 1e-5
    assert max(differences) < TOLERANCE


def test_models_of_different_numbers_of_examples_share_a_stack(prepared, tmp_path):
    jobs = [job for job in prepared.jobs if job.parent is None]
    numbers = {int(included(job.member_set, 1, 100).sum()) for job in jobs}
    assert len(numbers) > 2, "of all training data, of chance halves and of exact halves"
    (tmp_path / "run").mkdir()
    events = VectorizedEngine().run(jobs, prepared.dataset, Store(tmp_path / "run"))
    assert {next(events).job.key for _ in jobs} == {job.key for job in jobs}
    assert isinstance(next(events), EpochDone)
    events.close()


def test_an_interrupted_stack_goes_on_from_its_stored_epoch(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(redense.experiment.engines.vectorized, "SAVED_EVERY", 0.0)
    jobs = [job for job in prepared.jobs if job.parent is None and job.member_set is None]
    carried_out(VectorizedEngine(), prepared, tmp_path / "whole", jobs)
    (tmp_path / "cut").mkdir()
    events = VectorizedEngine().run(jobs, prepared.dataset, Store(tmp_path / "cut"))
    seen = [next(events) for _ in range(2 * len(jobs) + 1)]  # the second epoch has been reported for one of them
    events.close()
    assert [event.epoch.epoch for event in seen if isinstance(event, EpochDone)] == [1, 1, 1, 2]
    again = carried_out(VectorizedEngine(), prepared, tmp_path / "cut", jobs)
    assert [event.epoch.epoch for event in again if isinstance(event, EpochDone)] == [2, 2, 2]
    for job in jobs:
        whole, cut = (Store(tmp_path / name).load(job.key) for name in ("whole", "cut"))
        assert all(torch.equal(value, cut.model[name]) for name, value in whole.model.items())


def test_a_model_that_diverges_fails_alone(recipe, tmp_path):
    both = [
        prepare(type(recipe)(**{**recipe.to_mapping(), "model": "mlp", "optimizer": "sgd", "lr": lr}))
        for lr in (0.01, 1e30)
    ]
    jobs = [prepared.jobs[0] for prepared in both]
    events = carried_out(VectorizedEngine(), both[0], tmp_path / "run", jobs)
    assert [event.job for event in events if isinstance(event, Finished)] == jobs[:1]
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert failed.job == jobs[1]
    assert "the loss became" in failed.reason


def test_too_many_models_for_the_memory_are_split(prepared, tmp_path, monkeypatch):
    whole = redense.experiment.engines.vectorized.Stack

    def small_memory(template, states, *others):
        if len(states) > 2:
            raise torch.OutOfMemoryError("no more")
        return whole(template, states, *others)

    monkeypatch.setattr(redense.experiment.engines.vectorized, "Stack", small_memory)
    jobs = [job for job in prepared.jobs if job.parent is None and job.member_set is None]
    events = carried_out(VectorizedEngine(), prepared, tmp_path / "run", jobs)
    assert [type(event) for event in events].count(Finished) == 3
    retried = [event for event in events if isinstance(event, Retried)]
    assert len(retried) == 3
    assert retried[0].reason == "3 models at once do not fit into memory; 1 from now on"


class Randomness(torch.nn.Module):
    def forward(self, x):
        return x * torch.rand_like(x)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (torch.nn.Identity(), None),
        (torch.nn.BatchNorm1d(6, track_running_stats=False), None),
        (torch.nn.LayerNorm(6), None),
        (torch.nn.BatchNorm1d(6), "it changes its buffer 1.running_mean in training"),
        (torch.nn.Dropout(0.5), "random"),
        (Randomness(), "random"),
    ],
)
def test_what_cannot_be_stacked_is_told(module, reason):
    model = torch.nn.Sequential(torch.nn.Linear(6, 6), module, torch.nn.Linear(6, 3))
    before = copy.deepcopy(model.state_dict())
    found = why_not_stacked(model, torch.zeros(2, 6))
    assert (found is None) if reason is None else (reason in found)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_tied_and_frozen_weights_stay_so(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Linear(6, 6), torch.nn.Linear(6, 3))
    model[1].weight = model[0].weight
    model[2].bias.requires_grad_(False)
    assert why_not_stacked(model, torch.zeros(2, 6)) is None
    training = Training("", 4, "sgd", 0.1, 0.0, 0.0)
    x, y = torch.rand(8, 6), torch.randint(0, 3, (8,))
    stack = Stack(model, [model.state_dict()] * 2, [{}, {}], [training] * 2, x, y)
    stack.train_epoch([torch.arange(8)] * 2, 4)
    state = stack.state(1)
    assert torch.equal(state["0.weight"], state["1.weight"])
    assert not torch.equal(state["0.weight"], model[0].weight)
    assert torch.equal(state["2.bias"], model[2].bias)
