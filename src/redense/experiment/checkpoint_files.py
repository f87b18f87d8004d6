"""What is in the folders of finished jobs and of phases in progress, written and read.

A folder is believed as what it says it is, and only where that is what is asked for: its own key, a format that is
known, tensors that fit each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from redense.errors import RedenseError
from redense.experiment.expected import Expected
from redense.experiment.plan import Job
from redense.experiment.trained import Checkpoint, Epoch, Progress
from redense.experiment.whole_folders import (
    INDEX,
    Damaged,
    Tensors,
    read_index,
    read_seconds,
    read_tensors,
    write_folder,
)
from redense.files.reading import Unread, build
from redense.files.reading import field as value_of
from redense.signals import Signals
from redense.sparsity.bits import pack_bits, unpack_bits

FORMAT = 1
"""Version of a checkpoint's index; those written before there was any are read with what they say of themselves."""


def write_checkpoint(
    folder: Path, key: str, job: Mapping[str, Any], checkpoint: Checkpoint, environment: Mapping[str, Any]
) -> None:
    """Write a finished job's folder, whole or not at all."""
    files = {"model.safetensors": checkpoint.model, "signals.safetensors": _signal_tensors(checkpoint)}
    if checkpoint.best:
        files["best.safetensors"] = checkpoint.best
    if checkpoint.masks:
        files["masks.safetensors"] = {name: pack_bits(mask.flatten()) for name, mask in checkpoint.masks.items()}
    index = {
        "format": FORMAT,
        "key": key,
        "parent": job.get("parent"),
        "job": job,
        "history": _entries(checkpoint.history),
        "mask_shapes": {name: list(mask.shape) for name, mask in checkpoint.masks.items()},
        "kept": _kept(checkpoint.masks),
        "not_finite": _not_finite(checkpoint.model),
    }
    write_folder(folder, files, index, {**environment, "seconds": checkpoint.seconds})


def write_progress(folder: Path, key: str, progress: Progress, environment: Mapping[str, Any]) -> None:
    """Write the folder of a phase in progress, whole or not at all."""
    index = {"format": FORMAT, "key": key, "epoch": progress.epoch, "history": _entries(progress.history)}
    files = {"model.safetensors": progress.model, "optimizer.safetensors": progress.optimizer}
    if progress.best:
        files["best.safetensors"] = progress.best
    write_folder(folder, files, index, {**environment, "seconds": progress.seconds})


def read_checkpoint(key: str, expected: Expected, folder: Path) -> Checkpoint:
    """Read a finished job's folder; raise `Damaged` where it is not whole, another job's or not what is expected."""
    index = _believed(key, expected, folder)
    expected = _as_it_says(index, expected)
    model = read_tensors(folder, "model.safetensors", index)
    expected.check_tensors(model, folder / "model.safetensors")
    if _not_finite(model) != index.get("not_finite", _not_finite(model)):
        raise Damaged(f"{folder / 'model.safetensors'} does not have the finite values that its index says")
    masks = _read_masks(folder, index, model)
    expected.check_masks(masks, folder)
    history = _history(index, folder)
    expected.check_epochs(len(history), folder)
    train, test = _read_both(folder, index, expected)
    best = _read_best(folder, index, model)
    return Checkpoint(model, masks, train, test, history, read_seconds(folder), best)


def _as_it_says(index: Mapping[str, Any], expected: Expected) -> Expected:
    """Expect, where the job is not known, what the index says of it, unless that is of another version."""
    if expected.job is not None or not index.get("job"):
        return expected
    try:
        return dataclasses.replace(expected, job=Job.from_mapping(index["job"]))
    except (Unread, RedenseError):
        return expected


def _read_best(folder: Path, index: Mapping[str, Any], model: Tensors) -> Tensors:
    """Read the weights of the best epoch, if they are kept, and hold them against those of the last."""
    if "best.safetensors" not in index["files"]:
        return {}
    best = read_tensors(folder, "best.safetensors", index)
    if {name: value.shape for name, value in best.items()} != {name: value.shape for name, value in model.items()}:
        raise Damaged(f"{folder / 'best.safetensors'} does not fit the model beside it")
    return best


def _believed(key: str, expected: Expected, folder: Path) -> dict[str, Any]:
    """Return a folder's index where it is that of the job asked for; raise `Damaged` where it is another's."""
    index = read_index(folder)
    found, version = index.get("key"), index.get("format", 1)
    if version != FORMAT:
        raise Damaged(f"{folder} has format {version!r}; expected {FORMAT}")
    if found != key:
        raise Damaged(f"{folder} is the checkpoint of another job, {found!r}")
    job = index.get("job", {})
    if not isinstance(job, dict) or job.get("key", key) != key or job.get("parent") != _parent(index, job):
        raise Damaged(f"{folder} has an index whose parts are of different jobs")
    if expected.job is not None and expected.job.parent != _parent(index, job):
        raise Damaged(f"{folder} has another parent, {_parent(index, job)!r}; expected {expected.job.parent!r}")
    return index


def _parent(index: Mapping[str, Any], job: Mapping[str, Any]) -> Any:
    """Return the parent that an index names; earlier ones name it with the job alone."""
    return index["parent"] if "parent" in index else job.get("parent")


