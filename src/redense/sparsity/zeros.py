"""How sparse a model is."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import torch
from torch import nn

from redense.arguments import validated
from redense.errors import RecipeError
from redense.sparsity.parameters import named
from redense.sparsity.select import Match, PresetName, prunable
from redense.sparsity.shards import is_sharded, local, ranks_of


@validated(RecipeError)
def measure_sparsity(
    model: nn.Module,
    exclude: Iterable[Match] | Match = (),
    preset: PresetName = "default",
    include: Iterable[Match] | Match = (),
) -> float:
    """Return the fraction of exact zeros among the weights of a model that pruning applies to, in [0, 1].

    Which these are, `exclude`, `preset` and `include` say as in `redense.choose_masks`: of a model that is frozen in
    part, the trainable ones and what `include` names; of one that is frozen as a whole, those that pruning would apply
    to if it were not. Sharded weights are counted on all processes.

    >>> net = torch.nn.Linear(2, 2)
    >>> with torch.no_grad():
    ...     _ = net.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    >>> measure_sparsity(net)
    0.25
    >>> measure_sparsity(net.requires_grad_(False))
    0.25
    """
    frozen = not any(parameter.requires_grad for parameter in named(model).values())
    return fraction_of_zeros(prunable(model, exclude, preset, include, frozen).values())


def fraction_of_zeros(tensors: Collection[torch.Tensor]) -> float:
    """Return the fraction of exact zeros among all elements of the tensors together, in [0, 1]."""
    return count_zeros(tensors) / sum(tensor.numel() for tensor in tensors)


def all_zero(tensors: Collection[torch.Tensor]) -> bool:
    """Tell whether every element of all tensors is zero, on all processes."""
    return count_zeros(tensors) == sum(tensor.numel() for tensor in tensors)


def count_zeros(tensors: Collection[torch.Tensor]) -> int:
    """Count exact zeros, those of sharded tensors on all processes."""
    ranks = ranks_of((str(index), tensor) for index, tensor in enumerate(tensors))
    zeros = np.array([int((local(tensor.detach()) == 0).sum()) for tensor in tensors], dtype=np.int64)
    sharded = np.array([is_sharded(tensor) for tensor in tensors], dtype=bool)
    return int(np.where(sharded, ranks.sum(zeros), zeros).sum())
