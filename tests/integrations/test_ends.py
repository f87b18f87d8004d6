"""What ends at a phase's end and at that of training: in frameworks the same as in a loop of one's own."""

import copy

import pytest
import torch
from integrations.trainers import WAYS, Model, Module, X, in_lightning
from torch.utils.data import DataLoader, TensorDataset

from redense import DSD, methods, phases

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own

SPARSE_TO_THE_END = (phases.dense(1), phases.sparse(2, 0.5))


def by_hand(model, length, folder, **settings):
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    dsd = DSD(model, optimizer, **settings)
    for _ in dsd.epochs() if dsd.unit == "epochs" else range(length):
        for (x,) in DataLoader(TensorDataset(X), batch_size=8):
            optimizer.zero_grad()
            model(x)["loss"].backward()
            optimizer.step()
    return dsd


def told(way, folder, length, settings):
    """Train; return what is told of each phase, with the zeros there."""
    calls = []

    def on_phase_end(dsd):
        calls.append((dsd.phase.label, dsd.progress, int((model.net.weight == 0).sum()), len(dsd.masks)))

    model = Model()
    way(model, length, folder, on_phase_end=on_phase_end, **settings)
    return calls


@WAYS
@pytest.mark.parametrize(
    ("length", "settings", "number"),
    [
        (5, {"sparsity": 0.5, "epochs": (2, 2, 1)}, 3),
        (5, {"sparsity": 0.5, "steps": (4, 7, 4)}, 3),
        (3, {"phases": SPARSE_TO_THE_END}, 2),
        (1, {"phases": SPARSE_TO_THE_END, "unit": "steps"}, 2),
        (20, {"phases": methods.acdc(0.5, 20)}, 16),
    ],
)
def test_each_phases_end_is_told_once_while_its_model_is_there(way, length, settings, number, tmp_path):
    calls = told(way, tmp_path, length, settings)
    assert len(calls) == number
    assert calls == told(by_hand, tmp_path, length, settings)


@WAYS
@pytest.mark.parametrize(("length", "unit"), [(3, "epochs"), (1, "steps")])
def test_masks_of_a_list_that_ends_sparse_hold_after_training(way, length, unit, tmp_path):
    model, copied = Model(), Model()
    dsd = way(model, length, tmp_path, phases=SPARSE_TO_THE_END, unit=unit)
    assert list(dsd.masks) == [name for name, _ in dsd.model.named_parameters() if name.endswith("weight")]
    weight = copied.net.weight
    dsd.apply_masks(Module(copied) if way is in_lightning else copied)
    assert int((weight == 0).sum()) == 12
    dsd.remove()
    assert not dsd.masks
    assert not model.net.weight._post_accumulate_grad_hooks


@WAYS
def test_training_that_stops_early_leaves_nothing_and_ends_no_phase_more(way, tmp_path):
    calls, model = [], Model()
    listed = (phases.dense(1), phases.sparse(3, 0.5))
    dsd = way(model, 4, tmp_path, stop=2, phases=listed, on_phase_end=calls.append)
    assert len(calls) == 1
    assert dsd.finished
    assert not dsd.masks
    assert not model.net.weight._post_accumulate_grad_hooks


@WAYS
def test_a_second_training_of_the_same_model_begins_dense(way, tmp_path):
    model = Model()
    way(model, 3, tmp_path, phases=SPARSE_TO_THE_END)
    zeros = []
    before = copy.deepcopy(model.net.weight)
    way(
        model, 3, tmp_path, phases=SPARSE_TO_THE_END, on_phase_end=lambda _: zeros.append((model.net.weight == 0).sum())
    )
    assert not torch.equal(before, model.net.weight)
    assert [int(found) for found in zeros] == [0, 12]
