"""A small model that looks at itself, and trainings of it with DSD's callback in Lightning and in transformers."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

pl = pytest.importorskip("lightning.pytorch")
transformers = pytest.importorskip("transformers")

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))  # three batches an epoch


class Model(torch.nn.Module):
    """Notes in `zeros` how many weights are zero before each of its steps; one of these may raise an exception."""

    def __init__(self, fails_at=None, error=None):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(6, 4)
        self.zeros, self.fails_at, self.error = [], fails_at, error

    def forward(self, x, labels=None):
        if self.training:
            self.zeros.append(int((self.net.weight == 0).sum()))
            if len(self.zeros) == self.fails_at:
                raise self.error
        return {"loss": self.net(x).square().mean()}


class Module(pl.LightningModule):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def training_step(self, batch, _):
        return self.model(batch[0])["loss"]

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.01)


def lightning_callback(**settings):
    from redense.integrations.lightning import DSDCallback

    return DSDCallback(**settings)


def transformers_callback(**settings):
    from redense.integrations.transformers import DSDCallback

    return DSDCallback(**settings)


def lightning_trainer(length, callbacks, **options):
    off = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    options = {**dict.fromkeys(off, False), "max_epochs": length, **options}
    return pl.Trainer(callbacks=callbacks, accelerator="cpu", **options)


def batches():
    return DataLoader(TensorDataset(X), batch_size=8)


def in_lightning(model, length, folder, stop=None, callback=None, others=(), swaps=True, options=None, **settings):
    class Stop(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            trainer.should_stop = trainer.current_epoch + 1 == stop

    callback = callback or lightning_callback(**settings)
    average = (
        [pl.callbacks.EMAWeightAveraging(decay=0.5)] if swaps else []
    )  # takes the model's place when training ends
    trainer = lightning_trainer(length, [*average, callback, *others, Stop()], **(options or {}))
    trainer.fit(Module(model), batches())
    return callback.dsd


def in_transformers(model, length, folder, stop=None, callback=None, others=(), swaps=True, options=None, **settings):
    class Stop(transformers.TrainerCallback):
        def on_epoch_end(self, arguments, state, control, **objects):
            control.should_training_stop = state.epoch == stop

    callback = callback or transformers_callback(**settings)
    of_the_best = {  # takes the model's place when training ends
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": True,
    }
    save = of_the_best if swaps else {"save_strategy": "no"}
    arguments = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=length,
        per_device_train_batch_size=8,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        **{**save, **(options or {})},
    )
    data = [{"x": row, "labels": 0} for row in X]
    trainer = transformers.Trainer(
        model, arguments, train_dataset=data, eval_dataset=data, callbacks=[callback, *others, Stop()]
    )
    trainer.train()
    return callback.dsd


CALLBACKS = {in_lightning: lightning_callback, in_transformers: transformers_callback}
WAYS = pytest.mark.parametrize("way", list(CALLBACKS))
