"""The one loop that trains a phase, with both kinds of arithmetic and with one made up."""

import dataclasses

import numpy as np
import pytest
import torch

from redense.data.batches import TensorData
from redense.errors import TrainingError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.vectorized import StackTrainer
from redense.experiment.events import EpochDone, Failed, Finished
from redense.experiment.phase_training import train_phase
from redense.experiment.prepare import prepare
from redense.experiment.trainer import PlainTrainer
from redense.signals import Signals

TRAINERS = [PlainTrainer, StackTrainer]


@pytest.fixture
def prepared(recipe):
    changed = {"model": "mlp", "epochs": (3, 1, 1), "audit": ("lira",), "references": 2, "seeds": (0, 1, 2)}
    return prepare(type(recipe)(**{**recipe.to_mapping(), **changed}))


def dense(prepared):
    return [job for job in prepared.jobs if job.parent is None]


def trained(jobs, prepared, root, trainer, **settings):
    data = TensorData.of(prepared.dataset)
    with fixed_arithmetic("cpu"):
        yield from train_phase(jobs, data, Store(root), trainer, **settings)


@pytest.mark.parametrize("which", ["all", "half"])
def test_a_stack_of_one_goes_the_way_of_the_plain_trainer(prepared, tmp_path, which):
    dense_job = next(job for job in dense(prepared) if (job.member_set is None) == (which == "all"))
    sparse_job = next(job for job in prepared.jobs if job.parent == dense_job.key and job.pruning)
    ways = []
    for trainer in TRAINERS:
        root = tmp_path / trainer.__name__
        events = [event for job in (dense_job, sparse_job) for event in trained([job], prepared, root, trainer)]
        ways.append((events, [Store(root).load(job.key) for job in (dense_job, sparse_job)]))
    (plain_events, plain), (stack_events, stack) = ways
    assert [type(event) for event in plain_events] == [EpochDone] * 3 + [Finished, EpochDone, Finished]
    assert [(type(event), event.job) for event in stack_events] == [(type(event), event.job) for event in plain_events]
    for one, other in zip(plain, stack, strict=True):
        assert one.masks.keys() == other.masks.keys()
        assert [epoch.epoch for epoch in one.history] == [epoch.epoch for epoch in other.history]
        for expected, found in zip(one.history, other.history, strict=True):
            assert found.loss == pytest.approx(expected.loss, rel=1e-3)
            assert found.test_accuracy == pytest.approx(expected.test_accuracy, abs=0.05)
        for part in ("train", "test"):
            assert np.abs(getattr(one, part).phi - getattr(other, part).phi).max() < 0.02


@pytest.mark.parametrize("trainer", TRAINERS)
def test_an_epoch_is_stored_once_it_is_reported_and_the_last_one_never(prepared, tmp_path, trainer):
    job, store = dense(prepared)[0], Store(tmp_path)
    stored = []
    for event in trained([job], prepared, tmp_path, trainer):
        progress = store.load_progress(job.key)
        stored.append((type(event), progress.epoch if progress else 0))
    assert stored == [(EpochDone, 0), (EpochDone, 1), (EpochDone, 2), (Finished, 0)]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_nothing_is_stored_before_its_time(prepared, tmp_path, trainer):
    job = dense(prepared)[0]
    for _ in trained([job], prepared, tmp_path, trainer, save_every=3600.0):
        assert Store(tmp_path).load_progress(job.key) is None


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_lone_model_that_diverges_fails_at_once(prepared, tmp_path, trainer):
    job = dense(prepared)[0]
    wild = dataclasses.replace(job, training=dataclasses.replace(job.training, lr=1e30))
    events = list(trained([wild], prepared, tmp_path, trainer))
    assert [type(event) for event in events][-1] == Failed
    assert len(events) < 3, "no epoch follows the one that failed"
    assert "the loss became" in events[-1].reason
    assert "lower the rate (now 1e+30)" in events[-1].reason
    assert Store(tmp_path).load(job.key) is None


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_parent_that_is_gone_is_told(prepared, tmp_path, trainer):
    job = next(job for job in prepared.jobs if job.parent is not None)
    with pytest.raises(TrainingError, match=f"its parent's checkpoint {job.parent} is gone"):
        next(trained([job], prepared, tmp_path, trainer))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_callers_random_numbers_stay_theirs(prepared, tmp_path, trainer):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    list(trained(dense(prepared)[:1], prepared, tmp_path, trainer))
    assert torch.equal(torch.rand(3), expected)


class MadeUp:
    """Three models, of which the first has an infinite loss in its second epoch and the last a NaN in the end."""

    def __init__(self, starts, data):
        self.calls = []

    def train_epoch(self, epoch):
        self.calls.append(epoch)
        return [float("inf") if epoch == 1 else 0.5, 0.25, 0.125]

    def monitor(self):
        return [(Signals.of_phi([1.0]), Signals.of_phi([-1.0]))] * 3

    def everything(self):
        sound, broken = Signals.of_phi([1.0]), Signals.of_phi([float("nan")])
        return [(sound, sound), (sound, sound), (sound, broken)]

    def state(self, place):
        return {"place": torch.tensor(place)}, {}

    def masks_of(self, place):
        return {}


def test_each_model_of_several_ends_by_itself(prepared, tmp_path):
    jobs = dense(prepared)[:3]
    events = list(trained(jobs, prepared, tmp_path, MadeUp))
    found = [(type(event), jobs.index(event.job)) for event in events]
    assert found == [
        *((EpochDone, place) for place in (0, 1, 2)),
        *((Failed, 0), (EpochDone, 1), (EpochDone, 2)),
        *((EpochDone, 1), (EpochDone, 2)),
        *((Finished, 1), (Failed, 2)),
    ]
    assert "the loss became inf in epoch 2 of 3" in events[3].reason
    assert "the trained model gives NaN" in events[-1].reason
    store = Store(tmp_path)
    assert [store.load(job.key) is not None for job in jobs] == [False, True, False]
    checkpoint = store.load(jobs[1].key)
    assert checkpoint.model["place"] == 1
    assert [(epoch.epoch, epoch.loss) for epoch in checkpoint.history] == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert {(epoch.test_accuracy, epoch.inference_accuracy) for epoch in checkpoint.history} == {(0.0, 1.0)}
