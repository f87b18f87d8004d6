"""Train a phase: of one job, or of several that are trained together; an epoch at a time, resumable."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import nn

from redense.data.batches import TensorData
from redense.errors import TrainingError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import kernels, settle
from redense.experiment.events import EpochDone, Failed, Finished
from redense.experiment.expected import Form
from redense.experiment.plan import Job
from redense.experiment.trained import Checkpoint, Epoch, Progress, best_epoch
from redense.experiment.trainer import (
    MakeTrainer,
    PlainTrainer,
    SignalPair,
    Start,
    Trainer,
    first_eligible,
    is_gradual,
    masks_at,
)
from redense.experiment.whole_folders import Tensors
from redense.metrics import balanced_accuracy
from redense.models.registry import build, placed, rebuild


def train_phase(
    jobs: Sequence[Job],
    data: TensorData,
    store: Store,
    make_trainer: MakeTrainer = PlainTrainer,
    save_every: float = 0.0,
) -> Iterator[EpochDone | Finished | Failed]:
    """Train jobs of the same epochs and store their checkpoints; go on after the last stored epoch.

    Every job ends in `Finished` or, when its loss or its model's answers are no longer finite, in `Failed`, by itself.
    What the next epoch depends on is stored after every epoch but the last, at most every `save_every` seconds.
    The bits of a result depend on the job, the data and the trainer's arithmetic alone. Iterate within
    `redense.experiment.determinism.fixed_arithmetic`. Raises `TrainingError` when a parent's checkpoint is gone.
    """
    with torch.random.fork_rng(devices=[]):
        trainer, sound, done = _begin(jobs, data, store, make_trainer)
        settle(data.x_train.device)  # for the model's module may have been imported only now
        epochs, saved = jobs[0].phase.epochs, time.perf_counter()
        validated = data.x_validation is not None
        for epoch in range(done, epochs):
            started = time.perf_counter()
            losses, answers = trainer.train_epoch(epoch), list(trainer.monitor())
            validation = list(trainer.validate()) if validated else [None] * len(jobs)
            seconds = (time.perf_counter() - started) / len(jobs)
            for place, model in list(sound.items()):
                event = model.after_epoch(epoch + 1, losses[place], answers[place], validation[place], seconds)
                if isinstance(event, Failed):
                    del sound[place]
                elif model.is_best(epoch + 1):
                    model.best = _copied(trainer.state(place)[0])
                yield event
            if not sound:
                return
            if epoch + 1 < epochs and time.perf_counter() - saved >= save_every:
                for place, model in sound.items():
                    progress = Progress(epoch + 1, *trainer.state(place), model.history, model.seconds, model.best)
                    store.save_progress(model.job.key, progress, kernels(data.x_train.device))
                saved = time.perf_counter()
        for place, model in sound.items():
            if model.job.phase.keeps is not None and not model.job.picks:
                trainer.go_back(place, model.best)
        for place, of_all in enumerate(trainer.everything()):
            if place in sound:
                state, masks = trainer.state(place)[0], trainer.masks_of(place)
                yield sound[place].finish(state, masks, of_all, store, data.x_train.device)


@dataclass
class _InTraining:
    """A model in training, with what is known of it so far."""

    job: Job
    history: tuple[Epoch, ...]
    seconds: float
    best: Tensors = field(default_factory=dict)

    def is_best(self, epoch: int) -> bool:
        """Tell whether an epoch (from 1), the last so far, is the best by validation, and that is to be kept."""
        kept = self.job.keeps_best or self.job.phase.keeps is not None
        return kept and best_epoch(self.history, first_eligible(self.job)) == epoch

    def after_epoch(
        self, epoch: int, loss: float, answers: SignalPair, validation: float | None, seconds: float
    ) -> EpochDone | Failed:
        """Check and record an epoch (from 1)."""
        if not math.isfinite(loss):
            reason = f"the loss became {loss} in epoch {epoch} of {self.job.phase.epochs}"
            return Failed(self.job, f"{self.job.name}: {reason}; lower the rate (now {self.job.training.lr:g})")
        if _has_nan(answers):
            return self._gives_nan()
        members, held_out = answers
        scores = np.concatenate([members.phi, held_out.phi])
        inference_accuracy = balanced_accuracy(scores, np.arange(len(scores)) < len(members))
        self.history += (Epoch(epoch, loss, float(held_out.correct.mean()), inference_accuracy, validation),)
        self.seconds += seconds
        return EpochDone(self.job, self.history[-1])

    def finish(
        self, state: Tensors, masks: Tensors, answers: SignalPair, store: Store, device: torch.device
    ) -> Finished | Failed:
        """Check what the model says about all training and test examples, and store its checkpoint."""
        if _has_nan(answers):
            return self._gives_nan()
        best = self.best if self.job.keeps_best else {}
        checkpoint = Checkpoint(state, masks, *answers, self.history, self.seconds, best)
        store.save(self.job.key, self.job.to_mapping(), checkpoint, _environment(device))
        return Finished(self.job)

    def _gives_nan(self) -> Failed:
        return Failed(self.job, f"{self.job.name}: the trained model gives NaN; lower the rate")


def _has_nan(answers: SignalPair) -> bool:
    return any(np.isnan(signals.phi).any() for signals in answers)


def _begin(
    jobs: Sequence[Job], data: TensorData, store: Store, make_trainer: MakeTrainer
) -> tuple[Trainer, dict[int, _InTraining], int]:
    """Return the jobs' trainer, the models by their place in it, and how many epochs are done."""
    starts = [_start(job, data, store) for job in jobs]
    models = [
        _InTraining(one.job, one.progress.history, one.progress.seconds, dict(one.progress.best)) for one in starts
    ]
    return make_trainer(starts, data), dict(enumerate(models)), starts[0].progress.epoch


