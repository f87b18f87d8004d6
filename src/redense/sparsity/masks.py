"""Masks: which weights are kept (True) and which are pruned (False), by magnitude."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch

from redense.config import Distribution
from redense.errors import ModelError, RecipeError
from redense.sparsity.select import prunable
from redense.sparsity.threshold import smallest

Masks = Mapping[str, torch.Tensor]
"""Parameter name -> bool tensor of the parameter's shape; True = kept."""


def magnitude_masks(
    model: torch.nn.Module,
    *,
    sparsity: float,
    exclude: Iterable[str] = (),
    distribution: Distribution = "uniform",
) -> dict[str, torch.Tensor]:
    """Choose the weights of smallest magnitude (Han et al., "DSD", ICLR 2017, section 3).

    ``uniform`` prunes exactly ``round(sparsity * n)`` of the n weights of every tensor, ``global`` as many of all
    tensors together. Among equal magnitudes the weight that comes first is pruned first. Biases, norms
    and whatever `exclude` matches get no mask (see `prunable`).

    Raises `RecipeError` for a sparsity outside [0, 1) or one that would leave a tensor without weights, and
    `ModelError` for NaN weights. The model is not changed.

    >>> net = torch.nn.Linear(10, 10)
    >>> int(magnitude_masks(net, sparsity=0.7)["weight"].sum())
    30
    """
    if not (isinstance(sparsity, (int, float)) and 0 <= sparsity < 1):
        raise RecipeError(f"sparsity: got {sparsity!r}; expected a fraction from 0 (included) to 1 (excluded)")
    magnitudes = {name: parameter.detach().abs().flatten() for name, parameter in prunable(model, exclude).items()}
    for name, magnitude in magnitudes.items():
        if bool(magnitude.isnan().any()):
            raise ModelError(f"{name}: got {int(magnitude.isnan().sum())} weights that are NaN; expected numbers")
    if distribution == "uniform":
        pruned = {name: smallest(m, round(sparsity * m.numel())) for name, m in magnitudes.items()}
    elif distribution == "global":
        pooled = torch.cat(list(magnitudes.values()))
        marks = smallest(pooled, round(sparsity * pooled.numel())).split([m.numel() for m in magnitudes.values()])
        pruned = dict(zip(magnitudes, marks, strict=True))
    else:
        raise RecipeError(f"distribution: got {distribution!r}; expected uniform or global")
    for name, marked in pruned.items():
        if bool(marked.all()):
            raise RecipeError(
                f"sparsity {sparsity:g} leaves {name} ({marked.numel()} weights) without any; "
                "lower the sparsity or exclude that layer"
            )
    return {name: ~marked.view(model.get_parameter(name).shape) for name, marked in pruned.items()}


def measure_sparsity(model: torch.nn.Module, exclude: Iterable[str] = ()) -> float:
    """Return the fraction of exact zeros among the weights that pruning applies to, in [0, 1].

    >>> net = torch.nn.Linear(2, 2)
    >>> with torch.no_grad():
    ...     _ = net.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    >>> measure_sparsity(net)
    0.25
    """
    return fraction_of_zeros(prunable(model, exclude).values())


def fraction_of_zeros(tensors: Collection[torch.Tensor]) -> float:
    """Return the fraction of exact zeros among all elements of the tensors together, in [0, 1]."""
    return sum(int((tensor == 0).sum()) for tensor in tensors) / sum(tensor.numel() for tensor in tensors)


def pack_bits(mask: torch.Tensor) -> torch.Tensor:
    """Store a bool tensor in one bit an element: uint8 [ceil(n / 8)], first element in the highest bit."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1)))


def unpack_bits(bits: torch.Tensor, shape: torch.Size | tuple[int, ...]) -> torch.Tensor:
    """Undo `pack_bits` for a mask of the given shape.

    >>> unpack_bits(pack_bits(torch.tensor([[True, False], [False, True]])), (2, 2)).tolist()
    [[True, False], [False, True]]
    """
    flat = np.unpackbits(bits.numpy(), count=math.prod(shape)).astype(bool)
    return torch.from_numpy(flat).view(shape)
