"""The engine that trains many models as one: on a GPU, which a small network alone leaves nearly idle.

Jobs that wait at the same time and take steps of the same kind (seeds, sparsities, controls, reference models) share
a `Stack`. Results agree with the plain trainer's within rounding, so their keys name this arithmetic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch

from redense.data.batches import TensorData, examples_to_try
from redense.data.dataset import Dataset
from redense.data.members import places
from redense.errors import TrainingError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.queue import JobQueue
from redense.experiment.engines.stacked import Stack
from redense.experiment.events import Event, Failed, Finished, Retried, Started
from redense.experiment.memory import training_bytes
from redense.experiment.phase_training import starting_model, train_phase
from redense.experiment.plan import Job
from redense.experiment.trainer import SignalPair, Start, is_gradual, masks_at, monitored_members, order_of
from redense.experiment.whole_folders import Tensors
from redense.files.cgroups import available_bytes
from redense.signals import Signals

SAVED_EVERY = 30.0
"""Seconds between stored states of jobs in progress: with many models, storing takes as long as an epoch."""
SHARE_OF_MEMORY = 0.7
"""Of the free memory, the share that stacks may fill."""


class VectorizedEngine:
    """Train up to `models` jobs at once on one device; by default as many as fit into its memory."""

    def __init__(self, device: str = "cpu", models: int | None = None, threads: int | None = None) -> None:
        self.device = device
        self.models = models
        self.threads = threads or torch.get_num_threads()

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        queue = JobQueue(jobs)
        data = TensorData.of(dataset, self.device)
        limit = self.models
        with fixed_arithmetic(self.device, self.threads):
            while True:
                waiting = []
                while (job := queue.next()) is not None:
                    if store.has(job.key):
                        yield from queue.take(Finished(job, reused=True))
                    else:
                        waiting.append(job)
                if not waiting:
                    return
                if limit is None:
                    limit = self._fitting(waiting[0], data, store, examples_to_try(dataset))
                chosen, others = _alike(waiting, data, store, limit)
                for job in others:
                    queue.put_back(job)
                for job in chosen:
                    yield Started(job)
                left = {job.key: job for job in chosen}
                try:
                    for event in train_phase(chosen, data, store, StackTrainer, SAVED_EVERY):
                        if isinstance(event, Finished | Failed):
                            del left[event.job.key]
                        yield from queue.take(event)
                except torch.OutOfMemoryError:
                    if len(chosen) == 1:
                        raise TrainingError(f"{chosen[0].name}: one model alone does not fit into memory") from None
                    limit = len(chosen) // 2
                    for job in left.values():
                        queue.put_back(job)
                        yield Retried(job, f"{len(chosen)} models at once do not fit into memory; {limit} from now on")

    def _fitting(self, job: Job, data: TensorData, store: Store, examples: torch.Tensor) -> int:
        """Return how many models fit into the device's free memory."""
        model = starting_model(job, data, store)
        free = available_bytes() if self.device == "cpu" else torch.cuda.mem_get_info()[0]
        # a mask and the gradients' first home beside what plain training needs
        needed = 1.5 * training_bytes(model, examples, job.training.batch_size)
        return max(1, int(SHARE_OF_MEMORY * free / needed))


