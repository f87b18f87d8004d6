"""Directions that weight_norm trains. It divides each slice by its length, so that none may be zero as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from redense.errors import RecipeError
from redense.sparsity.parameters import is_a, places
from redense.sparsity.parametrized import FORMER_WEIGHT_NORM, LIST
from redense.sparsity.shards import like, local

WEIGHT_NORM = "torch.nn.utils.parametrizations:_WeightNorm"


def directions(model: nn.Module) -> dict[int, int]:
    """Identify the directions in a model: the dimension, by whose index the slices go, by the parameter's identity.

    It is -1 where there is one length for the whole.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> directions(layer) == {id(layer.parametrizations.weight.original1): 0}
    True
    """
    found = {}
    norms: list[Any]
    for place in places(model):
        if is_a(place.module, LIST) and place.attribute == "original1":
            norms = [each for each in place.module.children() if is_a(each, WEIGHT_NORM)]
        else:
            norms = [each for each in place.module._forward_pre_hooks.values() if is_a(each, FORMER_WEIGHT_NORM)]
            norms = [each for each in norms if place.attribute == f"{each.name}_v"]
        for norm in norms:
            found[id(place.parameter)] = norm.dim
    return found


def slices(shape: tuple[int, ...], dimension: int) -> int:
    """Count the slices of a direction.

    >>> slices((3, 2), 0), slices((3, 2), -1)
    (3, 1)
    """
    return 1 if dimension == -1 else shape[dimension]


def keeping_one(importance: torch.Tensor, dimension: int) -> torch.Tensor:
    """Return the importance of a direction's weights, infinite for the first of the most important of each slice.

    So at least one of each is kept, and where one would be kept anyway nothing changes but among equals.

    >>> keeping_one(torch.tensor([[1.0, -3.0], [5.0, 4.0]]), 0)
    tensor([[1., inf],
            [inf, 4.]])
    """
    values = local(importance.detach()).abs()
    rows = _rows(values, dimension)
    most, where = rows.max(1, keepdim=True)
    kept = rows.scatter(1, where, most.masked_fill(~most.isnan(), torch.inf))  # NaN is found later
    moved = values if dimension == -1 else values.movedim(dimension, 0)
    back = kept.view(moved.shape)
    return like((back if dimension == -1 else back.movedim(0, dimension)).contiguous(), importance)


def refuse_empty_slices(masks: Mapping[str, torch.Tensor], of: Mapping[str, int], sparsity: float) -> None:
    """Raise `RecipeError` where a mask keeps nothing of a slice; `of` says by name which are of directions."""
    for name, dimension in of.items():
        empty = int((~_rows(local(masks[name]), dimension).any(1)).sum())
        if empty:
            raise empty_slices(name, slices(tuple(masks[name].shape), dimension), sparsity)


def empty_slices(name: str, count: int, sparsity: float) -> RecipeError:
    """Say what is wrong with a sparsity that does not leave a weight to each slice of a direction."""
    return RecipeError(
        f"sparsity {sparsity} leaves parts of {name} without any weight, a direction of weight_norm of which each of "
        f"{count} is divided by its length (0/0); lower the sparsity, choose no pattern, or exclude that layer"
    )


def _rows(values: torch.Tensor, dimension: int) -> torch.Tensor:
    """Lay out the slices as rows: [slices, weights of each]."""
    if dimension == -1:
        return values.reshape(1, -1)
    moved = values.movedim(dimension, 0)
    return moved.reshape(len(moved), -1)
