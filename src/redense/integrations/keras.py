"""DSD in Keras 3, on any of its backends; needs the extra ``redense[keras]``.

Keras has its own optimizers, so `redense.DSD`'s hooks have no place here. Its *constraints* have: a function that
the optimizer applies to a variable after every update, compiled with it on every backend. A mask is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from redense.errors import ModelError, RecipeError
from redense.methods import dsd
from redense.phases import Phase, check_fill, running
from redense.sparsity.smallest import smallest

try:
    import keras
except ImportError as missing:
    raise ImportError("keras is not installed; pip install 'redense[keras]'") from missing


class DSDCallback(keras.callbacks.Callback):
    """Take a Keras model through dense, sparse and re-dense phases of `epochs` each.

    Pruned weights are exactly 0 after every update of the sparse phase. At every boundary the optimizer starts afresh
    and its learning rate gets the phase's factor in `rates`. Variables of two or more dimensions are pruned, all to the
    same `sparsity`, but embeddings and what `exclude` matches (names or shell patterns of a variable's path).

    Resumes through Keras's own means: `BackupAndRestore`, or a saved model and ``fit(initial_epoch=...)``. In the
    middle of the sparse phase the mask is then read off the zeros of the weights.

    Raises, at the start of training, `RecipeError` for phases that do not add up to the epochs of ``fit`` or settings
    that make no sense, and `ModelError` for a learning rate that is a schedule (use a callback for it).

    >>> callback = DSDCallback(sparsity=0.5, epochs=(2, 1, 1))
    """

    def __init__(
        self,
        *,
        sparsity: float,
        epochs: Sequence[int],
        rounds: int = 1,
        rates: Sequence[float] = (1.0, 1.0, 0.1),
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.exclude = tuple(exclude)
        self.phases = dsd(sparsity, tuple(epochs), tuple(rates), rounds)
        self.masks: dict[str, torch.Tensor] = {}
        """The masks in force: path of the variable -> bool tensor, True = kept."""
        self._constraints: dict[str, Any] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Compare the phases with the training."""
        check_fill(self.phases, "epochs", self.params["epochs"], "fit")
        if isinstance(self.model.optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            raise ModelError("DSDCallback: got a schedule as learning rate; expected a number (schedule by a callback)")
        self._prunable()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Enter the phase of this epoch, or go on in it after a resumption."""
        before, phase = (running(self.phases, number)[0] for number in (max(epoch - 1, 0), epoch))
        if phase is not before:
            self._unmask()
            self._restart_optimizer(phase.rate / before.rate)
        elif epoch == 0:
            self._scale_rate(phase.rate)
        if phase.kind == "sparse" and not self.masks:
            self._mask(phase)

    def on_train_end(self, logs: Any = None) -> None:
        """Leave no constraint behind."""
        self._unmask()

    def _prunable(self) -> list[Any]:
        layers = [layer for layer in self.model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
        embeddings = {variable.path for layer in layers for variable in layer.weights}
        candidates = [v for v in self.model.trainable_variables if len(v.shape) >= 2 and v.path not in embeddings]
        for pattern in self.exclude:
            if not any(fnmatchcase(variable.path, pattern) for variable in candidates):
                known = ", ".join(variable.path for variable in candidates)
                raise RecipeError(f"exclude: the pattern {pattern!r} matches no kernel; expected one of {known}")
        return [v for v in candidates if not any(fnmatchcase(v.path, pattern) for pattern in self.exclude)]

    def _mask(self, phase: Phase) -> None:
        assert phase.sparsity is not None
        for variable in self._prunable():
            weights = torch.from_numpy(keras.ops.convert_to_numpy(variable.value).copy())
            mask = ~smallest({variable.path: weights}, round(phase.sparsity * weights.numel()))[variable.path]
            if not mask.any():
                raise RecipeError(f"sparsity {phase.sparsity:g} leaves {variable.path} without weights; exclude it")
            self.masks[variable.path] = mask
            variable.assign(torch.where(mask, weights, torch.zeros((), dtype=weights.dtype)).numpy())
            self._constraints[variable.path] = variable.constraint
            variable.constraint = _masking(mask, variable.constraint)
        self.model.make_train_function(force=True)

    def _unmask(self) -> None:
        for variable in self.model.trainable_variables:
            if variable.path in self._constraints:
                variable.constraint = self._constraints[variable.path]
        if self.masks:
            self.model.make_train_function(force=True)
        self.masks, self._constraints = {}, {}

    def _restart_optimizer(self, factor: float) -> None:
        """Give every variable of the optimizer its first value but the learning rate, which is multiplied."""
        optimizer = self.model.optimizer
        fresh = type(optimizer).from_config(optimizer.get_config())
        fresh.build(self.model.trainable_variables)
        for variable, first in zip(optimizer.variables, fresh.variables, strict=True):
            if variable is not optimizer._learning_rate:
                variable.assign(first.value)
        self._scale_rate(factor)

    def _scale_rate(self, factor: float) -> None:
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        self.model.optimizer.learning_rate = float(rate) * factor


def _masking(mask: torch.Tensor, inner: Any) -> Any:
    """Apply the variable's own constraint, if it has one, and then the mask."""
    kept = keras.ops.convert_to_tensor(mask.numpy())

    def constrain(value: Any) -> Any:
        value = value if inner is None else inner(value)
        return keras.ops.where(kept, value, keras.ops.zeros_like(value))

    return constrain
