"""The engine that trains many models as one: on a GPU, which a small network alone leaves nearly idle.

Jobs that are ready at the same time and take the same steps (seeds, sparsities, controls, reference models) share a
`Stack`. Results agree with the plain trainer's within rounding, so their keys name this arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from redense.data.batches import TensorData
from redense.data.dataset import Dataset
from redense.data.members import included
from redense.determinism import fixed_arithmetic
from redense.errors import TrainingError
from redense.experiment.checkpoints import Checkpoint, Progress, Store
from redense.experiment.engines.base import EpochDone, Event, Failed, Finished, Retried, Started
from redense.experiment.engines.queue import Schedule
from redense.experiment.engines.stacked import Stack
from redense.experiment.memory import available_bytes, training_bytes
from redense.experiment.phase_training import (
    check_loss,
    environment,
    measured,
    monitored_members,
    order_of,
    starting_masks,
    starting_model,
    without_nan,
)
from redense.experiment.plan import Job
from redense.signals import Signals

SAVED_EVERY = 30.0
"""Seconds between stored states of jobs in progress: with many models, storing takes as long as an epoch."""
SHARE = 0.7
"""Of the free memory, the share that stacks may fill."""


class VectorizedEngine:
    """Train up to `models` jobs at once on one device; by default as many as fit into its memory."""

    def __init__(self, device: str = "cpu", models: int | None = None, threads: int | None = None) -> None:
        self.device = device
        self.models = models
        self.threads = threads or torch.get_num_threads()

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        schedule = Schedule(jobs)
        pool = _Pool.of(TensorData.of(dataset, self.device))
        limit = self.models
        with fixed_arithmetic(self.device, self.threads):
            while True:
                ready = []
                while (job := schedule.next()) is not None:
                    if store.has(job.key):
                        schedule.finish(job)
                        yield Finished(job, reused=True)
                    else:
                        ready.append(job)
                if not ready:
                    return
                if limit is None:
                    limit = self._fitting(starting_model(ready[0], pool.data, store), ready[0], pool)
                chosen, others = _alike(ready, pool, store, limit)
                for job in others:
                    schedule.put_back(job)
                ended = set()
                try:
                    for event in _train(chosen, pool, store, schedule):
                        if isinstance(event, Finished | Failed):
                            ended.add(event.job.key)
                        yield event
                except torch.OutOfMemoryError:
                    if len(chosen) == 1:
                        raise TrainingError(f"{chosen[0].name}: one model alone does not fit into memory") from None
                    limit = len(chosen) // 2
                    for job in (job for job in chosen if job.key not in ended):
                        schedule.put_back(job)
                        yield Retried(job, f"{len(chosen)} models at once do not fit into memory; {limit} from now on")

    def _fitting(self, model: nn.Module, job: Job, pool: _Pool) -> int:
        """Return how many models fit into the device's free memory."""
        free = available_bytes() if self.device == "cpu" else torch.cuda.mem_get_info()[0]
        # a mask and the gradients' first home beside what plain training needs
        needed = 1.5 * training_bytes(model, pool.data.input_shape, job.training.batch_size)
        return max(1, int(SHARE * free / needed))


@dataclass(frozen=True)
class _Pool:
    """All examples, the training data first, on the device."""

    data: TensorData
    x: torch.Tensor
    y: torch.Tensor

    @classmethod
    def of(cls, data: TensorData) -> _Pool:
        return cls(data, torch.cat((data.x_train, data.x_test)), torch.cat((data.y_train, data.y_test)))

    def members(self, job: Job) -> torch.Tensor:
        """Return the places of the examples that a job trains on, in the plain trainer's order."""
        return torch.from_numpy(np.flatnonzero(included(job.draw, len(self.data.y_train), len(self.y))))

    def held_out(self, job: Job) -> torch.Tensor:
        """Return the places of the test examples that a job never sees."""
        training = len(self.data.y_train)
        outside = np.flatnonzero(~included(job.draw, training, len(self.y)))
        return torch.from_numpy(outside[outside >= training])


def _alike(ready: Sequence[Job], pool: _Pool, store: Store, limit: int) -> tuple[list[Job], list[Job]]:
    """Part the ready jobs, first first, into those that take the same steps as the first, and the others."""
    steps = [_steps(job, pool, store) for job in ready]
    alike = [job for job, its_steps in zip(ready, steps, strict=True) if its_steps == steps[0]][:limit]
    return alike, [job for job in ready if job not in alike]


def _steps(job: Job, pool: _Pool, store: Store) -> tuple[Any, ...]:
    """Return what jobs must have in common to be trained in one stack."""
    progress = store.load_progress(job.key)
    start = progress.epoch if progress else 0
    training = job.training
    settings = (training.model, training.batch_size, training.optimizer, training.momentum, training.weight_decay)
    return (*settings, job.phase.epochs, start, len(pool.members(job)))


