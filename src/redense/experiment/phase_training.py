"""Carry out one job: from its parent's checkpoint to its own, an epoch at a time, resumable."""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import nn

from redense.data.batches import TensorData
from redense.data.members import Split, split
from redense.errors import TrainingError
from redense.experiment.checkpoints import Checkpoint, Progress, Store, Tensors
from redense.experiment.plan import Job
from redense.experiment.trainer import make_optimizer, train_epoch, trainable
from redense.metrics import balanced_accuracy
from redense.models.registry import build
from redense.seeding import derive, generator, seed_global
from redense.signals import Signals, read_signals
from redense.sparsity.enforce import masked
from redense.sparsity.masks import magnitude_masks


def execute(job: Job, data: TensorData, store: Store) -> Iterator[dict[str, float]]:
    """Train a job and store its checkpoint, yielding each epoch's history entry; go on after the last stored epoch.

    The result's bits depend on the job and the data alone. Iterate within `redense.determinism.fixed_arithmetic`.
    Raises `TrainingError` when the loss is no longer finite or the parent's checkpoint is gone.
    """
    with torch.random.fork_rng(devices=[]):
        yield from _execute(job, data, store)


def _execute(job: Job, data: TensorData, store: Store) -> Iterator[dict[str, float]]:
    model = starting_model(job, data, store)
    masks = starting_masks(job, model)
    optimizer = make_optimizer(trainable(model), job.training)
    progress = store.load_progress(job.key) or Progress(0, {}, {}, [], 0.0)
    if progress.epoch > 0:
        model.load_state_dict(progress.model)
        load_optimizer_tensors(optimizer, progress.optimizer)
    history, seconds = list(progress.history), progress.seconds
    examples = split(data, job.draw)
    mask: AbstractContextManager[None] = masked(model, optimizer, masks) if masks else nullcontext()
    with mask:
        for epoch in range(progress.epoch, job.phase.epochs):
            started = time.perf_counter()
            loss = _train_epoch(job, epoch, model, optimizer, examples)
            history.append({"epoch": epoch + 1, "loss": loss, **_measure(job, model, examples)})
            seconds += time.perf_counter() - started
            yield history[-1]
            if epoch + 1 < job.phase.epochs:
                state = Progress(epoch + 1, model.state_dict(), optimizer_tensors(optimizer), history, seconds)
                store.save_progress(job.key, state)
    train = _read(job, model, data.x_train, data.y_train)
    test = _read(job, model, data.x_test, data.y_test)
    checkpoint = Checkpoint(model.state_dict(), masks, train, test, history, seconds)
    store.save(job.key, job.to_mapping(), checkpoint, environment(data.x_train.device))


def starting_model(job: Job, data: TensorData, store: Store) -> nn.Module:
    """Build the model, with its parent's weights if it has one, on the data's device."""
    model = build(job.training.model, data.input_shape, data.num_classes, job.seed)
    model.to(device=data.x_train.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if job.parent is not None:
        parent = store.load(job.parent)
        if parent is None:
            raise TrainingError(f"{job.name}: its parent's checkpoint {job.parent} is gone")
        model.load_state_dict(parent.model)
    return model


def starting_masks(job: Job, model: nn.Module) -> Tensors:
    """Choose the masks of a sparse phase by the weights that it starts from; empty for other phases."""
    return magnitude_masks(model, **dataclasses.asdict(job.pruning)) if job.pruning else {}


def monitored_members(job: Job, members: int, held_out: int) -> torch.Tensor:
    """Choose the training examples, of so many members, that the inference accuracy is measured on after an epoch.

    More than the held-out examples would not make it much surer, and evaluating them takes time.
    """
    return torch.randperm(members, generator=generator(job.seed, "monitor"))[:held_out]


def measured(members: Signals, held_out: Signals) -> dict[str, float]:
    """Return the held-out accuracy and the inference accuracy, for the history."""
    scores = np.concatenate([members.phi, held_out.phi])
    return {
        "test_accuracy": float(held_out.correct.mean()),
        "inference_accuracy": balanced_accuracy(scores, np.arange(len(scores)) < len(members)),
    }


def without_nan(job: Job, signals: Signals) -> Signals:
    """Return signals of a trained model; raise `TrainingError` where there is NaN among them."""
    if np.isnan(signals.phi).any():
        raise TrainingError(f"{job.name}: the trained model gives NaN; lower the rate")
    return signals


def order_of(job: Job, epoch: int, members: int) -> torch.Tensor:
    """Order the members for an epoch (from 0); batches follow the seed and the place in the chain, not the sparsity."""
    return torch.randperm(members, generator=generator(job.seed, "batches", job.position, epoch))


def check_loss(job: Job, epoch: int, loss: float) -> None:
    """Raise `TrainingError` when an epoch's (from 0) loss is no longer finite."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"{job.name}: the loss became {loss} in epoch {epoch + 1} of {job.phase.epochs}; "
            f"lower the rate (now {job.training.lr:g})"
        )


def _measure(job: Job, model: nn.Module, examples: Split) -> dict[str, float]:
    held_out = _read(job, model, examples.x_held_out, examples.y_held_out)
    some = monitored_members(job, len(examples.y), len(held_out))
    return measured(_read(job, model, examples.x[some], examples.y[some]), held_out)


def _read(job: Job, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Signals:
    return without_nan(job, read_signals(model, x, y))


def _train_epoch(job: Job, epoch: int, model: nn.Module, optimizer: torch.optim.Optimizer, examples: Split) -> float:
    """Train one epoch and return its loss."""
    seed_global(derive(job.seed, "layers", job.position, epoch))
    order = order_of(job, epoch, len(examples.y))
    loss = train_epoch(model, optimizer, examples.x, examples.y, order, job.training.batch_size)
    check_loss(job, epoch, loss)
    return loss


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Flatten an optimizer's state: "<index of the parameter>.<name>" -> tensor."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Undo `optimizer_tensors`, giving each moment its parameter's memory layout, which fused kernels rely on."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        like = parameter.detach() if value.shape == parameter.shape else value
        placed = torch.empty_like(like, dtype=value.dtype, device=parameter.device)
        optimizer.state[parameter][key] = placed.copy_(value)


def environment(device: torch.device) -> dict[str, Any]:
    """Describe when and on what a job was finished."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }
