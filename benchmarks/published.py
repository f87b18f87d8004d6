"""The published network as anybody would write it, and the plain loop that trains it: what redense is measured against.

NCHW, ReLU before pooling, default Adam, default threads; masks multiplied in after the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from redense.data import Dataset

PARAMETERS = 421_576


def published_network() -> nn.Module:
    """Build the network of the published table: images [n, 1, 28, 28] in [0, 1], logits [n, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 250), nn.ReLU(), nn.Linear(250, 10),
    )  # fmt: skip


class PlainLoop:
    """Training and test examples on one device, and the loop over them."""

    def __init__(self, dataset: Dataset, device: str = "cpu") -> None:
        self.x, self.x_test = (_inputs(x).to(device) for x in (dataset.x_train, dataset.x_test))
        self.y, self.y_test = (torch.from_numpy(y).to(device) for y in (dataset.y_train, dataset.y_test))

    def train(
        self, model: nn.Module, epochs: int, lr: float = 1e-3, masks: Mapping[str, torch.Tensor] | None = None
    ) -> float:
        """Train with batches of 32; returns the test accuracy, which is measured after every epoch."""
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        accuracy = float("nan")
        for _ in range(epochs):
            for batch in torch.randperm(len(self.y)).to(self.y.device).split(32):
                optimizer.zero_grad()
                functional.cross_entropy(model(self.x[batch]), self.y[batch]).backward()
                optimizer.step()
                if masks:
                    with torch.no_grad():
                        for name, mask in masks.items():
                            model.get_parameter(name).mul_(mask)
            accuracy = self.accuracy(model, self.x_test, self.y_test)
        return accuracy

    def accuracy(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
        """Return the fraction of right answers."""
        with torch.no_grad():
            logits = torch.cat([model(batch) for batch in x.split(500)])
        return (logits.argmax(1) == y).float().mean().item()


def write_part(path: Path, dataset: Dataset, training: int, test: int) -> Path:
    """Write the first examples as an NPZ file, which `redense run` takes as its data."""
    x, y, x_test, y_test = dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test
    np.savez(path, x=x[:training], y=y[:training], x_test=x_test[:test], y_test=y_test[:test])
    return path


def _inputs(x: npt.NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(x).float() / (255 if x.dtype == np.uint8 else 1)
