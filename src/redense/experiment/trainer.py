"""The plain training loop: the one place where weights move, and the oracle for every faster way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from redense.data.batches import as_input
from redense.experiment.plan import Training


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """List the parameters that training moves."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def make_optimizer(parameters: Iterable[Any], training: Training) -> torch.optim.Optimizer:
    """Make a fresh optimizer of parameters or groups of them, fused: one kernel a step, not several a tensor."""
    parameters = list(parameters)
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            training.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, training.lr, weight_decay=training.weight_decay, fused=True)


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    order: torch.Tensor,
    batch_size: int,
) -> float:
    """Train one epoch on stored examples x [n, ...] with labels y [n], in the given order [n].

    Returns the mean cross-entropy over the epoch, NaN or infinite when training diverged.
    """
    model.train()
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for batch in order.to(x.device).split(batch_size):
        loss = nn.functional.cross_entropy(model(as_input(x[batch])), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
    return float(total) / len(order)
