"""What moves weights: the plain trainer of one model, which is the oracle for every faster way, and what all offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from redense.data.batches import TensorData, as_input
from redense.data.members import split
from redense.experiment.optimizers import make_optimizer
from redense.experiment.plan import Job, Pruning
from redense.experiment.precision import logits_in
from redense.experiment.recipe import Precision
from redense.experiment.trained import Progress
from redense.experiment.whole_folders import Tensors
from redense.seeding import derive, generator, seed_global
from redense.signals import Signals, read_signals
from redense.sparsity.enforce import masked
from redense.sparsity.masks import Selection, choose_masks
from redense.sparsity.schedules import OneShot, Schedule, chosen, in_force

SignalPair = tuple[Signals, Signals]
"""What a model says about two sets of examples."""


@dataclass(frozen=True)
class Start:
    """Where the training of a job's phase begins, or goes on.

    `model` has the weights that the next epoch starts from and is on the data's device; `masks` are those in force
    (empty unless sparse), which gradual pruning chooses anew before every epoch; `progress` holds the epochs that are
    done and the moments after them.
    """

    job: Job
    model: nn.Module
    masks: Tensors
    progress: Progress


class Trainer(Protocol):
    """Trains K >= 1 models, each on its own examples; a model's `place` (from 0) is that of its start.

    Made of the models' starts and the data. What it does to a model depends on the model's job alone.
    """

    def train_epoch(self, epoch: int) -> Sequence[float]:
        """Train an epoch (from 0); return every model's mean loss [K], NaN or infinite where training diverged."""
        ...

    def monitor(self) -> Iterable[SignalPair]:
        """Ask every model about its `monitored_members` and its held-out examples."""
        ...

    def validate(self) -> Iterable[float]:
        """Return every model's accuracy on the validation examples; only of data that have some."""
        ...

    def everything(self) -> Iterable[SignalPair]:
        """Ask every model about all training and all test examples."""
        ...

    def state(self, place: int) -> tuple[Tensors, Tensors]:
        """Return a model's state_dict and its optimizer's state: "<index of the parameter>.<name>" -> tensor."""
        ...

    def masks_of(self, place: int) -> Tensors:
        """Return the masks that are in force on a model."""
        ...

    def go_back(self, place: int, state: Tensors) -> None:
        """Give a model the weights and buffers of an earlier epoch, of those with all their zeros."""
        ...


MakeTrainer = Callable[[Sequence[Start], TensorData], Trainer]
Read = Callable[[nn.Module, torch.Tensor, torch.Tensor], Signals]
"""What a model says about examples with labels: `read_signals`, or the same with the same bits."""


