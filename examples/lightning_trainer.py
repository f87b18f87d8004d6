"""DSD as a Lightning callback, on scikit-learn's handwritten digits.

pip install 'redense[lightning]' && python examples/lightning_trainer.py

Prints the phase and the zeros of the first layer after every epoch: none, half in the two sparse epochs, few in the two
re-dense ones.
"""

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redense.integrations.lightning import DSDCallback


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch, _):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


class PrintPhase(pl.Callback):
    def on_train_epoch_end(self, trainer, module):
        zeros = (module.net[0].weight == 0).float().mean().item()
        print(f"epoch {trainer.current_epoch}: {callback.dsd.phase.label}, {100 * zeros:.1f}% zeros in the first layer")


digits = load_digits()
data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
callback = DSDCallback(sparsity=0.5, epochs=(4, 2, 2))
trainer = pl.Trainer(
    max_epochs=8,
    callbacks=[callback, PrintPhase()],
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Classifier(), DataLoader(data, batch_size=32, shuffle=True))