@dataclass
class _Trained:
    """One model of a stack on its way."""

    job: Job
    place: int
    masks: dict[str, torch.Tensor]
    members: torch.Tensor
    held_out: torch.Tensor
    history: list[dict[str, float]]
    seconds: float
    failure: str | None = None


def _train(jobs: Sequence[Job], pool: _Pool, store: Store, schedule: Schedule) -> Iterator[Event]:
    """Train jobs that take the same steps as one; a model that diverges fails alone."""
    for job in jobs:
        yield Started(job)
    stack, models, start = _begin(jobs, pool, store)
    saved = time.perf_counter()
    epochs, batch_size = jobs[0].phase.epochs, jobs[0].training.batch_size
    for epoch in range(start, epochs):
        started = time.perf_counter()
        orders = torch.stack([each.members[order_of(each.job, epoch, len(each.members))] for each in models])
        losses = stack.train_epoch(orders, batch_size)
        answers = _measure(stack, models, pool)
        seconds = (time.perf_counter() - started) / len(models)
        for each, loss, answer in zip(models, losses, answers, strict=True):
            if each.failure is not None:
                continue
            try:
                check_loss(each.job, epoch, loss)
                members, held_out = (without_nan(each.job, signals) for signals in answer)
            except TrainingError as error:
                each.failure = str(error)
                yield from schedule.fail(each.job, each.failure)
                continue
            each.history.append({"epoch": epoch + 1, "loss": loss, **measured(members, held_out)})
            each.seconds += seconds
            yield EpochDone(each.job, epoch + 1, loss, each.history[-1]["test_accuracy"])
        if epoch + 1 < epochs and time.perf_counter() - saved > SAVED_EVERY:
            for each in (each for each in models if each.failure is None):
                state, optimizer = stack.state(each.place), stack.optimizer_state(each.place)
                store.save_progress(each.job.key, Progress(epoch + 1, state, optimizer, each.history, each.seconds))
            saved = time.perf_counter()
    for each in _finish(stack, models, pool, store):
        schedule.finish(each.job)
        yield Finished(each.job)


def _begin(jobs: Sequence[Job], pool: _Pool, store: Store) -> tuple[Stack, list[_Trained], int]:
    """Stack the jobs' models as they start, or go on; returns the number of epochs that are done, too."""
    models, states = [], []
    progresses = [store.load_progress(job.key) for job in jobs]
    for place, (job, progress) in enumerate(zip(jobs, progresses, strict=True)):
        template = starting_model(job, pool.data, store)
        history, seconds = (list(progress.history), progress.seconds) if progress else ([], 0.0)
        masks = starting_masks(job, template)
        models.append(_Trained(job, place, masks, pool.members(job), pool.held_out(job), history, seconds))
        states.append(progress.model if progress else template.state_dict())
    stack = Stack(template, states, [each.masks for each in models], [job.training for job in jobs], pool.x, pool.y)
    for place, progress in enumerate(progresses):
        if progress:
            stack.load_optimizer_state(place, progress.optimizer)
    return stack, models, progresses[0].epoch if progresses[0] else 0


def _measure(stack: Stack, models: Sequence[_Trained], pool: _Pool) -> list[tuple[Signals, Signals]]:
    """Read each model's signals about some of its members and its held-out examples."""
    asked = []
    for each in models:
        some = monitored_members(each.job, len(each.members), len(each.held_out))
        asked.append(torch.cat((each.members[some], each.held_out)))
    answers = []
    for each, places, logits in zip(models, asked, stack.logits(asked), strict=True):
        labels = pool.y[places.to(pool.y.device)]
        some_members = len(places) - len(each.held_out)
        parts = (slice(None, some_members), slice(some_members, None))
        members, held_out = (Signals.of_logits(logits[part], labels[part]) for part in parts)
        answers.append((members, held_out))
    return answers


def _finish(stack: Stack, models: Sequence[_Trained], pool: _Pool, store: Store) -> Iterator[_Trained]:
    """Read every sound model's signals about all examples and store its checkpoint."""
    everything = torch.arange(len(pool.y))
    training = len(pool.data.y_train)
    for each, logits in zip(models, stack.logits([everything] * len(models)), strict=True):
        if each.failure is not None:
            continue
        parts = (slice(None, training), slice(training, None))
        train, test = (Signals.of_logits(logits[part], pool.y[part]) for part in parts)
        checkpoint = Checkpoint(stack.state(each.place), each.masks, train, test, each.history, each.seconds)
        store.save(each.job.key, each.job.to_mapping(), checkpoint, environment(pool.x.device))
        yield each
