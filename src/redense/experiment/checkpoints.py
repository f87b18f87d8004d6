"""What a run leaves on disk: one checksummed folder a finished phase, one a phase in progress.

A folder is believed as what it says it is, and only where that is what is asked for: its own key, a format that is
known, tensors that fit each other. Any other is set aside, never read, and the job is trained again.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch

from redense.errors import FolderError
from redense.experiment.whole_folders import (
    INDEX,
    Damaged,
    Tensors,
    read_index,
    read_seconds,
    read_tensors,
    read_unchecked,
    remove,
    whole_folder,
    write_folder,
)
from redense.files.reading import Unread, build
from redense.files.reading import field as value_of
from redense.files.writing import TEMPORARY, check_inside, make_folder
from redense.signals import Signals
from redense.sparsity.bits import pack_bits, unpack_bits

T = TypeVar("T")
FORMAT = 1
"""Version of a checkpoint's index; those written before there was any are read with what they say of themselves."""
_KEY = re.compile(r"\w+")


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


@dataclass(frozen=True)
class Store:
    """The checkpoints below a run's folder. Several processes may write at once, never the same key."""

    root: Path
    set_aside: list[str] = field(default_factory=list)
    """What was found damaged, in a person's words."""
    reads_only: bool = False
    """Whether what is damaged stays where it is: only a run that trains it again moves it out of the way."""

    def save(self, key: str, job: Mapping[str, Any], checkpoint: Checkpoint, environment: Mapping[str, Any]) -> None:
        """Store a finished job and drop its progress."""
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
        target = self.finished_folder(key)
        check_inside(self.root, target.parent)
        write_folder(target, files, index, {**environment, "seconds": checkpoint.seconds})
        self._drop_progress(key)

    def load(self, key: str) -> Checkpoint | None:
        """Return a finished job's result, or None when there is none or it is damaged (then it is set aside)."""
        return self._guarded(self.finished_folder(key), partial(_read_checkpoint, key))

    def load_signals(self, key: str) -> Signals | None:
        """Return what a finished job's model says about the training, then the test examples, without the model."""
        return self._guarded(self.finished_folder(key), partial(_read_signals, key))

    def is_finished(self, key: str) -> bool:
        """Tell whether a job's checkpoint is there, whole or damaged: nothing is read."""
        return os.path.isdir(self.finished_folder(key))

    def has(self, key: str) -> bool:
        """Tell whether `load` will give a result; every checksum is compared."""
        return self.load(key) is not None

    def environment(self, key: str) -> dict[str, Any]:
        """Return when, how long and on what a job was trained or is in training; nothing where that is not known."""
        folders = [self.finished_folder(key), *sorted(self._progress(key).glob("[0-9]*"), reverse=True)]
        return next((read_unchecked(folder) for folder in folders if os.path.isdir(folder)), {})

    def save_progress(self, key: str, progress: Progress, environment: Mapping[str, Any] | None = None) -> None:
        """Store the state after an epoch, then drop the one before it."""
        index = {"format": FORMAT, "key": key, "epoch": progress.epoch, "history": _entries(progress.history)}
        files = {"model.safetensors": progress.model, "optimizer.safetensors": progress.optimizer}
        if progress.best:
            files["best.safetensors"] = progress.best
        target = self._progress(key) / f"{progress.epoch:06d}"
        check_inside(self.root, target.parent)
        write_folder(target, files, index, {**(environment or {}), "seconds": progress.seconds})
        for older in self._progress(key).iterdir():
            if older != target:
                remove(older)

    def load_progress(self, key: str) -> Progress | None:
        """Return the latest undamaged state of a job in progress, if there is one."""
        for folder in sorted(self._progress(key).glob("[0-9]*"), reverse=True):
            progress = self._guarded(folder, partial(_read_progress, key))
            if progress is not None:
                return progress
        return None

    def epochs_done(self, key: str) -> int:
        """Return how many epochs of a job in progress are stored, as names of folders say; nothing is read."""
        return max((int(folder.name) for folder in self._progress(key).glob("[0-9]*")), default=0)

    @contextmanager
    def receiving(self, key: str) -> Iterator[Path]:
        """Give a folder to copy a finished job's files into; it takes the job's place when the body ends."""
        target = self.finished_folder(key)
        check_inside(self.root, target.parent)
        with whole_folder(target, synced=True) as folder:
            yield folder

    def discard_unfinished_writes(self) -> None:
        """Delete what a killed process left half-written; only while no other process writes."""
        for place in ("", "checkpoints/", "progress/*/"):
            for unfinished in self.root.glob(f"{place}{TEMPORARY}*"):
                remove(unfinished)
        for begun in self.root.glob("progress/*"):
            if _KEY.fullmatch(begun.name) and self.is_finished(begun.name):
                remove(begun)

    def finished_folder(self, key: str) -> Path:
        """Where a finished job lies or will lie; raise `FolderError` for what is no key: a path could lead anywhere."""
        if not _KEY.fullmatch(key):
            raise FolderError(f"checkpoint {key!r}: expected the key of a job, letters and digits")
        return self.root / "checkpoints" / key

    def _progress(self, key: str) -> Path:
        return self.root / "progress" / key

    def _drop_progress(self, key: str) -> None:
        if os.path.lexists(self._progress(key)):
            remove(self._progress(key))

    def _guarded(self, folder: Path, read: Callable[[Path], T]) -> T | None:
        if not os.path.lexists(folder):  # unlike Path.exists, also where the name is too long
            return None
        try:
            if not os.path.isdir(folder):
                raise Damaged(f"{folder} is no folder")
            return read(folder)
        except Damaged as damage:
            if not self.reads_only:
                self._set_aside(folder, str(damage))
            return None

    def _set_aside(self, folder: Path, reason: str) -> None:
        aside = self.root / "damaged"
        make_folder(aside, inside=self.root)
        name = "-".join(folder.relative_to(self.root).parts)
        target = next(path for number in count() if not os.path.lexists(path := aside / f"{name}.{number}"))
        folder.rename(target)
        self.set_aside.append(f"{reason}; set aside as {target} and trained again")


def _read_checkpoint(key: str, folder: Path) -> Checkpoint:
    index = _believed(key, folder)
    model = read_tensors(folder, "model.safetensors")
    if _not_finite(model) != index.get("not_finite", _not_finite(model)):
        raise Damaged(f"{folder / 'model.safetensors'} does not have the finite values that its index says")
    signals = read_tensors(folder, "signals.safetensors")
    return Checkpoint(
        model=model,
        masks=_read_masks(folder, index, model),
        train=_signals(signals, "train", folder),
        test=_signals(signals, "test", folder),
        history=_history(index, folder),
        seconds=read_seconds(folder),
        best=_read_best(folder, index, model),
    )


def _read_best(folder: Path, index: Mapping[str, Any], model: Tensors) -> Tensors:
    """Read the weights of the best epoch, if they are kept, and hold them against those of the last."""
    if "best.safetensors" not in index["files"]:
        return {}
    best = read_tensors(folder, "best.safetensors")
    if {name: value.shape for name, value in best.items()} != {name: value.shape for name, value in model.items()}:
        raise Damaged(f"{folder / 'best.safetensors'} does not fit the model beside it")
    return best


def _believed(key: str, folder: Path) -> dict[str, Any]:
    """Return a folder's index where it is that of the job asked for; raise `Damaged` where it is another's."""
    index = read_index(folder)
    found, version = index.get("key"), index.get("format", FORMAT)
    if version != FORMAT:
        raise Damaged(f"{folder} has format {version!r}; expected {FORMAT}")
    if found != key:
        raise Damaged(f"{folder} is the checkpoint of another job, {found!r}")
    job = index.get("job", {})
    if not isinstance(job, dict) or job.get("key", key) != key or job.get("parent") != _parent(index, job):
        raise Damaged(f"{folder} has an index whose parts are of different jobs")
    return index


def _parent(index: Mapping[str, Any], job: Mapping[str, Any]) -> Any:
    """Return the parent that an index names; earlier ones name it with the job alone."""
    return index["parent"] if "parent" in index else job.get("parent")


def _read_masks(folder: Path, index: Mapping[str, Any], model: Tensors) -> Tensors:
    """Read the masks and hold them against the weights: their shapes, how many are kept, and that all others are 0."""
    shapes = _checked(dict[str, list[int]], index, "mask_shapes", folder)
    bits = read_tensors(folder, "masks.safetensors") if shapes else {}
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
    history: tuple[Epoch, ...] = _checked(tuple[Epoch, ...], index, "history", folder)
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


def _signals(tensors: Tensors, split: str, folder: Path) -> Signals:
    """Return what a model says about a split; raise `Damaged` unless that is a number an example of each kind."""
    found = {
        each.name: tensors[f"{split}.{each.name}"]
        for each in dataclasses.fields(Signals)
        if f"{split}.{each.name}" in tensors
    }
    types = {name: torch.bool if name == "correct" else torch.float64 for name in found}
    fitting = len(found) == len(dataclasses.fields(Signals)) and len({value.shape for value in found.values()}) == 1
    if not fitting or any(value.dim() != 1 or value.dtype != types[name] for name, value in found.items()):
        raise Damaged(f"{folder / 'signals.safetensors'} does not hold the signals of the {split} examples")
    if bool(found["phi"].isnan().any()):
        raise Damaged(f"{folder / 'signals.safetensors'} holds NaN")
    return Signals(**{name: value.numpy() for name, value in found.items()})


def _read_signals(key: str, folder: Path) -> Signals:
    _believed(key, folder)
    tensors = read_tensors(folder, "signals.safetensors")
    return Signals.join([_signals(tensors, "train", folder), _signals(tensors, "test", folder)])


def _read_progress(key: str, folder: Path) -> Progress:
    index = _believed(key, folder)
    history = _history(index, folder)
    epoch: int = _checked(int, index, "epoch", folder)
    if epoch != len(history) or folder.name != f"{epoch:06d}":
        raise Damaged(f"{folder} has an index of {len(history)} epochs that says {epoch}")
    model = read_tensors(folder, "model.safetensors")
    return Progress(
        epoch=epoch,
        model=model,
        optimizer=read_tensors(folder, "optimizer.safetensors"),
        history=history,
        seconds=read_seconds(folder),
        best=_read_best(folder, index, model),
    )