def _read_masks(folder: Path, index: Mapping[str, Any], model: Tensors) -> Tensors:
    """Read the masks and hold them against the weights: their shapes, how many are kept, and that all others are 0."""
    shapes = _checked(dict[str, list[int]], index, "mask_shapes", folder)
    bits = read_tensors(folder, "masks.safetensors", index) if shapes else {}
    masks = {}
    for name, shape in shapes.items():
        weight, stored = model.get(name), bits.get(name)
        if weight is None or stored is None or list(weight.shape) != shape:
            raise Damaged(f"{folder} has a mask {name} of {shape} that fits no weight of its model")
        if stored.dtype != torch.uint8 or tuple(stored.shape) != (-(-weight.numel() // 8),):
            raise Damaged(f"{folder} has a mask {name} with too few or too many bits for {shape}")
        masks[name] = unpack_bits(stored, (weight.numel(),)).view(weight.shape)
        if bool((weight[~masks[name]] != 0).any()):
            raise Damaged(f"{folder} has weights in {name} that its mask leaves out and that are not 0")
    if index.get("kept", _kept(masks)) != _kept(masks):
        raise Damaged(f"{folder} has masks that do not keep as many weights as its index says")
    return masks


def _kept(masks: Tensors) -> dict[str, int]:
    return {name: int(mask.sum()) for name, mask in masks.items()}


def _not_finite(model: Tensors) -> list[str]:
    """Name the tensors that hold infinities or NaN, as a buffer of an attention mask may."""
    return sorted(name for name, value in model.items() if not bool(torch.isfinite(value).all()))


def _entries(history: Sequence[Epoch]) -> list[dict[str, float]]:
    values = [dataclasses.asdict(epoch) for epoch in history]
    return [{name: value for name, value in each.items() if value is not None} for each in values]


def _history(index: Mapping[str, Any], folder: Path) -> tuple[Epoch, ...]:
    """Return what each epoch measured; raise `Damaged` unless they follow on each other, with shares for accuracies."""
    history: tuple[Epoch, ...] = _checked(tuple[Epoch, ...], index, "history", folder)
    if [epoch.epoch for epoch in history] != list(range(1, len(history) + 1)):
        raise Damaged(f"{folder / INDEX} has a history whose epochs do not follow on each other")
    for one in history:
        shares = (one.test_accuracy, one.inference_accuracy, one.validation_accuracy)
        if not all(0 <= share <= 1 for share in shares if share is not None):
            raise Damaged(f"{folder / INDEX} has an accuracy that is no share of 1")
    return history


def _checked(kind: Any, index: Mapping[str, Any], name: str, folder: Path) -> Any:
    """Return a value of an index as the type that it must have; raise `Damaged` for another."""
    try:
        return build(kind, value_of(index, name), name)
    except Unread as error:
        raise Damaged(f"{folder / INDEX}: {error}") from None


def _signal_tensors(checkpoint: Checkpoint) -> Tensors:
    splits = {"train": checkpoint.train, "test": checkpoint.test}
    return {
        f"{split}.{name}": torch.from_numpy(values)
        for split, signals in splits.items()
        for name, values in signals.arrays().items()
    }


def read_signals(key: str, expected: Expected, folder: Path) -> Signals:
    """Read what a finished job's model says about the training, then the test examples, without the model."""
    return Signals.join(_read_both(folder, _believed(key, expected, folder), expected))


def _read_both(folder: Path, index: Mapping[str, Any], expected: Expected) -> tuple[Signals, Signals]:
    """Return what a model says about the training and the test examples."""
    tensors = read_tensors(folder, "signals.safetensors", index)
    train, test = (_signals(tensors, split, folder) for split in ("train", "test"))
    expected.check_examples(len(train), len(test), folder / "signals.safetensors")
    return train, test


def _signals(tensors: Tensors, split: str, folder: Path) -> Signals:
    """Return what a model says about a split; raise `Damaged` unless that is a number an example of each kind."""
    found = {
        each.name: tensors[f"{split}.{each.name}"]
        for each in dataclasses.fields(Signals)
        if f"{split}.{each.name}" in tensors
    }
    types = {name: torch.bool if name == "correct" else torch.float64 for name in found}
    shapes = {tuple(value.shape) for value in found.values()}
    fitting = len(found) == len(dataclasses.fields(Signals)) and len(shapes) == 1 and (0,) not in shapes
    if not fitting or any(value.dim() != 1 or value.dtype != types[name] for name, value in found.items()):
        raise Damaged(f"{folder / 'signals.safetensors'} does not hold the signals of the {split} examples")
    # a model that is infinitely sure has no entropy
    if any(bool((value.isnan() & ~found["phi"].isinf()).any()) for value in found.values()):
        raise Damaged(f"{folder / 'signals.safetensors'} holds NaN")
    return Signals(**{name: value.numpy() for name, value in found.items()})


def read_progress(key: str, expected: Expected, folder: Path) -> Progress:
    """Read the folder of a phase in progress."""
    index = _believed(key, Expected(), folder)  # it names no parent
    history = _history(index, folder)
    epoch: int = _checked(int, index, "epoch", folder)
    last = expected.job.epochs if expected.job is not None else len(history)
    if epoch != len(history) or epoch > last or folder.name != f"{epoch:06d}":
        raise Damaged(f"{folder} has an index of {len(history)} epochs that says {epoch}")
    model = read_tensors(folder, "model.safetensors", index)
    expected.check_tensors(model, folder / "model.safetensors")
    optimizer = read_tensors(folder, "optimizer.safetensors", index)
    expected.check_moments(optimizer, folder / "optimizer.safetensors")
    best = _read_best(folder, index, model)
    return Progress(epoch, model, optimizer, history, read_seconds(folder), best)
