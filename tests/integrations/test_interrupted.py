"""A training that was interrupted holds nothing of the model's next one."""

import signal

import pytest
import torch
from integrations.trainers import (
    CALLBACKS,
    WAYS,
    Model,
    Module,
    batches,
    in_lightning,
    in_transformers,
    lightning_callback,
    lightning_trainer,
)
from lightning.pytorch.callbacks import OnExceptionCheckpoint

from redense import DSD, ModelError, RecipeError

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own

SAVING = {"enable_checkpointing": True}
SPARSE = 9  # the third step of the sparse phase in both units
BOTH_UNITS = pytest.mark.parametrize("settings", [{"epochs": (2, 2, 1)}, {"steps": (6, 6, 3)}])
ANEW = [12] + [0] * 5 + [12] * 7 + [0] * 2  # the first step of each phase without masks begins with their zeros


@pytest.fixture(autouse=True)
def _interruptible():
    """Lightning ignores Ctrl-C for good once it has seen one."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def interrupted(way, folder, error, callback=None, **settings):
    """Train into the sparse phase; return the model and the exception, as a notebook keeps it."""
    model = Model(SPARSE, error)
    with pytest.raises((type(error), SystemExit)) as kept:
        way(model, 5, folder, callback=callback, sparsity=0.5, **settings)
    assert model.zeros == [0] * 6 + [12] * 3
    model.zeros, model.fails_at = [], None
    return model, kept


@WAYS
@BOTH_UNITS
@pytest.mark.parametrize(
    ("error", "same"),
    [(RuntimeError("broken"), False), (KeyboardInterrupt(), True)],
    ids=["another callback", "same callback"],
)
def test_the_next_training_begins_anew(way, settings, error, same, tmp_path):
    callback = CALLBACKS[way](sparsity=0.5, **settings)
    model, _kept = interrupted(way, tmp_path, error, callback)
    way(model, 5, tmp_path / "next", callback=callback if same else None, sparsity=0.5, **settings)
    assert model.zeros == ANEW


@BOTH_UNITS
def test_in_lightning_the_next_training_without_dsd_is_free(settings, tmp_path):
    model, _kept = interrupted(in_lightning, tmp_path, RuntimeError("broken"), **settings)
    lightning_trainer(2, []).fit(Module(model), batches())
    assert model.zeros == [12] + [0] * 5


def test_in_transformers_remove_frees_the_model(tmp_path):
    callback = CALLBACKS[in_transformers](sparsity=0.5, epochs=(2, 2, 1))
    model, _kept = interrupted(in_transformers, tmp_path, RuntimeError("broken"), callback)
    callback.dsd.remove()
    assert not model.net.weight._post_accumulate_grad_hooks


@BOTH_UNITS
def test_a_checkpoint_of_the_exception_holds_the_phases(settings, tmp_path):
    saving = OnExceptionCheckpoint(tmp_path)
    model, error = Model(SPARSE, RuntimeError("broken")), pytest.raises(RuntimeError)
    with error:
        in_lightning(model, 5, tmp_path, sparsity=0.5, others=[saving], options=SAVING, **settings)
    pruned = model.net.weight == 0
    resumed = Model(4, RuntimeError("enough"))
    callback = lightning_callback(sparsity=0.5, **settings)
    with pytest.raises(RuntimeError, match="enough"):
        lightning_trainer(5, [callback]).fit(Module(resumed), batches(), ckpt_path=tmp_path / "on_exception.ckpt")
    assert resumed.zeros[0] == 12
    assert torch.equal(resumed.net.weight == 0, pruned)


def test_a_checkpoint_is_of_one_training_only(tmp_path):
    callback = lightning_callback(sparsity=0.5, epochs=(2, 2, 1))
    saving = OnExceptionCheckpoint(tmp_path)
    with pytest.raises(RuntimeError):
        in_lightning(Model(SPARSE, RuntimeError()), 5, tmp_path, callback=callback, others=[saving], options=SAVING)
    lightning_trainer(5, [callback]).fit(Module(Model()), batches(), ckpt_path=tmp_path / "on_exception.ckpt")
    model = Model()
    in_lightning(model, 5, tmp_path, callback=callback)
    assert model.zeros == [0, *ANEW[1:]]


def test_a_trainer_that_looks_for_its_batch_size_begins_anew(tmp_path):
    model = Model(SPARSE, RuntimeError("CUDA out of memory."))
    options = {"auto_find_batch_size": True}
    dsd = in_transformers(model, 5, tmp_path, sparsity=0.5, epochs=(2, 2, 1), options=options)
    assert dsd.finished
    assert model.zeros[SPARSE:] == [12] + [0] * 7 + [12] * 9 + [0] * 3  # four batches an epoch


def test_two_in_one_training_are_refused(tmp_path):
    """Lightning refuses them itself."""
    settings = {"sparsity": 0.5, "epochs": (2, 2, 1)}
    with pytest.raises(ModelError, match=r"this AdamW has a DSD that is not over"):
        in_transformers(Model(), 5, tmp_path, others=[CALLBACKS[in_transformers](**settings)], **settings)


@WAYS
def test_one_that_does_not_fit_the_training_leaves_nothing(way, tmp_path):
    model = Model()
    with pytest.raises(RecipeError, match="make them equal") as _kept:
        way(model, 5, tmp_path, sparsity=0.5, epochs=(2, 2, 2))
    DSD(model, torch.optim.SGD(model.parameters(), 0.1), sparsity=0.5, epochs=(1, 1, 1))


@WAYS
def test_a_loop_of_ones_own_that_is_not_over_is_not_taken_over(way, tmp_path):
    model = Model()
    dsd = DSD(model, torch.optim.SGD(model.parameters(), 0.1), sparsity=0.5, epochs=(1, 1, 1))
    with pytest.raises(ModelError, match=r"another optimizer \(SGD\) of its weights has a DSD that is not over"):
        way(model, 5, tmp_path, sparsity=0.5, epochs=(2, 2, 1))
    assert not dsd.finished
