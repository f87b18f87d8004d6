"""The exact choice of the smallest magnitudes."""

from __future__ import annotations

import numpy as np
import torch


def smallest(magnitudes: torch.Tensor, count: int) -> torch.Tensor:
    """Mark the `count` smallest of `magnitudes` ([n], no NaN); among equal ones the lower index goes first.

    Returns bool [n] on the same device. Raises ValueError when `count` is not in 0..n.

    >>> smallest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 1).tolist()
    [False, True, False, False]
    """
    if not 0 <= count <= magnitudes.numel():
        raise ValueError(f"count: got {count}; expected 0 to {magnitudes.numel()}")
    if count == 0:
        return torch.zeros_like(magnitudes, dtype=torch.bool)
    cutoff = kth_smallest(magnitudes, count)
    marked = magnitudes < cutoff
    at_cutoff = (magnitudes == cutoff).nonzero().flatten()
    marked[at_cutoff[: count - int(marked.sum())]] = True
    return marked


def kth_smallest(values: torch.Tensor, k: int) -> torch.Tensor:
    """Return the k-th smallest (k from 1) of `values` ([n]) as a scalar tensor.

    On CPU through `numpy.partition`, several times as fast there as `torch.kthvalue`.
    """
    if values.device.type != "cpu":
        return values.kthvalue(k).values
    exact = values if values.dtype in (torch.float32, torch.float64) else values.float()
    return torch.from_numpy(np.partition(exact.numpy(), k - 1))[k - 1].to(values.dtype)
