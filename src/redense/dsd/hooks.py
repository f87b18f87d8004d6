"""What happens around every step of an optimizer: the phase's factor on its rates, and DSD's own work."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import optim

from redense.sparsity.enforce import uncompiled

FORGOTTEN = (
    "a DSD was made for this optimizer and thrown away before its loop began: nothing is pruned; keep it "
    "(dsd = redense.DSD(...)) and train in the body of `for epoch in dsd.epochs():`"
)


class StepHooks:
    """Hooks on an optimizer; `remove` takes them off."""

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._unscaled: list[Any] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def rates(self, factor: float) -> list[float]:
        """Return the rates of the next step in all groups, multiplied by a factor; within a step they are already."""
        factor = 1.0 if self._unscaled else factor
        return [float(group["lr"]) * factor for group in self.optimizer.param_groups]

    def around(self, before: Callable[[optim.Optimizer], float], after: Callable[[optim.Optimizer], None]) -> None:
        """Call `before` and `after` around each step; between them rates are multiplied by what `before` returns."""

        def before_step() -> None:
            self._restore()  # in case the last step raised an exception
            factor = before(self.optimizer)
            if factor != 1:
                groups = self.optimizer.param_groups
                self._unscaled = [group["lr"] for group in groups]
                for group in groups:
                    group["lr"] = group["lr"] * factor

        def after_step() -> None:
            self._restore()
            after(self.optimizer)

        self.remove()
        self._handles = [
            self.optimizer.register_step_pre_hook(uncompiled(before_step)),
            self.optimizer.register_step_post_hook(uncompiled(after_step)),
        ]

    def check(self, method: Callable[[optim.Optimizer], None]) -> None:
        """Call a method before each step, as long as somebody holds the object that it belongs to."""
        weak = weakref.WeakMethod(method)

        def before_step() -> None:
            alive = weak()
            if alive is not None:
                alive(self.optimizer)
            else:
                warnings.warn(FORGOTTEN, stacklevel=3)
                self.remove()

        self._handles.append(self.optimizer.register_step_pre_hook(uncompiled(before_step)))

    def remove(self) -> None:
        """Take all hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _restore(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._unscaled, strict=False):
            group["lr"] = rate
        self._unscaled = []
