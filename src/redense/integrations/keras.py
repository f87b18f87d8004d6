"""DSD in Keras 3, on any of its backends; needs the extra ``redense[keras]``.

Keras has its own optimizers, so `redense.DSD`'s hooks have no place here. Its *constraints* have: a function that
the optimizer applies to a variable after every update, compiled with it on every backend. A mask is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from redense.dsd.words import dense_in_words, held_in_words, phase_in_words, say
from redense.errors import ModelError, RecipeError, TrainingError
from redense.methods import dsd
from redense.phases import Phase, check_fill, running
from redense.sparsity.smallest import smallest

try:
    import keras
except ImportError as missing:
    raise ImportError("keras is not installed; pip install 'redense[keras]'") from missing

from redense.integrations.keras_weights import Match, left_dense, patterns, prunable


class DSDCallback(keras.callbacks.Callback):
    """Take a Keras model through dense, sparse and re-dense phases of `epochs` each.

    Pruned weights are exactly 0 after every update of the sparse phase. At every boundary the optimizer starts afresh.
    The learning rate of a phase is multiplied by its factor in `rates` while batches are trained, so that callbacks
    which change the rate between epochs see it without. The weights of layers are pruned, all to the same `sparsity`
    (`redense.integrations.keras_weights` says which these are: no embedding, norm, scale, token or position); `include`
    adds other variables of two or more dimensions, and `exclude` takes some away (shell patterns of a variable's path,
    and types of layers). When a phase begins, one line says what it does, as `redense.DSD` does, unless `verbose` is
    False.

    Resumes through Keras's own means: `BackupAndRestore`, or a saved model and ``fit(initial_epoch=...)``. In the
    middle of the sparse phase the mask is then read off the zeros of the weights.

    Raises `RecipeError` for settings that make no sense, and at the start of training for those that do not fit the
    model and phases that do not add up to the epochs of ``fit``; there also `ModelError` for a learning rate that is a
    schedule (use a callback for it). `TrainingError` after an epoch without an update of the optimizer (gradients that
    are accumulated over more batches than an epoch has), in which no phase has trained anything.

    >>> callback = DSDCallback(sparsity=0.5, epochs=(2, 1, 1))
    """

    def __init__(
        self,
        *,
        sparsity: float,
        epochs: Sequence[int],
        rounds: int = 1,
        rates: Sequence[float] = (1.0, 1.0, 0.1),
        exclude: Iterable[Match] | Match = (),
        include: Iterable[Match] | Match = (),
        verbose: bool = True,
    ) -> None:
        super().__init__()
        self.exclude = patterns(exclude, "exclude")
        self.include = patterns(include, "include")
        self.verbose = verbose
        self.phases = dsd(sparsity, tuple(epochs), tuple(rates), rounds)
        self._masked: list[tuple[Any, torch.Tensor]] = []
        """The variables with masks in force, which are their constraints; True = kept."""
        self._said: Phase | None = None
        """The phase of which a line was said last."""
        self._before: int | None = None
        """How many updates the optimizer had made when the epoch's first batch began."""

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """The masks in force: path of the variable -> bool tensor, True = kept; of several of one path the last."""
        return {variable.path: mask for variable, mask in self._masked}

    def on_train_begin(self, logs: Any = None) -> None:
        """Compare the phases with the training; take off what one that was interrupted has left."""
        check_fill(self.phases, "epochs", self.params["epochs"], "fit")
        if isinstance(self._optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            raise ModelError("DSDCallback: got a schedule as learning rate; expected a number (schedule by a callback)")
        self._prunable()
        self._leave()
        self._said = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note which phase this epoch is of."""
        self._epoch, self._before = epoch, None
        before, self._phase = (running(self.phases, number)[0] for number in (max(epoch - 1, 0), epoch))
        self._enters = self._phase is not before

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Enter the phase, or go on in it after a resumption, and multiply the rate.

        All callbacks have begun the epoch by now, so that the model has its own weights again where an average was
        swapped in (`SwapEMAWeights`).
        """
        if self._enters:
            self._leave()
        if self._phase.kind == "sparse" and not self._masked:
            self._mask(self._phase)
        if self._enters:
            self._restart_optimizer()
            self._enters = False
        if self._before is None:
            self._before = self._updates()
        if self._said is not self._phase:
            self._said = self._phase
            self._say()
        _multiply_rate(self._optimizer, self._phase.rate)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Let everybody else see the rate without the factor."""
        _multiply_rate(self._optimizer, 1.0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Refuse an epoch without an update."""
        if self._updates() == self._before:
            self._leave()
            raise TrainingError(
                f"epoch {epoch + 1} ended without an update of the optimizer; expected at least one an epoch: "
                "accumulate gradients over fewer batches or, where a scaled loss overflowed, begin with a smaller scale"
            )

    def on_train_end(self, logs: Any = None) -> None:
        """Leave no constraint behind."""
        self._leave()

    @property
    def _optimizer(self) -> Any:
        """The optimizer that moves weights, inside of the one that scales the loss."""
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _prunable(self) -> list[Any]:
        return prunable(self.model, self.include, self.exclude)

    def _say(self) -> None:
        """Say which phase begins, at which rate, how many weights are held at zero, and what large stays dense."""
        if self.verbose:
            pruned = self._prunable()
            zeros = sum(int((~mask).sum()) for _, mask in self._masked) if self._masked else None
            large, dense = left_dense(self.model, pruned), left_dense(self.model, pruned, 0.0)
            rate = float(keras.ops.convert_to_numpy(self._optimizer.learning_rate)) * self._phase.rate
            where = phase_in_words(self.phases, "epochs", self._epoch, rate)
            held = held_in_words([math.prod(variable.shape) for variable in pruned], zeros)
            say(f"DSD: {where}: {held}{dense_in_words(large, dense.keys() - large.keys())}")

    def _mask(self, phase: Phase) -> None:
        assert phase.sparsity is not None
        for variable in self._prunable():
            weights = torch.from_numpy(keras.ops.convert_to_numpy(variable.value).copy())
            mask = ~smallest({variable.path: weights}, round(phase.sparsity * weights.numel()))[variable.path]
            if not mask.any():
                raise RecipeError(f"sparsity {phase.sparsity:g} leaves {variable.path} without weights; exclude it")
            self._masked.append((variable, mask))
            sparse = torch.where(mask, weights, torch.zeros((), dtype=weights.dtype))
            variable.assign(keras.ops.convert_to_tensor(sparse.numpy()))
            variable.constraint = _Masking(mask, variable.constraint)
        self.model.make_train_function(force=True)

    def _leave(self) -> None:
        """Take masks and factor off, also what a training has left that an exception ended, and compile without."""
        for variable in self.model.variables:
            while isinstance(variable.constraint, _Masking):
                variable.constraint = variable.constraint.inner
        self._masked = []
        _multiply_rate(self._optimizer, 1.0)
        self.model.make_train_function(force=True)

    def _restart_optimizer(self) -> None:
        """Give every variable of the optimizer its first value but the learning rate; averages begin at the weights."""
        optimizer = self._optimizer
        fresh = type(optimizer).from_config(optimizer.get_config())
        fresh.build(self.model.trainable_variables)
        for variable, first in zip(optimizer.variables, fresh.variables, strict=True):
            if variable is not optimizer._learning_rate:
                variable.assign(first.value)
        averages = getattr(optimizer, "_model_variables_moving_average", [])
        for weights, average in zip(optimizer._trainable_variables, averages, strict=bool(averages)):
            if average is not None:
                average.assign(keras.ops.copy(weights.value))  # JAX would share the array with the weights

    def _updates(self) -> int:
        """Count updates since the optimizer was made or restarted; a scaled loss leaves out what overflows."""
        return int(self._optimizer.iterations)


def _multiply_rate(optimizer: Any, factor: float) -> None:
    """Let an optimizer read its rate multiplied; the variable, which backups and schedulers know, stays as it is."""
    vars(optimizer).pop("_get_current_learning_rate", None)
    if factor != 1:
        plain = optimizer._get_current_learning_rate
        optimizer._get_current_learning_rate = lambda: plain() * factor


class _Masking:
    """A constraint: the variable's own, if it has one, and then the mask."""

    def __init__(self, mask: torch.Tensor, inner: Any) -> None:
        self.inner = inner
        self._kept = keras.ops.convert_to_tensor(mask.numpy())

    def __call__(self, value: Any) -> Any:
        # JAX is given the variable
        value = keras.ops.convert_to_tensor(value if self.inner is None else self.inner(value))
        return keras.ops.where(self._kept, value, keras.ops.zeros_like(value))
