"""Parameters that are spread over several processes (FSDP2's `fully_shard`): local pieces and sums over ranks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from redense.errors import ModelError


def is_sharded(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is a DTensor; where its module was never imported there is none."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return the part of a tensor that lies in this process: all of it unless it is sharded. Shares memory."""
    if not is_sharded(tensor):
        return tensor
    with torch.no_grad():
        piece: torch.Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return piece


def like(piece: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Wrap a local piece of any type with one row for each of the local rows of `whole`, sharded like it.

    A piece with more or fewer columns than `whole` keeps them: only the first dimension is spread.
    """
    if not is_sharded(whole):
        return piece
    from torch.distributed.tensor import DTensor

    shape = torch.Size([whole.shape[0], *piece.shape[1:]])
    stride = torch.empty(shape, device="meta").stride()
    mesh, placements = whole.device_mesh, whole.placements  # type: ignore[attr-defined]
    return DTensor.from_local(piece, mesh, placements, run_check=False, shape=shape, stride=stride)


@dataclass(frozen=True)
class Ranks:
    """The processes over which weights are spread; without a group, this one alone."""

    group: Any = None
    device: str = "cpu"

    def sum(self, counts: np.ndarray) -> np.ndarray:
        """Add int64 counts of any shape over all ranks."""
        if self.group is None:
            return counts
        total = torch.from_numpy(counts.copy()).to(self.device)
        torch.distributed.all_reduce(total, group=self.group)
        return total.cpu().numpy()

    def before(self, counts: np.ndarray) -> np.ndarray:
        """Add int64 counts of any shape over the ranks that hold earlier rows than this one."""
        if self.group is None:
            return np.zeros_like(counts)
        mine = torch.from_numpy(counts).to(self.device)
        everyone = [torch.empty_like(mine) for _ in range(self.group.size())]
        torch.distributed.all_gather(everyone, mine, group=self.group)
        return sum((c.cpu().numpy() for c in everyone[: self.group.rank()]), np.zeros_like(counts))


def ranks_of(tensors: Iterable[tuple[str, torch.Tensor]]) -> Ranks:
    """Find the processes over which named tensors are spread.

    Raises `ModelError` when a tensor is spread along another dimension than its first, along two, or when two
    tensors are spread over different groups of processes.
    """
    found: tuple[str, Any] | None = None
    for name, tensor in tensors:
        if not is_sharded(tensor):
            continue
        from torch.distributed.tensor import Replicate, Shard

        mesh, placements = tensor.device_mesh, tensor.placements  # type: ignore[attr-defined]
        spread = [d for d, placement in enumerate(placements) if not isinstance(placement, Replicate)]
        if len(spread) > 1 or any(type(placements[d]) is not Shard or placements[d].dim != 0 for d in spread):
            raise ModelError(
                f"{name}: got the placements {tuple(placements)}; expected shards along the first dimension, "
                "as fully_shard makes them by default"
            )
        if not spread:
            continue
        group = mesh.get_group(spread[0])
        if found is not None and found[1] is not group:
            raise ModelError(
                f"{name}: got a tensor on other processes than {found[0]}; expected all pruned tensors on one mesh"
            )
        found = (name, group)
        device = mesh.device_type
    return Ranks() if found is None else Ranks(found[1], device)