class StackTrainer:
    """Trains K models as one `Stack`, whose pool is the training, then the test, then the validation examples."""

    def __init__(self, starts: Sequence[Start], data: TensorData) -> None:
        self.jobs = [start.job for start in starts]
        self.examples = [places(data, job.member_set) for job in self.jobs]
        self.masks = [start.masks for start in starts]
        self.sizes = len(data.y_train), len(data.y_test)
        x, self.y = [data.x_train, data.x_test], torch.cat((data.y_train, data.y_test))
        if data.x_validation is not None and data.y_validation is not None:
            x, self.y = [*x, data.x_validation], torch.cat((self.y, data.y_validation))
        self.stack = Stack(
            starts[-1].model,
            [start.model.state_dict() for start in starts],
            self.masks,
            [job.training for job in self.jobs],
            torch.cat(x),
            self.y,
        )
        for place, start in enumerate(starts):
            self.stack.load_optimizer_state(place, start.progress.optimizer)

    def train_epoch(self, epoch: int) -> list[float]:
        """Train an epoch (from 0), each model in its own order; return the mean losses."""
        for place, job in enumerate(self.jobs):
            if is_gradual(job):
                self.masks[place] = masks_at(job, self.stack.model(place), epoch)
                self.stack.mask_anew(place, self.masks[place])
        self.stack.set_rates([job.lr(epoch) for job in self.jobs])
        pairs = zip(self.jobs, self.examples, strict=True)
        orders = [members[order_of(job, epoch, len(members))] for job, (members, _) in pairs]
        return self.stack.train_epoch(orders, self.jobs[0].training.batch_size)

    def monitor(self) -> Iterator[SignalPair]:
        """Ask every model about some of its members and its held-out examples."""
        pairs = zip(self.jobs, self.examples, strict=True)
        return self._answers(
            [(members[monitored_members(job, len(members), len(rest))], rest) for job, (members, rest) in pairs]
        )

    def validate(self) -> list[float]:
        """Return every model's accuracy on the validation examples."""
        validation = torch.arange(sum(self.sizes), len(self.y))
        labels = self.y[validation.to(self.y.device)]
        asked = self.stack.logits([validation] * len(self.jobs))
        return [float(Signals.of_logits(logits, labels).correct.mean()) for logits in asked]

    def everything(self) -> Iterator[SignalPair]:
        """Ask every model about all training and all test examples."""
        train, test = torch.arange(sum(self.sizes)).split(self.sizes)
        return self._answers([(train, test)] * len(self.jobs))

    def state(self, place: int) -> tuple[Tensors, Tensors]:
        """Return a model's state_dict and its optimizer's state, as the plain trainer gives them."""
        return self.stack.state(place), self.stack.optimizer_state(place)

    def masks_of(self, place: int) -> Tensors:
        """Return the masks in force on a model."""
        return self.masks[place]

    def go_back(self, place: int, state: Tensors) -> None:
        """Load the weights of an earlier epoch into a model of the stack."""
        self.stack.load_state(place, state)
        if is_gradual(self.jobs[place]):
            self.masks[place] = masks_at(self.jobs[place], self.stack.model(place), self.jobs[place].phase.epochs - 1)

    def _answers(self, asked: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[SignalPair]:
        """Ask every model about its two sets of examples, in one evaluation."""
        for (first, second), logits in zip(asked, self.stack.logits([torch.cat(sets) for sets in asked]), strict=True):
            labels = self.y[torch.cat((first, second)).to(self.y.device)]
            cut = len(first)
            yield Signals.of_logits(logits[:cut], labels[:cut]), Signals.of_logits(logits[cut:], labels[cut:])


def _alike(waiting: Sequence[Job], data: TensorData, store: Store, limit: int) -> tuple[list[Job], list[Job]]:
    """Part the waiting jobs, first first, into those that can share a stack with the first, and the others.

    Those with more examples come before those with fewer, so that a stack's models of one number are neighbours.
    """
    steps = [_steps(job, store) for job in waiting]
    alike = [job for job, its_steps in zip(waiting, steps, strict=True) if its_steps == steps[0]][:limit]
    alike.sort(key=lambda job: len(places(data, job.member_set)[0]), reverse=True)
    return alike, [job for job in waiting if job not in alike]


def _steps(job: Job, store: Store) -> tuple[Any, ...]:
    """Return what jobs must have in common to be trained in one stack: all but the rate and the examples."""
    if job.picks:
        return (job.key,)  # takes no step; its stack is of one
    progress = store.load_progress(job.key)
    settings = dataclasses.replace(job.training, lr=0.0)
    return settings, job.phase.epochs, progress.epoch if progress else 0
