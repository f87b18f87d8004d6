"""Gradients of single examples, which Opacus clips before it adds them up.

Those of pruned weights must be zero before an example's norm is taken: else they shorten the gradients that remain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import nn, optim

from redense.sparsity.parameters import is_a

CLIPPING = "opacus.optimizers.optimizer:DPOptimizer"
"""The optimizer that clips, subclasses included."""


class Removable(Protocol):
    """A hook that can be taken off."""

    def remove(self) -> None:
        """Take it off."""


def of_samples(parameter: nn.Parameter) -> Iterator[torch.Tensor]:
    """Yield the gradients of examples [batch, ...] that lie at a parameter: one tensor, or one a backward pass."""
    found: Any = getattr(parameter, "grad_sample", None)
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, list):
        yield from found


def before_clipping(optimizers: Iterable[optim.Optimizer], action: Callable[[], None]) -> list[Removable]:
    """Do something whenever one of the optimizers is about to clip the gradients of examples."""
    return [_BeforeClipping(optimizer, action) for optimizer in optimizers if is_a(optimizer, CLIPPING)]


class _BeforeClipping:
    """Stands before an optimizer's method, on the object alone; there are no hooks for it."""

    METHOD = "clip_and_accumulate"

    def __init__(self, optimizer: Any, action: Callable[[], None]) -> None:
        clip = getattr(optimizer, self.METHOD)

        def masked() -> None:
            action()
            clip()

        self._attributes = vars(optimizer)
        self._former = self._attributes.get(self.METHOD)
        self._attributes[self.METHOD] = masked

    def remove(self) -> None:
        """Give the object what it had before: its class's method or another one of its own."""
        del self._attributes[self.METHOD]
        if self._former is not None:
            self._attributes[self.METHOD] = self._former
