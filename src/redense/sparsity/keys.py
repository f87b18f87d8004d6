"""Operations on magnitude keys (see `smallest`): NumPy on the CPU, where it is fastest; PyTorch on other devices.

Every function takes a float tensor's bits: int16, int32 or int64 [n], sign bits included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

INTEGER = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
"""The integer type as wide as each float type."""
BLOCK = 1 << 18
"""Keys at a time: what is computed from them stays in the processor's second-level cache."""
INFINITY = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80, torch.float32: 0x7F800000, torch.float64: 0x7FF << 52}
"""Infinity's key; whatever is above is NaN."""


@dataclass(frozen=True)
class Scan:
    """What one pass over some keys found: how many are at most the lower bound, those strictly between, the highest."""

    at_most_lower: int
    inner: np.ndarray
    highest: int


def on_cpu(bits: torch.Tensor) -> bool:
    """Tell whether NumPy can look at the keys where they lie."""
    return bits.device.type == "cpu"


def largest(bits: torch.Tensor) -> int:
    """Return the largest key of the type: all bits but the sign."""
    return int(torch.iinfo(bits.dtype).max)


def scan(bits: torch.Tensor, lower: int, upper: int) -> Scan:
    """Count the keys up to `lower`, collect those strictly between `lower` and `upper`, and find the highest."""
    if not on_cpu(bits):
        every = bits & largest(bits)
        between = every[(every > lower) & (every < upper)]
        return Scan(int((every <= lower).sum()), between.cpu().numpy(), int(every.max()))
    at_most_lower, collected, top = 0, [], 0
    flags = np.empty(BLOCK, dtype=bool)
    width = max(upper - lower - 1, 0)
    for key in _blocks(bits):
        flag = flags[: len(key)]
        top = max(top, int(key.max()))
        at_most_lower += int(np.count_nonzero(np.less_equal(key, lower, out=flag)))
        # key - (lower + 1) wraps below zero to huge unsigned numbers, so that one comparison does for two
        np.subtract(key, lower + 1, out=key)
        np.less(key.view(f"u{key.itemsize}"), width, out=flag)
        collected.append(key[np.flatnonzero(flag)])
    inner = np.concatenate(collected) if collected else np.empty(0, dtype=np.int64)
    return Scan(at_most_lower, inner + (lower + 1), top)


def count_at_most(bits: torch.Tensor, bound: int) -> int:
    """Count the keys up to `bound`."""
    return mark_at_most(bits, bound, torch.empty(bits.shape, dtype=torch.bool, device=bits.device))


def mark_at_most(bits: torch.Tensor, bound: int, marks: torch.Tensor) -> int:
    """Set the bools `marks` [n] where the key is at most `bound`, clear the others, and return how many are set."""
    if not on_cpu(bits):
        return int(torch.le(bits & largest(bits), bound, out=marks).sum())
    out, count = marks.numpy(), 0
    for start, key in zip(range(0, len(out), BLOCK), _blocks(bits), strict=True):
        count += int(np.count_nonzero(np.less_equal(key, bound, out=out[start : start + len(key)])))
    return count


def unmark_last(bits: torch.Tensor, key: int, marks: torch.Tensor, count: int) -> int:
    """Clear the last `count` of the marks [n] whose key is `key`, or all of them; return how many were cleared.

    It goes backwards and reads no more than it needs.
    """
    cleared = 0
    for end in range(bits.numel(), 0, -BLOCK):
        if cleared == count:
            break
        span = slice(max(end - BLOCK, 0), end)
        positions = ((bits[span] & largest(bits)) == key).nonzero().flatten()[cleared - count :]
        marks[span][positions] = False
        cleared += len(positions)
    return cleared


def highest(bits: torch.Tensor) -> int:
    """Return the highest key, 0 when there is none."""
    return int((bits & largest(bits)).max()) if bits.numel() else 0


def histogram(bits: torch.Tensor, prefix: int, shift: int, width: int) -> np.ndarray:
    """Count the values of the `width` bits that follow `prefix` in a key and end `shift` bits from its right.

    Keys that begin otherwise do not count. Returns int64 [2 ** width].
    """
    key = bits & largest(bits)
    digits = key[(key >> (shift + width)) == prefix] >> shift & ((1 << width) - 1)
    return torch.bincount(digits.long(), minlength=1 << width).cpu().numpy()


def sample(several: Sequence[torch.Tensor], size: int) -> np.ndarray:
    """Draw keys from all tensors together, at random with replacement: [about size]; the same each time."""
    rng = np.random.default_rng(0)
    total = sum(bits.numel() for bits in several)
    drawn = []
    for bits in several:
        chosen = rng.integers(0, max(bits.numel(), 1), size=-(-size * bits.numel() // total))
        drawn.append(bits[torch.from_numpy(chosen).to(bits.device)].cpu().numpy() & largest(bits))
    return np.concatenate(drawn)


def _blocks(bits: torch.Tensor) -> Iterator[np.ndarray]:
    """Yield keys, BLOCK at a time, in a buffer that the next block overwrites."""
    array = bits.numpy()
    buffer = np.empty(min(BLOCK, len(array)), dtype=array.dtype)
    for start in range(0, len(array), BLOCK):
        block = array[start : start + BLOCK]
        yield np.bitwise_and(block, largest(bits), out=buffer[: len(block)])
