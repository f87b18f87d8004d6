"""Evaluation on cores that have no job: batches are shared out, and none is computed otherwise than on one core."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import torch
from torch import nn

from redense.experiment.determinism import join_arithmetic
from redense.signals import EVALUATION_BATCH, Batch, Signals, read_in_batches, read_signals

Cores = Callable[[], int]
"""How many cores an evaluation that begins now may use, its own among them."""
PURE = ("torch.nn.modules.", "torchvision.models.", "redense.models.")
"""Where modules are from whose evaluation neither changes nor draws anything."""
DRAWING = (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
"""Those that draw random numbers nevertheless."""


class Reader:
    """Does as `read_signals` does, with the same bits, on as many cores as there are when it is called."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self._used = 1

    def __call__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Signals:
        """Evaluate a model on stored examples."""
        cores = self.cores()
        if cores < self._used:
            self.give_back()
        self._used = cores
        return read_signals_on(cores, model, x, y)

    def give_back(self) -> None:
        """Free the memory of threads, a batch's activations each, which glibc would keep: others may use it now."""
        if self._used > 1:
            with suppress(AttributeError):  # another C library
                ctypes.CDLL(None).malloc_trim(0)
        self._used = 1


def read_signals_on(cores: int, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Signals:
    """Do as `read_signals` does, with the same bits, on so many cores where the model may be shared.

    Call it within `redense.experiment.determinism.fixed_arithmetic` on the CPU.
    """
    cores = min(cores, -(-len(x) // EVALUATION_BATCH))
    if cores <= 1 or not may_be_shared(model):
        return read_signals(model, x, y)
    return read_in_batches(model, x, y, in_order=partial(_in_threads, cores))


def may_be_shared(model: nn.Module) -> bool:
    """Tell whether several threads may evaluate a model at once.

    Anybody's own module may keep what it sees for a moment, or draw random numbers, whose order threads would change.

    >>> may_be_shared(nn.Sequential(nn.Linear(2, 2), nn.Dropout())), may_be_shared(nn.FractionalMaxPool2d(2, 2))
    (True, False)
    """
    return all(map(_is_pure, model.modules()))


def _is_pure(module: nn.Module) -> bool:
    changed = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return type(module).__module__.startswith(PURE) and not changed and not isinstance(module, DRAWING)


def _in_threads(cores: int, read: Callable[[Batch], Signals], batches: Sequence[Batch]) -> Iterable[Signals]:
    with ThreadPoolExecutor(cores, initializer=_begin) as threads:
        try:
            answers = threads.map(read, batches)
        except RuntimeError:  # the system gives no more threads
            answers = map(read, batches)
        return list(answers)


def _begin() -> None:
    join_arithmetic()
    torch.set_grad_enabled(False)
