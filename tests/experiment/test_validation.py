"""Examples that validate, and epochs that are chosen by them."""

import dataclasses
from contextlib import suppress

import numpy as np
import pytest
import torch
from factories import arrays
from hypothesis import given
from hypothesis import strategies as st

from redense.data.batches import TensorData
from redense.data.dataset import checked
from redense.errors import DataError, FolderError, Interrupted, RecipeError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.vectorized import StackTrainer
from redense.experiment.events import EpochDone, Finished
from redense.experiment.phase_training import train_phase
from redense.experiment.prepare import prepare
from redense.experiment.recipe import Recipe
from redense.experiment.results import Results
from redense.experiment.run import run
from redense.experiment.trained import Epoch, best_epoch
from redense.experiment.trainer import PlainTrainer, first_eligible


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_takes_every_example_once_and_is_that_of_the_same_data(count, share, seed):
    generator = np.random.default_rng(seed)
    x, y = generator.random((count, 2)), generator.integers(0, 2, count)
    whole = checked("toy", (x, y), (x[:1], y[:1]), 2)
    if not 0 < round(share * count) < count:
        with pytest.raises(DataError, match="expected at least one for validation, and at least one that is left"):
            whole.parted(share)
        return
    parted = whole.parted(share)
    validation = np.setdiff1d(np.arange(count), parted.train_places)
    assert len(validation) == round(share * count)
    for name, places in (("train", parted.train_places), ("validation", validation)):
        assert np.array_equal(getattr(parted, f"x_{name}"), whole.x_train[places])
        assert np.array_equal(getattr(parted, f"y_{name}"), whole.y_train[places])
    again = checked("another name", (x, y), (x[:1], y[:1]), 2).parted(share)
    assert again.fingerprint == parted.fingerprint != whole.fingerprint
    assert whole.parted(0) is whole


def test_the_best_epoch_is_the_first_of_equals_and_one_with_all_its_zeros():
    history = [Epoch(number, 1.0, 0.5, 0.5, accuracy) for number, accuracy in enumerate([0.9, 0.7, 0.8, 0.8], 1)]
    assert [best_epoch(history, first) for first in (1, 2, 3, 4, 5)] == [1, 3, 3, 4, None]
    assert best_epoch([Epoch(1, 1.0, 0.5, 0.5)]) is None


def test_early_and_keep_bring_what_they_need():
    early = Recipe(controls=("early", "longer"))
    assert (early.controls, early.validation) == (("longer", "llr", "early"), 0.1)
    assert Recipe(controls=("early",), rates=(1.0, 1.0, 1.0)).controls == ("longer", "early")
    assert Recipe(controls=("early",), validation=0.2).validation == 0.2
    assert (Recipe(keep="best").validation, Recipe().validation) == (0.1, 0.0)
    with pytest.raises(RecipeError, match="got early with keep best, under which llr is the same.*expected llr"):
        Recipe(keep="best", controls=("early",))
    with pytest.raises(RecipeError, match="expected longer instead"):
        Recipe(keep="best", controls=("early",), rates=(1.0, 1.0, 1.0))
    for share in (-0.1, 1.0):
        with pytest.raises(RecipeError, match="validation: got"):
            Recipe(validation=share)


def small(recipe, **changed):
    """Six epochs of a rate at which the best one is not the last."""
    settings = {"model": "mlp", "sparsities": (0.5,), "epochs": (2, 2, 2), "rates": (1.0, 1.0, 0.5), "lr": 0.02}
    return dataclasses.replace(recipe, **{**settings, **changed})


def jobs_of(recipe):
    prepared = prepare(recipe)
    return prepared, TensorData.of(prepared.dataset)