class PlainTrainer:
    """Trains one model, as anybody would in a loop of PyTorch; `read` may be a faster way to evaluate it."""

    def __init__(self, starts: Sequence[Start], data: TensorData, read: Read = read_signals) -> None:
        (start,) = starts
        self.job, self.model, self.masks = start.job, start.model, start.masks
        self.data, self.examples, self.read = data, split(data, start.job.member_set), read
        self.of_test: Signals | None = None
        """What the model, as it is, says about all test examples, where that is known."""
        self.optimizer = make_optimizer(trainable(self.model), start.job.training)
        _load_moments(self.optimizer, start.progress.optimizer)

    def train_epoch(self, epoch: int) -> list[float]:
        """Train an epoch; layers draw the same random numbers in every phase at this place in its chain."""
        self.of_test = None
        seed_global(derive(self.job.seed, "layers", self.job.position, epoch))
        if is_gradual(self.job):
            self.masks = masks_at(self.job, self.model, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.job.lr(epoch)
        x, y, training = self.examples.x, self.examples.y, self.job.training
        order = order_of(self.job, epoch, len(y))
        with masked(self.model, self.optimizer, self.masks) if self.masks else nullcontext():
            return [train_epoch(self.model, self.optimizer, x, y, order, training.batch_size, training.precision)]

    def monitor(self) -> list[SignalPair]:
        """Ask the model about some members and its held-out examples."""
        examples = self.examples
        some = monitored_members(self.job, len(examples.y), len(examples.y_held_out))
        held_out = self.read(self.model, examples.x_held_out, examples.y_held_out)
        self.of_test = held_out if self.job.member_set is None else None
        return [(self.read(self.model, examples.x[some], examples.y[some]), held_out)]

    def validate(self) -> list[float]:
        """Return the model's accuracy on the validation examples."""
        x, y = self.data.x_validation, self.data.y_validation
        assert x is not None
        assert y is not None
        return [float(self.read(self.model, x, y).correct.mean())]

    def everything(self) -> list[SignalPair]:
        """Ask the model about all training and all test examples, but for those it has just been asked about."""
        data = self.data
        of_train = self.read(self.model, data.x_train, data.y_train)
        return [(of_train, self.read(self.model, data.x_test, data.y_test) if self.of_test is None else self.of_test)]

    def state(self, place: int) -> tuple[Tensors, Tensors]:
        """Return the model's state_dict and the optimizer's state by parameter and name."""
        moments = self.optimizer.state_dict()["state"].items()
        return self.model.state_dict(), {
            f"{index}.{name}": value for index, values in moments for name, value in values.items()
        }

    def masks_of(self, place: int) -> Tensors:
        """Return the masks in force."""
        return self.masks

    def go_back(self, place: int, state: Tensors) -> None:
        """Load the weights and buffers of an earlier epoch."""
        self.of_test = None
        self.model.load_state_dict(state)
        if is_gradual(self.job):
            self.masks = masks_at(self.job, self.model, self.job.phase.epochs - 1)


def first_eligible(job: Job) -> int:
    """Return the first epoch (from 1) with all the zeros that its phase is to end with: gradual pruning adds some."""
    pruning = job.pruning
    if pruning is None:
        return 1
    schedule, _ = _chosen(job, pruning)
    updates = schedule.updates(pruning.sparsity, job.phase.epochs)
    return 1 + min(epoch for epoch, sparsity in updates.items() if sparsity >= pruning.sparsity)


def is_gradual(job: Job) -> bool:
    """Tell whether masks are chosen anew before every epoch, by the weights that it begins with."""
    return job.pruning is not None and job.pruning.masks == "gradual"


def masks_at(job: Job, model: nn.Module, epoch: int) -> dict[str, torch.Tensor]:
    """Choose a job's masks for an epoch (from 0) by the weights of the model; empty unless the phase is sparse.

    Those of gradual pruning depend on the weights that the epoch begins with alone, so that they need not be stored to
    go on: what is pruned is zero, and zeros go first.
    """
    pruning = job.pruning
    if pruning is None:
        return {}
    schedule, selection = _chosen(job, pruning)
    return choose_masks(model, sparsity=in_force(schedule, pruning.sparsity, job.phase.epochs, epoch), **selection)


def _chosen(job: Job, pruning: Pruning) -> tuple[Schedule, Selection]:
    """Say when a job chooses masks, and by what: the smallest weights at once, unless its phase has it otherwise."""
    smallest: Selection = {"exclude": pruning.exclude, "distribution": pruning.distribution}
    return chosen(pruning.masks, job.phase.epochs, derive(job.seed, "masks", job.position), OneShot(), smallest)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """List the parameters that training moves."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    order: torch.Tensor,
    batch_size: int,
    precision: Precision = "fp32",
) -> float:
    """Train one epoch on stored examples x [n, ...] with labels y [n], in the given order [n].

    Returns the mean cross-entropy over the epoch, NaN or infinite when training diverged.
    """
    model.train()
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for batch in order.to(x.device).split(batch_size):
        loss = nn.functional.cross_entropy(logits_in(precision, model, as_input(x[batch])), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
    return float(total) / len(order)


def order_of(job: Job, epoch: int, members: int) -> torch.Tensor:
    """Order the members for an epoch (from 0); batches follow the seed and the place in the chain, not the sparsity."""
    return torch.randperm(members, generator=generator(job.seed, "batches", job.position, epoch))


def monitored_members(job: Job, members: int, held_out: int) -> torch.Tensor:
    """Choose the training examples, of so many members, that the inference accuracy is measured on after an epoch.

    More than the held-out examples would not make it much surer, and evaluating them takes time.
    """
    return torch.randperm(members, generator=generator(job.seed, "monitor"))[:held_out]


def _load_moments(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Load moments by parameter and name, each in its parameter's memory layout, which fused kernels rely on."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        like = parameter.detach() if value.shape == parameter.shape else value
        placed = torch.empty_like(like, dtype=value.dtype, device=parameter.device)
        optimizer.state[parameter][key] = placed.copy_(value)
