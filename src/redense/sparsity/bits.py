"""Bools as bits: an eighth of a byte for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def pack_bits(mask: torch.Tensor) -> torch.Tensor:
    """Store bools [..., n] as bits along the last dimension: uint8 [..., ceil(n / 8)], the first in the highest bit."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy(), axis=-1))


def unpack_bits(bits: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Undo `pack_bits` for bools of the given shape.

    >>> unpack_bits(pack_bits(torch.tensor([[True, False], [False, True]])), (2, 2)).tolist()
    [[True, False], [False, True]]
    """
    return torch.from_numpy(np.unpackbits(bits.cpu().numpy(), axis=-1, count=shape[-1]).astype(bool))
