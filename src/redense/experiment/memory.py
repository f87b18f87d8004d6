"""How much memory training takes: what limits workers and models trained at once."""

from __future__ import annotations

import torch
from torch import nn

from redense.experiment.optimizers import OPTIMIZERS
from redense.models.evaluation import evaluating
from redense.signals import EVALUATION_BATCH

PROCESS_BYTES = 550e6
"""Memory of a worker process without its model: 450 to 530 MB on Linux, its share of what is mapped included."""
STATES = 2 + max(len(kind.moments) for kind in OPTIMIZERS.values())
"""Copies of the weights in training: the weights, their gradients and the moments of the optimizer that keeps most."""


def training_bytes(model: nn.Module, examples: torch.Tensor, batch_size: int) -> int:
    """Bound the bytes that training a model takes beside the data: weights, moments and a batch's activations.

    The larger of a training batch, whose activations have gradients too, and an evaluation batch counts.
    """
    example = activation_bytes(model, examples[:1])
    return STATES * state_bytes(model) + max(2 * batch_size, EVALUATION_BATCH) * example


def activation_bytes(model: nn.Module, examples: torch.Tensor) -> int:
    """Return the bytes of all modules' outputs for examples [n, ...].

    >>> activation_bytes(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.zeros(1, 4))
    64
    """
    sizes: list[int] = []

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            sizes.append(output.numel() * output.element_size())

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    try:
        with evaluating(model):
            model(examples.to(next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes)


def state_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())
