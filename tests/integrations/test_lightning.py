import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from redense import RedenseError, TrainingError
from redense.integrations.lightning import DSDCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # the framework's own

DATA = TensorDataset(torch.randn(24, 6, generator=torch.Generator().manual_seed(0)))


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(6, 4)
        self.zeros = []

    def training_step(self, batch, _):
        return self.net(batch[0]).square().mean()

    def validation_step(self, batch, _):
        return None

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)

    def on_train_epoch_end(self):
        self.zeros.append(int((self.net.weight == 0).sum()))


class TwoOptimizers(Module):
    automatic_optimization = False

    def training_step(self, batch, _):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.net(batch[0]).square().mean())
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD([self.net.weight], 0.1), torch.optim.SGD([self.net.bias], 0.1)]


class Scheduled(Module):
    """Its rate falls with every step; its batches are equal, as Lightning begins a loader anew within an epoch."""

    def training_step(self, *_):
        return super().training_step(DATA.tensors, 0)

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Critics(Module):
    """Its second optimizer makes two steps in a turn, after the first."""

    automatic_optimization = False

    def __init__(self):
        super().__init__()
        self.phases = []

    def training_step(self, batch, _):
        first, second = self.optimizers()
        phases = []
        for optimizer in (first, second, second):
            optimizer.zero_grad()
            self.manual_backward(self.net(batch[0]).square().mean())
            phases.append(self.trainer.callbacks[0].dsd.phase.kind)
            optimizer.step()
        self.phases.append(phases)

    configure_optimizers = TwoOptimizers.configure_optimizers


def fit(folder, module=None, resume=None, validate=False, every=None, options=None, **settings):
    module = module or Module()
    every = every or ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
    trainer = pl.Trainer(
        callbacks=[DSDCallback(sparsity=0.5, **settings), every],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 5, **(options or {})},
    )
    loader = DataLoader(DATA, batch_size=8)
    trainer.fit(module, loader, loader if validate else None, ckpt_path=resume)
    return module


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize(
    ("settings", "zeros"),
    [
        ({"epochs": (2, 2, 1)}, [0, 0, 12, 12, 0]),
        ({"steps": (6, 6, 3)}, [0, 12, 12, 12, 0]),
        ({"steps": (4, 7, 4)}, [0, 12, 12, 0, 0]),
    ],
)
def test_phases_and_resumption_from_every_checkpoint(settings, zeros, validate, tmp_path):
    """Three optimizer steps an epoch: the second setting is the first in steps, the third ends phases within epochs."""
    whole = fit(tmp_path, validate=validate, **settings)
    assert whole.zeros == zeros
    for epoch in range(4):
        resumed = fit(tmp_path / "again", resume=tmp_path / f"epoch={epoch}.ckpt", validate=validate, **settings)
        assert torch.equal(resumed.net.weight, whole.net.weight)
        assert resumed.zeros == whole.zeros[epoch + 1 :]


@pytest.mark.parametrize("settings", [{"epochs": (2, 2, 1)}, {"steps": (4, 7, 4)}])
def test_resumption_from_a_checkpoint_of_any_step(settings, tmp_path):
    def every():
        return ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)

    whole = fit(tmp_path, Scheduled(), every=every(), **settings)
    (tmp_path / "step=15.ckpt").unlink()
    for path in list(tmp_path.glob("*.ckpt")):
        resumed = fit(tmp_path, Scheduled(), resume=path, every=every(), **settings)
        assert torch.equal(resumed.net.weight, whole.net.weight), path.name
        assert resumed.zeros == whole.zeros[-len(resumed.zeros) :], path.name


class EverySecond(Module):
    """Two optimizers, as GANs have them; the first steps in every second batch, the last of three among these."""

    automatic_optimization = False

    def training_step(self, batch, number):
        first, second = self.optimizers()
        self.net(batch[0]).square().mean().backward()
        for optimizer in [first, second][number % 2 :]:
            optimizer.step()
        self.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD([self.net.weight], 0.1), torch.optim.SGD([self.net.bias], 0.1)]


