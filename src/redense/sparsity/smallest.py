"""The exact choice of the smallest magnitudes: over one tensor, many, or shards; any float type; CPU and CUDA.

A magnitude's *key* is its float read as an integer without the sign bit. Keys are ordered as magnitudes are, so
comparing, counting and histograms work on integers, alike for every float type, and a NaN is a key
above infinity's.

How the k-th smallest is found depends on the size. A few: `numpy.partition`. Many: a random sample
brackets it between two values, one pass counts what lies below and collects the little that lies between
(Floyd & Rivest, "Expected time bounds for selection", CACM 1975). Shards on several processes, and samples that
missed: histograms of the key's digits, from the highest, added over all processes (radix select).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from redense.errors import ArgumentError, ModelError
from redense.sparsity import keys
from redense.sparsity.shards import Ranks, is_sharded, local, ranks_of

T = TypeVar("T")
FEW = 1 << 15
"""Up to so many keys are sorted out at once."""
SPAN = 1 << 22
"""Keys that one thread looks at before it takes the next ones."""
SPAN_DEVICE = 1 << 28
"""Keys that a GPU looks at at once, for the memory that comparisons need."""


def smallest(tensors: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """Mark the `count` weights of smallest magnitude among all tensors together, exactly.

    Among equal magnitudes the earlier tensor goes first, and in it the lower index. Sharded tensors are compared
    with all their other shards, and no weight leaves its process. Returns bool tensors of the (local) shapes.
    Extra memory: these, and about a hundredth of the weights.

    Raises `ModelError` that names the tensor for a NaN, and `ArgumentError` when `count` is not in 0..n.

    >>> smallest({"w": torch.tensor([3.0, -1.0, 2.0, 1.0])}, 1)["w"].tolist()
    [False, True, False, False]
    """
    pool = _pool(tensors)
    cutoff = _kth_key(pool, count) if count else -1
    everything = list(pool.bits.values())
    marks = [torch.empty(bits.shape, dtype=torch.bool, device=bits.device) for bits in everything]
    marked = _over_spans(lambda bits, mark: keys.mark_at_most(bits, cutoff, mark), everything, marks)
    excess = int(pool.total([sum(counts) for counts in marked]).sum()) - count
    kept = _kept_ties(pool, cutoff, excess) if excess and pool.ranks.group else [excess] * len(marks)
    for index in reversed(range(len(marks))):
        here = min(excess, kept[index])
        excess -= keys.unmark_last(everything[index], cutoff, marks[index], here)
    return {name: mark.view(local(tensor).shape) for (name, tensor), mark in zip(tensors.items(), marks, strict=True)}


def kth_smallest(values: torch.Tensor, k: int) -> torch.Tensor:
    """Return the k-th smallest magnitude (k from 1) of a tensor of any shape, as a scalar tensor.

    Raises as `smallest`.

    >>> kth_smallest(torch.tensor([3.0, -1.0, 2.0]), 2)
    tensor(2.)
    """
    pool = _pool({"values": values})
    key = torch.tensor(_kth_key(pool, k), dtype=pool.bits["values"].dtype, device=values.device)
    return key.view(values.dtype)


@dataclass(frozen=True)
class _Pool:
    """What is compared: every local tensor as integers [n], infinity's key, and who holds the rest.

    `replicated` says of each tensor whether every process holds all of it, so that it counts once.
    """

    bits: dict[str, torch.Tensor]
    infinity: int
    ranks: Ranks
    replicated: np.ndarray

    def total(self, counts: Sequence[int]) -> np.ndarray:
        """Add counts, one a tensor, over the ranks: int64 [tensors]."""
        mine = np.array(counts, dtype=np.int64)
        return np.where(self.replicated, mine, self.ranks.sum(mine))


def _pool(tensors: Mapping[str, torch.Tensor]) -> _Pool:
    pieces = {name: local(tensor.detach()).reshape(-1) for name, tensor in tensors.items()}
    widest = next(iter(pieces.values())).dtype
    for piece in pieces.values():
        widest = torch.promote_types(widest, piece.dtype)
    if widest not in keys.INTEGER:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in keys.INTEGER)
        raise ModelError(f"{', '.join(tensors)}: got weights of type {widest}; expected one of {known}")
    bits = {name: piece.to(widest).view(keys.INTEGER[widest]) for name, piece in pieces.items()}
    replicated = np.array([not is_sharded(tensor) for tensor in tensors.values()])
    return _Pool(bits, keys.INFINITY[widest], ranks_of(tensors.items()), replicated)


def _kth_key(pool: _Pool, k: int) -> int:
    """Return the k-th smallest key (k from 1) of all tensors together."""
    total = int(pool.total([bits.numel() for bits in pool.bits.values()]).sum())
    if not 1 <= k <= total:
        raise ArgumentError(f"k: got {k}; expected 1 to {total}")
    if pool.ranks.group is not None:
        return _by_digits(pool, k)
    if total <= FEW:
        return _of_few(pool, k)
    bracketed = _bracketed(pool, k, total)
    return _by_digits(pool, k) if bracketed is None else bracketed


def _of_few(pool: _Pool, k: int) -> int:
    everything = np.concatenate([(bits & keys.largest(bits)).cpu().numpy() for bits in pool.bits.values()])
    ordered = np.partition(everything, (k - 1, len(everything) - 1))
    _refuse_nan(pool, int(ordered[-1]))
    return int(ordered[k - 1])


def _bracketed(pool: _Pool, k: int, total: int) -> int | None:
    """Find the k-th key in one pass between two values from a sample, or None when the sample missed it."""
    sample = keys.sample(list(pool.bits.values()), min(1 << 18, max(1 << 12, total // 32)))
    rank = len(sample) * k / total
    margin = 3 * (rank * (1 - k / total)) ** 0.5 + 2
    low, high = int(rank - margin), int(rank + margin) + 1
    bounds = np.partition(sample, (max(low, 0), min(high, len(sample) - 1)))
    lower = int(bounds[low]) if low >= 0 else -1
    upper = int(bounds[high]) if high < len(sample) else pool.infinity + 1
    scans = _over_spans(lambda bits: keys.scan(bits, lower, upper), list(pool.bits.values()))
    found = [part for parts in scans for part in parts]
    _refuse_nan(pool, max(part.highest for part in found))
    inner = np.concatenate([part.inner for part in found])
    position = k - sum(part.at_most_lower for part in found)
    if 1 <= position <= len(inner):
        return int(np.partition(inner, position - 1)[position - 1])
    # the bound itself, where many are equal; else the sample missed it
    bound = lower if position < 1 else upper
    through, below = sum(_count_at_most(pool, bound)), sum(_count_at_most(pool, bound - 1))
    return bound if below < k <= through else None


def _count_at_most(pool: _Pool, bound: int) -> list[int]:
    """Count the keys up to `bound` in every local tensor."""
    counts = _over_spans(lambda bits: keys.count_at_most(bits, bound), list(pool.bits.values()))
    return [sum(parts) for parts in counts]


def _by_digits(pool: _Pool, k: int) -> int:
    """Find the k-th key digit by digit: 15 bits, then 16 at a time; histograms are added over the ranks."""
    _refuse_nan(pool, max(keys.highest(bits) for bits in pool.bits.values()))
    shift, prefix = 8 * next(iter(pool.bits.values())).element_size() - 1, 0
    while shift:
        width = 15 if shift % 16 == 15 else 16
        shift -= width
        spread, whole = np.zeros(1 << width, dtype=np.int64), np.zeros(1 << width, dtype=np.int64)
        for bits, replicated in zip(pool.bits.values(), pool.replicated, strict=True):
            for span in bits.split(SPAN):
                counts = keys.histogram(span, prefix, shift, width)
                target = whole if replicated else spread
                target += counts
        cumulative = np.cumsum(pool.ranks.sum(spread) + whole)
        digit = int(np.searchsorted(cumulative, k))
        k -= int(cumulative[digit - 1]) if digit else 0
        prefix = prefix << width | digit
    return prefix


def _kept_ties(pool: _Pool, cutoff: int, excess: int) -> list[int]:
    """Say how many of each tensor's local keys at the cutoff stay: the last by tensor, rank and index."""
    mine = np.array(_count_at_most(pool, cutoff)) - np.array(_count_at_most(pool, cutoff - 1))
    everywhere = pool.total(mine.tolist())
    before = np.where(pool.replicated, 0, pool.ranks.before(mine))
    in_later_tensors = np.cumsum(everywhere[::-1])[::-1] - everywhere
    after = in_later_tensors + everywhere - before - mine
    kept: list[int] = np.clip(excess - after, 0, mine).tolist()
    return kept


