"""What values must be besides being of a type: ranges, and names for those that are common."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Must:
    """What values of a type must be, besides being of that type: a test, and in words what passes it."""

    holds: Callable[[Any], bool]
    expected: str


CHECKED = "checked in the body"
"""In an annotation: the function checks this one itself, since it knows more than a type says."""


SHARE = Must(lambda value: 0 <= value <= 1, "a rate from 0 to 1")


INSIDE = Must(lambda value: 0 < value < 1, "a share between 0 and 1, such as 0.95")


SHARED = Must(lambda value: 1e-3 <= value <= 1 - 1e-9, "a share between 0 and 1 (0.001 to 0.999999999), such as 0.95")


BELOW_ONE = Must(lambda value: 0 <= value < 1, "a probability from 0 to below 1")


FRACTION = Must(lambda value: 0 <= value < 1, "a fraction from 0 (included) to 1 (excluded)")


COUNT = Must(lambda value: value >= 0, "an integer of 0 or more")


SOME = Must(lambda value: value >= 1, "an integer of 1 or more")


INTERVAL = Must(lambda ends: -math.inf < ends[0] <= ends[1] < math.inf, "two finite numbers, the lower one first")


SHARES = Must(lambda ends: 0 <= ends[0] <= ends[1] <= 1, "two rates from 0 to 1, the lower one first")


FINITE = Must(math.isfinite, "a finite number")


Rate = Annotated[float, SHARE]


Sparsity = Annotated[float, FRACTION]


Confidence = Annotated[float, INSIDE]


SharedConfidence = Annotated[float, SHARED]
"""Of a whole audit, which shares the error out among many intervals."""


Delta = Annotated[float, BELOW_ONE]


Count = Annotated[int, COUNT]


NotNegative = Annotated[float, Must(lambda value: 0 <= value < math.inf, "a finite number of 0 or more")]


Positive = Annotated[float, Must(lambda value: 0 < value < math.inf, "a finite number above 0")]


Interval = Annotated[tuple[float, float], INTERVAL]


Shares = Annotated[tuple[float, float], SHARES]


def at_most(most: int, least: int = 1) -> Must:
    """Ask for an integer between two ends, both included."""
    return Must(lambda value: least <= value <= most, f"an integer from {least:,} to {most:,}")


def called(expected: str) -> Must:
    """Say in words what a type asks for."""
    return Must(lambda value: True, expected)