@pytest.mark.parametrize("options", [{}, {"max_steps": 25, "max_epochs": -1}])
def test_steps_of_the_first_optimizer_by_hand(options, tmp_path):
    """It makes ten steps, both together make 25."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = fit(tmp_path, EverySecond(), options=options, steps=(4, 4, 2))
    assert module.zeros == [0, 0, 12, 12, 0][: len(module.zeros)]
    assert not [warning for warning in caught if "DSD" in str(warning.message)]


class Critic(EverySecond):
    """The first steps in every batch and the second in every second one, both from weights that masks change."""

    def training_step(self, batch, number):
        first, second = self.optimizers()
        self.net(batch[0]).square().mean().backward()
        for optimizer in [first, second][: 1 + number % 2]:
            optimizer.step()
        self.zero_grad()


@pytest.mark.parametrize("steps", [(6, 6, 3), (4, 7, 4)])
def test_a_phase_that_ends_with_the_first_optimizers_step_alone(steps, tmp_path):
    """The next one begins before its first gradients are there, as it does in a training that was resumed."""
    whole = fit(tmp_path, Critic(), steps=steps)
    for epoch in range(4):
        resumed = fit(tmp_path / "again", Critic(), resume=tmp_path / f"epoch={epoch}.ckpt", steps=steps)
        assert torch.equal(resumed.net.weight, whole.net.weight)
        assert resumed.zeros == whole.zeros[epoch + 1 :]


def test_a_checkpoint_without_phases(tmp_path):
    every = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    plain = pl.Trainer(callbacks=[every], max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False)
    plain.fit(Module(), DataLoader(DATA, batch_size=8))
    with pytest.raises(
        TrainingError, match="goes on after step 9 without a state of the phases; expected a checkpoint"
    ):
        fit(tmp_path / "again", resume=tmp_path / "epoch=2.ckpt", epochs=(2, 2, 1))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((6, 6, 3), "ended before its time, at step 10, in sparse 50%, steps 6 to 11 of 15: 24 .*, 12 of them zero"),
        ((4, 3, 2), "the phases were over an optimizer step before training was; expected the same length"),
        ((4, 3, 1), "the phases were over 2 optimizer steps before training was; expected the same length"),
    ],
)
def test_steps_by_hand_that_do_not_add_up_are_told_at_the_end(steps, said, tmp_path):
    with pytest.warns(UserWarning, match=said):
        fit(tmp_path, EverySecond(), steps=steps)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_max_steps_limit_epochs(accumulated, tmp_path):
    whole = -(-3 // accumulated)
    options = {"accumulate_grad_batches": accumulated}
    with pytest.raises(
        RedenseError, match=rf"stops after {4 * whole + 1} steps in epochs of {whole}; expected phases in"
    ):
        fit(tmp_path, options={**options, "max_steps": 4 * whole + 1}, epochs=(2, 2, 1))
    with pytest.raises(RedenseError, match=rf"\(max_steps={4 * whole}, {whole} steps an epoch\) makes 4; make them"):
        fit(tmp_path, options={**options, "max_steps": 4 * whole}, epochs=(2, 2, 1))
    for limit in ({"max_steps": 5 * whole}, {"max_steps": 100}, {"max_steps": 5 * whole, "max_epochs": -1}):
        assert fit(tmp_path, options={**options, **limit}, epochs=(2, 2, 1)).zeros == [0, 0, 12, 12, 0]


def test_nothing_is_left_behind(tmp_path):
    module = fit(tmp_path, epochs=(1, 1, 3))
    assert not module.net.weight._post_accumulate_grad_hooks


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": (1, 1, 1)}, "the phases take 3 epochs, the trainer makes 5; make them equal"),
        ({"steps": (1, 1, 1)}, "the phases take 3 steps, the trainer makes 15; make them equal"),
        ({"epochs": (3, 1, 1), "exclude": ["nett"]}, "'nett' matches no layer"),
    ],
)
def test_bad_settings(settings, message, tmp_path):
    with pytest.raises(RedenseError, match=message):
        fit(tmp_path, **settings)


@pytest.mark.parametrize("settings", [{"epochs": (3, 1, 1)}, {"steps": (9, 3, 3)}])
def test_several_optimizers(settings, tmp_path):
    module = fit(tmp_path, TwoOptimizers(), **settings)
    assert module.zeros == [0, 0, 0, 12, 0]


def test_optimizers_of_which_one_makes_more_steps(tmp_path):
    module = fit(tmp_path, Critics(), steps=(7, 5, 3))
    assert module.phases == [[kind] * 3 for kind in ["dense"] * 7 + ["sparse"] * 5 + ["redense"] * 3]
