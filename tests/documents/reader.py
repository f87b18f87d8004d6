"""What a reader of the documents has at hand: a small network, its optimizer, a loop, data, and a folder with files."""

import json
import math

import numpy as np
import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import redense
from redense.auditing.attacks import Attack


def network():
    """Make the reader's network."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))


def at_hand():
    """Return the names that the pages speak of without defining them."""
    digits = redense.data.load("digits")
    x, y = torch.from_numpy(digits.x_train[:600]), torch.from_numpy(digits.y_train[:600])
    train_set, test_set = TensorDataset(x[:300], y[:300]), TensorDataset(x[300:], y[300:])
    model = network()

    def train_one_epoch(model, optimizer):
        for inputs, labels in DataLoader(train_set, batch_size=100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()

    def accuracy(model):
        with torch.no_grad():
            return (model(x[300:]).argmax(1) == y[300:]).float().mean().item()

    layer = nn.Linear(8, 8)
    with torch.no_grad():
        layer.weight[:6] = 0
    redense.save_sparse(layer, "layer.safetensors")
    generator = np.random.default_rng(0)
    included = generator.random((8, 40)).argsort(0) < 4

    return {
        "__name__": "a_page",
        "torch": torch,
        "np": np,
        "json": json,
        "math": math,
        "safe_open": safe_open,
        "path": "layer.safetensors",
        "dcp": dcp,
        "folder": "state",
        "model_state": model.state_dict(),
        "optimizer_state": {},
        "target": generator.normal(size=40),
        "references": generator.normal(size=(8, 40)),
        "confidences": generator.random(40),
        "reference_confidences": generator.random((8, 40)),
        "included": included,
        "members": included[0],
        "redense": redense,
        # who adds an attack has what stands in auditing/attacks.py
        "Attack": Attack,
        "Evidence": redense.Evidence,
        "Array": np.ndarray,
        "model": model,
        "example": x[:1],
        "optimizer": torch.optim.Adam(model.parameters(), 1e-3),
        "train_one_epoch": train_one_epoch,
        "train": train_one_epoch,
        "accuracy": accuracy,
        "train_set": train_set,
        "test_set": test_set,
    }


def furnish(folder):
    """Put into a folder the files that commands of the pages name."""
    digits = redense.data.load("digits")
    x, y = digits.x_train[:400], digits.y_train[:400]
    np.savez(folder / "images.npz", x=x[:300], y=y[:300], x_test=x[300:], y_test=y[300:])
    np.savez(folder / "train.npz", x=x[:200], y=y[:200])
    np.savez(folder / "test.npz", x=x[200:], y=y[200:])
    generator = np.random.default_rng(0)
    np.savez(folder / "signals.npz", members=np.arange(400) < 200, phi=generator.normal(size=400))
    save_file(network().state_dict(), folder / "model.safetensors")
    (folder / "mine.toml").write_text('data = "digits"\nsparsities = [0.5]\nepochs = [1, 1, 1]\n')
    (folder / "mine.py").write_text("from documents.reader import network\n\n\ndef build():\n    return network()\n")
    recipe = redense.Recipe(data="images.npz", model="mlp", sparsities=(0.5,), epochs=(1, 1, 1))
    redense.run(recipe, out="runs/digits", engine="inline", progress=False)
