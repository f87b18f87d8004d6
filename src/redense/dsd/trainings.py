"""DSDs that frameworks' callbacks make: one a training, which is over when the next training of its model begins."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from redense.dsd.dsd import DSD
from redense.errors import RecipeError
from redense.phases import check_fill
from redense.sparsity.optimizers import AnyOptimizer

_TRAININGS: weakref.WeakKeyDictionary[DSD, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""Which training each DSD of a callback belongs to."""


def dsd_of_training(
    training: object,
    model: nn.Module,
    optimizer: AnyOptimizer,
    settings: Mapping[str, Any],
    prepare: Callable[[DSD], object],
) -> DSD:
    """Make the DSD of a training that begins, and prepare it: hold it against the trainer, load its state.

    What callbacks' DSDs of other trainings of the model have left, which an exception or a lack of memory may have
    ended anywhere, goes. `training` is an object that lives for one training and is the same for all its callbacks: two
    of them are still refused. Raises what `DSD` and `prepare` raise; then nothing is left on model and optimizer.
    """
    weights = {id(parameter) for parameter in model.parameters()}
    for other, its in list(_TRAININGS.items()):
        if its() is not training and not other.finished and weights & {id(one) for one in other.model.parameters()}:
            other.remove()
    dsd = DSD(model, optimizer, **settings)
    try:
        prepare(dsd)
    except BaseException:
        dsd.remove()  # whoever holds the exception holds it, too
        raise
    _TRAININGS[dsd] = weakref.ref(training)
    return dsd


def check_epochs(dsd: DSD, trainer: str, epochs: float | None, max_steps: int, steps_an_epoch: int | None) -> None:
    """Raise `RecipeError` unless phases in epochs take as many as a trainer makes.

    It makes `epochs` (None or -1: any number), or stops before, after `max_steps` of the optimizer (0 or less: it does
    not). `steps_an_epoch` is None where nobody can tell; then a training that stops before is told at its end.
    """
    limit = math.inf if epochs is None or epochs < 0 else epochs
    if max_steps > 0 and (max_steps < limit * steps_an_epoch if steps_an_epoch else limit == math.inf):
        if not steps_an_epoch or max_steps % steps_an_epoch:
            known = f"epochs of {steps_an_epoch}" if steps_an_epoch else "epochs of unknown length"
            raise RecipeError(
                f"DSDCallback: the phases are in epochs, and {trainer} stops after {max_steps} steps in {known}; "
                "expected phases in steps (steps=...), or max_steps of whole epochs"
            )
        epochs = max_steps // steps_an_epoch
        trainer += f" (max_steps={max_steps}, {steps_an_epoch} steps an epoch)"
    check_fill(dsd.phases, "epochs", epochs, trainer)
