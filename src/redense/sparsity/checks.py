"""Checks of settings that need no PyTorch."""

from __future__ import annotations

from typing import Literal

from redense.arguments import FRACTION
from redense.errors import RecipeError

DistributionName = Literal["uniform", "global", "erk"]
"""How a sparsity is shared out among tensors; see `redense.sparsity.distributions`."""
MaskChoice = Literal["random", "gradual"]
"""How a sparse phase chooses its masks, if not as all do; see `redense.sparsity.schedules.chosen`."""


def check_sparsity(setting: str, sparsity: float) -> None:
    """Raise `RecipeError`, which begins with `setting`, unless the sparsity is a number in [0, 1)."""
    if isinstance(sparsity, bool) or not (isinstance(sparsity, (int, float)) and FRACTION.holds(sparsity)):
        raise RecipeError(f"{setting}: got {sparsity!r}; expected {FRACTION.expected}")
