"""What ends at a phase's end and at that of training: in frameworks the same as in a loop of one's own."""

import copy
import warnings

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
@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (1, "ended before its time, at epoch 0, in dense, epochs 0 to 1 of 5: 24 weights in 1 tensor are free"),
        (3, "at epoch 2, in sparse 50%, epochs 2 to 3 of 5: 24 weights in 1 tensor are free, 12 of them zero"),
    ],
)
def test_training_that_stops_early_says_so_and_leaves_nothing(way, stop, said, tmp_path):
    calls, model = [], Model()
    with pytest.warns(UserWarning, match=said) as warned:
        dsd = way(model, 5, tmp_path, stop, swaps=False, sparsity=0.5, epochs=(2, 2, 1), on_phase_end=calls.append)
    assert [one.filename for one in warned if "DSD" in str(one.message)] == [way.__code__.co_filename], "who called"
    assert said in str(dsd)
    assert len(calls) == (stop > 2)
    assert dsd.finished
    assert not dsd.masks
    assert not model.net.weight._post_accumulate_grad_hooks


@WAYS
def test_masks_stay_where_training_stops_early_in_the_last_phase_of_a_list_that_ends_sparse(way, tmp_path):
    calls, model = [], Model()
    listed = (phases.dense(1), phases.sparse(3, 0.5))
    with pytest.warns(
        UserWarning, match=r"at epoch 1, in sparse 50%, epochs 1 to 3 of 4: 12 of 24 .* are held at zero"
    ):
        dsd = way(model, 4, tmp_path, 2, swaps=False, phases=listed, on_phase_end=calls.append)
    assert len(calls) == 1
    assert dsd.finished
    assert len(dsd.masks) == 1
    dsd.remove()
    assert not model.net.weight._post_accumulate_grad_hooks


@WAYS
def test_a_training_that_is_whole_says_nothing(way, tmp_path):
    for settings in ({"epochs": (2, 2, 1)}, {"steps": (6, 6, 3)}):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            dsd = way(Model(), 5, tmp_path, swaps=False, sparsity=0.5, **settings)
        assert not [warning for warning in caught if "DSD" in str(warning.message)]
        assert str(dsd) == "DSD: over: 24 weights in 1 tensor are free"


@WAYS
def test_another_model_than_the_masks_at_the_end_is_told_with_the_remedy(way, tmp_path):
    """The worst of all checkpoints, which is dense, or an average that holds what was before the sparse phase."""
    model = Model()
    with pytest.warns(
        UserWarning, match=r"12 of 24 .* zero, but .* of these are not zero in the model now; apply_masks"
    ):
        dsd = way(model, 3, tmp_path, phases=SPARSE_TO_THE_END)
    assert "of these are not zero" in str(dsd)
    dsd.apply_masks(dsd.model)
    assert str(dsd) == "DSD: over: 12 of 24 weights in 1 tensor are held at zero"


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
