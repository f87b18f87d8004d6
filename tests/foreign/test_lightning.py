import lightning.fabric
import lightning.pytorch as pl
import pytest
import torch
from foreign.guides import run_guide
from foreign.watch import Watch, same_bits
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from torch.utils.data import DataLoader, TensorDataset

import redense
import redense.integrations.lightning

pytestmark = pytest.mark.foreign

DATA = TensorDataset(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4)
SETTINGS = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "gradient_clip_val": 1.0,
}


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 4))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("zeros", float((self.net[0].weight == 0).float().mean()))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), 0.01)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)]


def loader():
    return DataLoader(DATA, batch_size=8)


def watch(model):
    return Watch(first=model.net[0].weight, last=model.net[2].weight)


class Zeros(pl.Callback):
    """What is zero in the model while it is validated, by epoch."""

    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            self.seen.append(float(trainer.callback_metrics["zeros"]))


def test_the_guide_and_a_resumption_in_the_sparse_phase(tmp_path):
    saved = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=5)
    settings = {**SETTINGS, "enable_checkpointing": True}
    whole = Module()
    with watch(whole).looking() as seen:
        run_guide("lightning", "Training", module=whole, loader=loader(), callbacks=[saved], settings=settings)
    seen.check((40, None, 1), (20, 0.5, 1), (20, None, 0.1))
    resumed = Module()
    with watch(resumed).looking() as rest:
        dsd = redense.integrations.lightning.DSDCallback(sparsity=0.5, epochs=(20, 10, 10))
        trainer = pl.Trainer(max_epochs=40, callbacks=[dsd], **SETTINGS)
        trainer.fit(resumed, loader(), ckpt_path=tmp_path / "epoch=24.ckpt")
    assert len(rest.steps) == 30
    assert torch.equal(rest.steps[0].zeros[0]["first"], seen.steps[50].zeros[0]["first"])
    assert same_bits(resumed, whole)


def test_an_average_is_sparse_in_the_sparse_phase(tmp_path):
    dsd = redense.integrations.lightning.DSDCallback(sparsity=0.5, epochs=(2, 2, 1))
    average, zeros = run_guide("lightning", "Averages", dsd=dsd)["average"], Zeros()
    module = Module()
    trainer = pl.Trainer(max_epochs=5, callbacks=[average, dsd, zeros], **SETTINGS)
    trainer.fit(module, loader(), loader())
    assert zeros.seen[:4] == [0, 0, 0.5, 0.5]
    assert zeros.seen[4] < 0.1
    bare = Module()
    trainer = pl.Trainer(max_epochs=5, callbacks=[dsd, bare_average(), zeros := Zeros()], **SETTINGS)
    trainer.fit(bare, loader(), loader())
    assert zeros.seen[3] == 0, "without the recipe the average keeps what was before"


def bare_average():
    return pl.callbacks.EMAWeightAveraging(decay=0.99)


@pytest.mark.parametrize(("last", "refused"), [(2, True), (3, False)])
def test_stochastic_weight_averaging_adds_an_epoch_for_batch_norms(last, refused):
    module = Module()
    dsd = redense.integrations.lightning.DSDCallback(sparsity=0.5, epochs=(2, 2, last))
    average = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=5, annealing_epochs=1)
    trainer = pl.Trainer(max_epochs=6, callbacks=[average, dsd], **SETTINGS)
    if refused:
        with pytest.raises(redense.RecipeError, match="the phases take 6 .*StochasticWeightAveraging adds.* makes 7"):
            trainer.fit(module, loader())
        return
    with watch(module).looking() as seen:
        trainer.fit(module, loader())
    seen.check((4, None, 1), (4, 0.5, 1), (5, None, 0.1))
    assert seen.steps[-1].moved < 0.0015, "Lightning makes a step in that epoch: at the low rate, too"


class ByHand(Module):
    """Two optimizers, as GANs have them; Lightning hands them out wrapped."""

    automatic_optimization = False

    def training_step(self, batch, _):
        for optimizer in self.optimizers():
            assert type(optimizer).__name__.startswith("Lightning")
            optimizer.zero_grad()
            self.manual_backward(torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.AdamW(self.net[0].parameters(), 0.01), torch.optim.AdamW(self.net[2].parameters(), 0.01)]


class WithoutCallback(ByHand):
    """Makes DSD itself, of the wrapped optimizers."""

    def on_train_start(self):
        self.dsd = redense.DSD(self, self.optimizers(), sparsity=0.5, epochs=(2, 2, 2))

    def on_train_epoch_start(self):
        self.dsd.advance_to(self.current_epoch)


@pytest.mark.parametrize("kind", [ByHand, WithoutCallback])
def test_wrapped_optimizers_by_hand(kind):
    module = kind()
    dsd = redense.integrations.lightning.DSDCallback(sparsity=0.5, epochs=(2, 2, 2))
    first, last = Watch(weight=module.net[0].weight), Watch(weight=module.net[2].weight)
    settings = {name: value for name, value in SETTINGS.items() if name != "gradient_clip_val"}
    with first.looking(), last.looking():
        pl.Trainer(max_epochs=6, callbacks=[dsd] * (kind is ByHand), **settings).fit(module, loader())
    for seen in (first, last):
        seen.check((4, None, 1), (4, 0.5, 1), (4, None, 0.1))


def fabric_train(folder, until=None, resume=None):
    """The guide's loop, stopped and resumed by Fabric's own files."""
    model = Module().net
    fabric = lightning.fabric.Fabric(accelerator="cpu")
    wrapped, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), 0.01))
    dsd = redense.DSD(wrapped, optimizer, sparsity=0.5, epochs=(2, 2, 1))
    state = {"model": wrapped, "optimizer": optimizer, "dsd": dsd}
    if resume is not None:
        fabric.load(resume, state)
    for epoch in dsd.epochs():
        for x, y in loader():
            optimizer.zero_grad()
            fabric.backward(torch.nn.functional.cross_entropy(wrapped(x), y))
            optimizer.step()
        if epoch == until:
            fabric.save(folder / "state.ckpt", state)
            break
    return model, dsd


def test_fabric(tmp_path):
    model = Module().net
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    watch = Watch(first=model[0].weight, last=model[2].weight)
    with watch.looking() as seen:
        names = run_guide(
            "lightning",
            "Your own loop: Fabric",
            model=model,
            optimizer=optimizer,
            loader=loader(),
            loss_fn=torch.nn.functional.cross_entropy,
        )
    seen.check((40, None, 1), (20, 0.5, 1), (20, None, 0.1))
    assert not names["dsd"].masks
    whole, _ = fabric_train(tmp_path)
    _, stopped = fabric_train(tmp_path, until=2)
    assert list(stopped.masks) == ["0.weight", "2.weight"], "the names of the bare model"
    resumed, _ = fabric_train(tmp_path, resume=tmp_path / "state.ckpt")
    assert same_bits(resumed, whole)
