"""Which weights are pruned together: none, N of every M, blocks, or whole output channels.

Each pattern is a view of a tensor as *units*, and one number a unit. Weights of a transposed convolution lie as
(in, out, ...), all others as (out, in, ...).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch

from redense.arguments import Must, Sparsity, validated
from redense.errors import RecipeError

__all__ = ["Block", "NofM", "OutputChannels", "Pattern"]


Shape = Annotated[
    tuple[int, ...],
    Must(lambda shape: len(shape) >= 2 and min(shape) >= 1, "a shape of two or more dimensions, (out, in, ...)"),
]
Weights = Annotated[
    torch.Tensor,
    Must(lambda weights: weights.dim() >= 2 and not weights.is_complex(), "a tensor of real numbers (out, in, ...)"),
]
Marks = Annotated[
    torch.Tensor, Must(lambda marks: marks.dim() == 1 and marks.dtype == torch.bool, "a tensor of bools [units]")
]


class Pattern(Protocol):
    """Groups the weights of a tensor into units that are pruned or kept as a whole."""

    def check(self, name: str, shape: tuple[int, ...], sparsity: float) -> None:
        """Raise `RecipeError` unless the pattern fits a tensor (out, in, ...) and the sparsity."""

    def units(self, shape: tuple[int, ...]) -> int:
        """Count the units of a tensor (out, in, ...)."""

    def importance(self, weights: torch.Tensor) -> torch.Tensor:
        """Turn the importance of weights (out, in, ...) into that of units: float64 [units], of mean weights."""

    def spread(self, units: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Turn marks of units, bool [units], into marks of weights (out, in, ...)."""


@validated(RecipeError)
@dataclass(frozen=True)
class NofM:
    """Keep the `n` most important of every `m` weights that follow each other along the input dimension.

    2 of 4 is what NVIDIA's sparse tensor cores take. The sparsity must be 1 - n/m.

    >>> importance = torch.tensor([[0.1, 0.4, 0.3, 0.2]])
    >>> NofM(2, 4).pruned(importance).tolist()
    [[True, False, False, True]]
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise RecipeError(f"pattern: got {self.n} of {self.m}; expected 0 < n < m, such as 2 of 4")

    @validated(RecipeError)
    def check(self, name: str, shape: Shape, sparsity: Sparsity) -> None:
        """Raise `RecipeError` unless m divides the inputs and the sparsity is 1 - n/m."""
        if shape[1] % self.m:
            raise RecipeError(
                f"{name}: got {shape[1]} inputs, which {self.m} does not divide; expected a multiple of {self.m} "
                f"for {self.n} of {self.m}; exclude that layer"
            )
        if not math.isclose(sparsity, 1 - self.n / self.m):
            raise RecipeError(
                f"sparsity: got {sparsity:g}; expected {1 - self.n / self.m:g}, which {self.n} of {self.m} means"
            )

    @validated(RecipeError)
    def pruned(self, importance: Weights) -> torch.Tensor:
        """Mark the m - n least important of every m; among equals the lower index goes first."""
        self.check("importance", tuple(importance.shape), 1 - self.n / self.m)
        groups = importance.movedim(1, -1)
        grouped = groups.reshape(-1, self.m)
        order = grouped.argsort(dim=1, stable=True)[:, : self.m - self.n]
        marks = torch.zeros_like(grouped, dtype=torch.bool).scatter_(1, order, True)
        return marks.view(groups.shape).movedim(-1, 1).contiguous()


@validated(RecipeError)
@dataclass(frozen=True)
class Block:
    """Prune blocks of `rows` outputs by `columns` inputs of the matrix (out, in x kernel)."""

    rows: int = 4
    columns: int = 4

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < 1:
            raise RecipeError(f"pattern: got blocks of {self.rows} by {self.columns}; expected at least 1 by 1")

    @validated(RecipeError)
    def check(self, name: str, shape: Shape, sparsity: Sparsity) -> None:
        """Raise `RecipeError` unless the blocks divide the matrix."""
        rows, columns = shape[0], math.prod(shape[1:])
        if rows % self.rows or columns % self.columns:
            raise RecipeError(
                f"{name}: got a matrix of {rows} by {columns}, which blocks of {self.rows} by {self.columns} do not "
                "divide; choose other blocks or exclude that layer"
            )

    @validated(RecipeError)
    def units(self, shape: Shape) -> int:
        """Count the blocks."""
        return math.prod(shape) // (self.rows * self.columns)

    @validated(RecipeError)
    def importance(self, weights: Weights) -> torch.Tensor:
        """Average over each block."""
        self.check("weights", tuple(weights.shape), 0.0)
        matrix = weights.double().reshape(weights.shape[0], -1)
        tiles = matrix.view(matrix.shape[0] // self.rows, self.rows, matrix.shape[1] // self.columns, self.columns)
        return tiles.mean(dim=(1, 3)).flatten()

    @validated(RecipeError)
    def spread(self, units: Marks, shape: Shape) -> torch.Tensor:
        """Repeat each mark over its block."""
        self.check("shape", shape, 0.0)
        _check_marks(units, self.units(shape))
        tiles = units.view(shape[0] // self.rows, -1)
        return tiles.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1).view(shape)


@validated(RecipeError)
@dataclass(frozen=True)
class OutputChannels:
    """Prune whole output channels: rows of a linear layer, filters of a convolution."""

    @validated(RecipeError)
    def check(self, name: str, shape: Shape, sparsity: Sparsity) -> None:
        """Channels fit every tensor."""

    @validated(RecipeError)
    def units(self, shape: Shape) -> int:
        """Count the channels."""
        return shape[0]

    @validated(RecipeError)
    def importance(self, weights: Weights) -> torch.Tensor:
        """Average over each channel."""
        return weights.double().flatten(1).mean(1)

    @validated(RecipeError)
    def spread(self, units: Marks, shape: Shape) -> torch.Tensor:
        """Repeat each mark over its channel."""
        _check_marks(units, self.units(shape))
        return units.view(-1, *[1] * (len(shape) - 1)).expand(shape).contiguous()


def _check_marks(marks: torch.Tensor, units: int) -> None:
    if len(marks) != units:
        raise RecipeError(f"units: got {len(marks)} marks; expected {units}, one for each unit of the shape")