def _refuse_nan(pool: _Pool, highest: int) -> None:
    """Name the tensor that holds NaN, on every rank alike."""
    if pool.ranks.sum(np.array([int(highest > pool.infinity)]))[0] == 0:
        return
    sizes = [bits.numel() for bits in pool.bits.values()]
    numbers = _count_at_most(pool, pool.infinity)
    for name, count in zip(pool.bits, pool.total(sizes) - pool.total(numbers), strict=True):
        if count:
            raise ModelError(f"{name}: got {count} weights that are NaN; expected numbers")


def _over_spans(look: Callable[..., T], *columns: Sequence[torch.Tensor]) -> list[list[T]]:
    """Apply `look` to tensors [n] side by side, a span at a time, with as many threads as PyTorch may use.

    Returns its results, one list for each row of the columns.
    """
    spans = []
    for row in zip(*columns, strict=True):
        size = SPAN if keys.on_cpu(row[0]) else SPAN_DEVICE
        spans.append(list(zip(*(tensor.split(size) for tensor in row), strict=True)) if row[0].numel() else [])
    flat = [span for row in spans for span in row]
    threads = min(torch.get_num_threads(), len(flat))
    if threads <= 1:
        results = iter([look(*span) for span in flat])
    else:
        with ThreadPoolExecutor(threads) as executor:
            results = executor.map(look, *zip(*flat, strict=True))
    return [[next(results) for _ in row] for row in spans]
