"""Rows, comparisons and traces gathered by what they have in common."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def gathered(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Gather values by key, keys and values in the order in which they come.

    >>> gathered([("dense", 1), ("sparse", 2), ("dense", 3)])
    {'dense': [1, 3], 'sparse': [2]}
    """
    found: dict[Key, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