@pytest.mark.parametrize("trainer", [PlainTrainer, StackTrainer])
@pytest.mark.parametrize("which", ["early", "best", "gradual"])
def test_what_is_kept_is_what_training_to_that_epoch_alone_leaves(recipe, tmp_path, trainer, which):
    changed = {
        "early": {"controls": ("early",), "audit": ("lira",), "references": 2},
        "best": {"keep": "best", "controls": ("llr",)},
        "gradual": {"keep": "best", "method": "prune", "epochs": (2, 8, 6)},
    }[which]
    prepared, data = jobs_of(small(recipe, **changed))
    store, other = Store(tmp_path / "kept"), Store(tmp_path / "stopped")
    kept = []
    with fixed_arithmetic("cpu"):
        for job in prepared.jobs:
            *epochs, last = train_phase([job], data, store, trainer)
            assert isinstance(last, Finished)
            assert len(epochs) == (0 if job.picks else job.phase.epochs)
            found = store.load(job.key)
            if job.phase.keeps is None:
                continue
            source = next(one for one in prepared.jobs if one.key == job.parent) if job.picks else job
            best = best_epoch(store.load(source.key).history, first_eligible(job))
            kept.append((best, job.phase.epochs))
            stopped = dataclasses.replace(source, phase=dataclasses.replace(source.phase, keeps=None))
            if source.parent is not None and not other.has(source.parent):
                given_to = store.load(source.parent)
                other.save(source.parent, {"key": source.parent, "parent": None}, given_to, {})
            left = best + 1  # an epoch is stored when the next event is asked for
            for _ in train_phase([stopped], data, other, trainer):
                left -= 1
                if not left:
                    break
            expected = other.load_progress(source.key) or other.load(source.key)
            assert all(torch.equal(found.model[name], expected.model[name]) for name in expected.model)
            assert len(found.history) == (best if job.picks else job.phase.epochs)
            for name, mask in found.masks.items():
                assert int((~mask).sum()) == round(0.5 * mask.numel())
                assert not found.model[name][~mask].any()
    assert any(best < epochs for best, epochs in kept), "or the last is kept, and nothing is tested"


def test_runs_with_validation_resume_with_the_same_bits_and_say_what_is_kept(recipe, tmp_path, monkeypatch):
    wanted = small(recipe, controls=("early",), seeds=(0, 1))
    whole = run(wanted, tmp_path / "whole", workers=0)
    real, count = InlineEngine.run, 0

    def stopping(self, jobs, dataset, store):
        nonlocal count
        for event in real(self, jobs, dataset, store):
            yield event
            count += isinstance(event, EpochDone)
            if count % 7 == 5:
                count += 1
                raise KeyboardInterrupt

    monkeypatch.setattr(InlineEngine, "run", stopping)
    again = None
    while again is None:
        with suppress(Interrupted):
            again = run(wanted, tmp_path / "again", workers=0)
    assert count > 15, "it was interrupted several times"
    without = [{**row.to_mapping(), "seconds": 0} for row in whole.rows]
    assert [{**row.to_mapping(), "seconds": 0} for row in again.rows] == without
    early = [row for row in again.rows if row.phase.keeps]
    assert [len(row.history) for row in early] == [row.kept_epoch for row in early]
    for row in again.rows:
        assert len(row.validation_history) == len(row.history)
    for row in early:  # the first of the best
        assert row.kept_epoch == 1 + row.validation_history.index(max(row.validation_history))
    assert Results.load(tmp_path / "again").rows == again.rows
    said = " ".join(str(again).split())
    assert "10% of the training examples validate" in said
    assert "Epochs kept, the best by validation: control-early beside re-dense" in said


def test_a_folder_without_a_split_refuses_early(recipe, undisturbed):
    with pytest.raises(FolderError, match=r"validation was 0.0 and is now 0.1.*trained on the examples that would"):
        run(dataclasses.replace(recipe, controls=("early",)), undisturbed, workers=0)


def test_examples_keep_their_places_in_the_data(tmp_path):
    (x, y), test = arrays()
    np.savez(tmp_path / "data.npz", x=x, y=y, x_test=test[0], y_test=test[1])
    recipe = Recipe(
        data=str(tmp_path / "data.npz"),
        model="mlp",
        sparsities=(0.5,),
        epochs=(1, 1, 1),
        validation=0.25,
        audit=("lira",),
        references=2,
    )
    run(recipe, tmp_path / "run", workers=0)
    lines = [line.split(",")[:2] for line in (tmp_path / "run/risks.csv").read_text().splitlines()[1:]]
    places = [int(place) for split, place in lines if split == "train"]
    assert places == prepare(recipe).dataset.train_places.tolist()
    assert len(places) == len(y) - round(0.25 * len(y))
