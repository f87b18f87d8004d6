"""What happens around every step of an optimizer: the phase's factor on its rates, and DSD's own work."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import optim

from redense.dsd.loop import Loop
from redense.errors import ModelError, warn_caller
from redense.sparsity.enforce import uncompiled

FORGOTTEN = (
    "a DSD was made for this optimizer and thrown away before its loop {}: nothing is pruned; keep it "
    "(dsd = redense.DSD(...)) and train in the body of `for epoch in dsd.epochs():`"
)


class StepHooks:
    """Hooks of a DSD, the `owner`, on an optimizer; `remove` takes them off.

    They work as long as somebody holds the owner; `held` is set to it where the optimizer alone is to hold it.
    """

    def __init__(self, optimizer: optim.Optimizer, owner: Loop) -> None:
        self.optimizer = optimizer
        self.held: Loop | None = None
        self._owner = weakref.ref(owner)
        self._unscaled: list[Any] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._around = self._warned = False
        _ON[optimizer] = weakref.ref(self)

    @property
    def owner(self) -> Loop | None:
        """The DSD that they belong to; None when nobody holds it."""
        return self._owner()

    def rates(self, factor: float) -> list[float]:
        """Return the rates of the next step in all groups, multiplied by a factor; within a step they are already."""
        factor = 1.0 if self._unscaled else factor
        return [float(group["lr"]) * factor for group in self.optimizer.param_groups]

    def around(self, before: Callable[[optim.Optimizer], float], after: Callable[[optim.Optimizer], None]) -> None:
        """Call the owner's methods around each step; between them rates are multiplied by what `before` returns."""
        if self._around:  # perhaps within a step, which must not find its hooks changed
            return
        weak_before, weak_after = weakref.WeakMethod(before), weakref.WeakMethod(after)

        def before_step() -> None:
            self._restore()  # in case the last step raised an exception
            alive = weak_before()
            factor = self._warn("was over") if alive is None else alive(self.optimizer)
            if factor != 1:
                groups = self.optimizer.param_groups
                self._unscaled = [group["lr"] for group in groups]
                for group in groups:
                    group["lr"] = group["lr"] * factor

        def after_step() -> None:
            self._restore()
            alive = weak_after()
            if alive is not None:
                alive(self.optimizer)

        self.remove()
        _ON[self.optimizer], self._around = weakref.ref(self), True
        self._handles = [
            self.optimizer.register_step_pre_hook(uncompiled(before_step)),
            self.optimizer.register_step_post_hook(uncompiled(after_step)),
        ]

    def check(self, method: Callable[[optim.Optimizer], None]) -> None:
        """Call a method of the owner before each step."""
        weak = weakref.WeakMethod(method)

        def before_step() -> None:
            alive = weak()
            if alive is None:
                self._warn("began")
            else:
                alive(self.optimizer)

        self._handles.append(self.optimizer.register_step_pre_hook(uncompiled(before_step)))

    def remove(self) -> None:
        """Take all hooks off, and let the rates be what the scheduler has set."""
        self._restore()
        for handle in self._handles:
            handle.remove()
        self._handles, self.held, self._around = [], None, False
        if hooks_on(self.optimizer) is self:
            del _ON[self.optimizer]

    def _warn(self, when: str) -> float:
        """Say once that the owner is gone; return a factor that changes nothing."""
        if not self._warned:
            warn_caller(FORGOTTEN.format(when))
        self._warned = True
        return 1.0

    def _restore(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._unscaled, strict=False):
            group["lr"] = rate
        self._unscaled = []


_ON: weakref.WeakKeyDictionary[optim.Optimizer, weakref.ref[StepHooks]] = weakref.WeakKeyDictionary()
"""The hooks that optimizers have."""


def hooks_on(optimizer: optim.Optimizer) -> StepHooks | None:
    """Return the hooks that some DSD has on an optimizer."""
    weak = _ON.get(optimizer)
    return None if weak is None else weak()


def take_over(optimizers: Sequence[optim.Optimizer]) -> None:
    """Take off what DSDs that are over, or that nobody holds, have left on optimizers: hooks, factor and masks.

    Those that are over leave also other optimizers of the same parameters, which their masks would still hold at zero.
    Raises `ModelError`, before anything is changed, for optimizers that have, or whose parameters are in another one
    that has, a DSD that is not over: both factors would count, and both masks.
    """
    if _first_busy(optimizers) is not None:
        gc.collect()  # what a cycle keeps is nobody's
    busy = _first_busy(optimizers)
    if busy is not None:
        kind = type(busy.optimizer).__name__
        has = f"this {kind} has" if busy.optimizer in optimizers else f"another optimizer ({kind}) of its weights has"
        raise ModelError(
            f"optimizer: {has} a DSD that is not over ({busy.owner!r}); call its remove() first (dsd.remove()), or go "
            "on with it"
        )
    for former in _of_same_weights(optimizers):
        if former.owner is not None:
            former.owner.remove()
        former.remove()


def _first_busy(optimizers: Sequence[optim.Optimizer]) -> StepHooks | None:
    """Return the hooks of a DSD that is not over on optimizers, or on others of the same parameters."""
    on = [hooks for hooks in _of_same_weights(optimizers) if hooks.owner is not None and not hooks.owner.finished]
    return on[0] if on else None


def _of_same_weights(optimizers: Sequence[optim.Optimizer]) -> list[StepHooks]:
    """List the hooks of DSDs on optimizers and, behind them, on others of the same parameters."""
    held = _parameters(optimizers)
    others = [other for other in list(_ON) if other not in optimizers and held & _parameters([other])]
    return [hooks for optimizer in (*optimizers, *others) if (hooks := hooks_on(optimizer)) is not None]


def _parameters(optimizers: Sequence[optim.Optimizer]) -> set[int]:
    """Identify the parameters of optimizers."""
    return {id(one) for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]}