def starting_model(job: Job, data: TensorData, store: Store) -> nn.Module:
    """Build the model, with its parent's weights if it has one, on the data's device."""
    device, network = data.x_train.device, (job.training.model, data.input_shape, data.num_classes)
    if job.parent is None:
        return placed(build(*network, job.seed), device)
    parent = store.load(job.parent)
    if parent is None:
        raise TrainingError(f"{job.name}: its parent's checkpoint {job.parent} is gone")
    return rebuild(*network, parent.model, job.seed, device)


def _start(job: Job, data: TensorData, store: Store) -> Start:
    """Find where a job begins or goes on; masks are chosen by the weights that its phase began with, unless gradual."""
    if job.picks:
        return _picked(job, data, store)
    model = starting_model(job, data, store)
    masks = masks_at(job, model, 0)
    form = Form.of_network(model, len(data.y_train), len(data.y_test))
    progress = store.expecting(form, [job]).load_progress(job.key)
    if progress is None:
        return Start(job, model, masks, Progress(0, {}, {}, (), 0.0))
    model.load_state_dict(progress.model)
    if is_gradual(job):
        masks = masks_at(job, model, progress.epoch)
    return Start(job, model, masks, progress)


def _picked(job: Job, data: TensorData, store: Store) -> Start:
    """Begin with the best epoch of the job's parent, of the same phase, and with nothing left to train."""
    parent = store.load(str(job.parent))
    best = best_epoch(parent.history) if parent is not None else None
    if parent is None or best is None or not parent.best:
        raise TrainingError(f"{job.name}: the best epoch of its parent's checkpoint {job.parent} is gone")
    network = job.training.model, data.input_shape, data.num_classes
    model = rebuild(*network, parent.best, job.seed, data.x_train.device)
    return Start(job, model, {}, Progress(job.phase.epochs, {}, {}, parent.history[:best], parent.seconds))


def _copied(tensors: Tensors) -> Tensors:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _environment(device: torch.device) -> dict[str, Any]:
    """Describe when and on what a job was finished."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **kernels(device),
    }
