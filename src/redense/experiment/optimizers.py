"""The table of a recipe's optimizers: how each is made, and what else has to be known of it.

Recipes and help read it, so it is light to import: PyTorch is imported where an optimizer is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from redense.experiment.plan import Training

OptimizerName = Literal["adam", "adamw", "sgd"]


@dataclass(frozen=True)
class OptimizerKind:
    """One optimizer.

    `make` makes a fresh one of parameters, or groups of them, and a phase's settings. `moments` names the tensors that
    it keeps for each weight, `counters` the numbers, float32 and above 0, that it keeps for each tensor of weights. It
    is `elementwise` if what becomes of a weight depends on that weight, its gradient and its moments alone: then, and
    only then, all tensors of a model may be handed to it as one. `takes_momentum` tells whether it heeds that setting.
    """

    make: Callable[[list[Any], Training], torch.optim.Optimizer]
    moments: tuple[str, ...]
    elementwise: bool
    takes_momentum: bool = False
    counters: tuple[str, ...] = ()


def _adam(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    import torch

    return torch.optim.Adam(parameters, training.lr, weight_decay=training.weight_decay, fused=True)


def _adamw(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(parameters, training.lr, weight_decay=training.weight_decay, fused=True)


def _sgd(parameters: list[Any], training: Training) -> torch.optim.Optimizer:
    import torch

    momentum, decay = training.momentum, training.weight_decay
    return torch.optim.SGD(parameters, training.lr, momentum=momentum, weight_decay=decay, fused=True)


OPTIMIZERS: dict[OptimizerName, OptimizerKind] = {
    "adam": OptimizerKind(_adam, moments=("exp_avg", "exp_avg_sq"), elementwise=True, counters=("step",)),
    "adamw": OptimizerKind(_adamw, moments=("exp_avg", "exp_avg_sq"), elementwise=True, counters=("step",)),
    "sgd": OptimizerKind(_sgd, moments=("momentum_buffer",), elementwise=True, takes_momentum=True),
}


def make_optimizer(parameters: Iterable[Any], training: Training) -> torch.optim.Optimizer:
    """Make a fresh optimizer of parameters or groups of them, fused: one kernel a step, not several a tensor."""
    return OPTIMIZERS[training.optimizer].make(list(parameters), training)


def moments_of(training: Training) -> tuple[str, ...]:
    """Name the moments that the optimizer of a phase keeps: one that takes momentum keeps none without it."""
    kind = OPTIMIZERS[training.optimizer]
    return kind.moments if training.momentum or not kind.takes_momentum else ()
