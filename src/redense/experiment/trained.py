"""What training leaves: what each epoch measured, a job's result, and the state of a phase in progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from redense.experiment.whole_folders import Tensors
from redense.signals import Signals


@dataclass(frozen=True)
class Epoch:
    """What was measured in and after an epoch of training.

    `epoch` counts from 1; `loss` is the mean cross-entropy in training, 0 or more; `test_accuracy` that on held-out
    examples and `inference_accuracy` that of the confidence-threshold attack, both in [0, 1]; `validation_accuracy`
    that on validation examples, where there are any.
    """

    epoch: int
    loss: float
    test_accuracy: float
    inference_accuracy: float
    validation_accuracy: float | None = None


def best_epoch(history: Sequence[Epoch], first: int = 1) -> int | None:
    """Return the epoch, from a first one, with the highest accuracy on validation examples, the first of equals.

    None where there are no such examples, or no such epochs yet.

    >>> best_epoch([Epoch(1, 0.5, 0.8, 0.5, 0.7), Epoch(2, 0.4, 0.8, 0.5, 0.9), Epoch(3, 0.3, 0.9, 0.6, 0.9)])
    2
    """
    validated = [
        (epoch.validation_accuracy, -epoch.epoch)
        for epoch in history
        if epoch.validation_accuracy is not None and epoch.epoch >= first
    ]
    return -max(validated)[1] if validated else None


@dataclass(frozen=True)
class Checkpoint:
    """The result of one job.

    `model` is a state_dict; `masks` the masks in force during the phase (bool, True = kept; empty unless sparse);
    `train` and `test` what the model says about every example; `history` one entry an epoch; `seconds` the time spent
    in training; `best` the state_dict after the best epoch by validation, of jobs that keep it beside the last (else
    empty).
    """

    model: Tensors
    masks: Tensors
    train: Signals
    test: Signals
    history: tuple[Epoch, ...]
    seconds: float
    best: Tensors = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """The state of a phase after `epoch` epochs: all that the next epoch depends on.

    `best` is the state_dict after the best of them by validation, where that is kept (else empty).
    """

    epoch: int
    model: Tensors
    optimizer: Tensors
    history: tuple[Epoch, ...]
    seconds: float
    best: Tensors = field(default_factory=dict)
