"""Bools as bits: an eighth of a byte for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from redense.errors import ModelError
from redense.sparsity.shards import like, local


def pack_bits(mask: torch.Tensor) -> torch.Tensor:
    """Store bools [..., n] as bits along the last dimension: uint8 [..., ceil(n / 8)], the first in the highest bit."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy(), axis=-1))


def unpack_bits(bits: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Undo `pack_bits` for bools of the given shape.

    >>> unpack_bits(pack_bits(torch.tensor([[True, False], [False, True]])), (2, 2)).tolist()
    [[True, False], [False, True]]
    """
    return torch.from_numpy(np.unpackbits(bits.cpu().numpy(), axis=-1, count=shape[-1]).astype(bool))


def packed(masks: Mapping[str, torch.Tensor | None], parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Store masks (None: all kept) of parameters as bits, packed row by row and sharded like the parameters."""
    bits = {}
    for name, mask in masks.items():
        piece = local(parameters[name])
        kept = local(mask) if mask is not None else torch.ones_like(piece, dtype=torch.bool)
        bits[name] = like(pack_bits(kept.flatten(1)).to(kept.device), parameters[name])
    return bits


def unpacked(bits: Mapping[str, torch.Tensor], parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Undo `packed`; raise `ModelError` where bits do not fit their parameter."""
    masks = {}
    for name, stored in bits.items():
        parameter = parameters[name]
        columns = math.prod(parameter.shape[1:])
        if parameter.dim() < 2 or tuple(stored.shape) != (parameter.shape[0], -(-columns // 8)):
            raise ModelError(f"load_state_dict: got masks of another shape for {name} {tuple(parameter.shape)}")
        piece = local(parameter)
        rows = unpack_bits(local(stored), (len(piece), columns))
        masks[name] = like(rows.view(piece.shape).to(piece.device), parameter)
    return masks
