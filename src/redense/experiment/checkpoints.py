"""What a run leaves on disk: one checksummed folder a finished phase, one a phase in progress.

A folder is written under a temporary name and renamed, so it is either whole or not there. Damage after that (a
flipped bit, a truncated file) is found by its checksums; such a folder is set aside, never read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from redense.errors import FolderError
from redense.files.writing import TEMPORARY, make_folder, temporary_beside, why, write_synced
from redense.signals import Signals
from redense.sparsity.bits import pack_bits, unpack_bits

T = TypeVar("T")
Tensors = dict[str, torch.Tensor]

INDEX = "checkpoint.json"
"""Names, for every other file, its SHA-256; and holds everything that is not a tensor."""
UNCHECKED = "environment.json"
"""When, how long and on what; the one file that differs between two runs of the same job."""
SYNCED_FROM = 1.0
"""Seconds of training from which on it is worth the 20 to 30 ms that syncing a folder to the disk takes.

Without it, a power failure (a killed process does no harm) may leave a folder half-written: checksums find that.
"""
_ROW_MAJOR = torch.contiguous_format


class Damaged(Exception):
    """A folder that cannot be trusted; the message says which file and why."""


@dataclass(frozen=True)
class Epoch:
    """What was measured in and after an epoch of training.

    `epoch` counts from 1; `loss` is the mean cross-entropy in training, 0 or more; `test_accuracy` that on held-out
    examples and `inference_accuracy` that of the confidence-threshold attack, both in [0, 1].
    """

    epoch: int
    loss: float
    test_accuracy: float
    inference_accuracy: float


@dataclass(frozen=True)
class Checkpoint:
    """The result of one job.

    `model` is a state_dict; `masks` the masks in force during the phase (bool, True = kept; empty unless sparse);
    `train` and `test` what the model says about every example; `history` one entry an epoch; `seconds` the time spent
    in training.
    """

    model: Tensors
    masks: Tensors
    train: Signals
    test: Signals
    history: tuple[Epoch, ...]
    seconds: float


@dataclass(frozen=True)
class Progress:
    """The state of a phase after `epoch` epochs: all that the next epoch depends on."""

    epoch: int
    model: Tensors
    optimizer: Tensors
    history: tuple[Epoch, ...]
    seconds: float


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
        if checkpoint.masks:
            files["masks.safetensors"] = {name: pack_bits(mask.flatten()) for name, mask in checkpoint.masks.items()}
        index = {
            "key": key,
            "job": job,
            "history": _entries(checkpoint.history),
            "mask_shapes": {name: list(mask.shape) for name, mask in checkpoint.masks.items()},
        }
        _write_folder(self.finished_folder(key), files, index, {**environment, "seconds": checkpoint.seconds})
        self._drop_progress(key)

    def load(self, key: str) -> Checkpoint | None:
        """Return a finished job's result, or None when there is none or it is damaged (then it is set aside)."""
        return self._guarded(self.finished_folder(key), self._read_checkpoint)

    def load_signals(self, key: str) -> Signals | None:
        """Return what a finished job's model says about the training, then the test examples, without the model."""
        return self._guarded(self.finished_folder(key), _read_signals)

    def has(self, key: str) -> bool:
        """Tell whether `load` will give a result; every checksum is compared."""
        return self._guarded(self.finished_folder(key), _read_index) is not None

    def save_progress(self, key: str, progress: Progress) -> None:
        """Store the state after an epoch, then drop the one before it."""
        index = {"key": key, "epoch": progress.epoch, "history": _entries(progress.history)}
        files = {"model.safetensors": progress.model, "optimizer.safetensors": progress.optimizer}
        target = self._progress(key) / f"{progress.epoch:06d}"
        _write_folder(target, files, index, {"seconds": progress.seconds})
        for older in self._progress(key).iterdir():
            if older != target:
                shutil.rmtree(older)

    def load_progress(self, key: str) -> Progress | None:
        """Return the latest undamaged state of a job in progress, if there is one."""
        for folder in sorted(self._progress(key).glob("[0-9]*"), reverse=True):
            progress = self._guarded(folder, _read_progress)
            if progress is not None:
                return progress
        return None

    def epochs_done(self, key: str) -> int:
        """Return how many epochs of a job in progress are stored, as names of folders say; nothing is read."""
        return max((int(folder.name) for folder in self._progress(key).glob("[0-9]*")), default=0)

    @contextmanager
    def receiving(self, key: str) -> Iterator[Path]:
        """Give a folder to copy a finished job's files into; it takes the job's place when the body ends."""
        with _whole_folder(self.finished_folder(key), synced=True) as folder:
            yield folder

    def discard_unfinished_writes(self) -> None:
        """Delete what a killed process left half-written; only while no other process writes."""
        for folder in [
            *self.root.glob(f"checkpoints/{TEMPORARY}*"),
            *self.root.glob(f"progress/*/{TEMPORARY}*"),
        ]:
            shutil.rmtree(folder)
        for file in self.root.glob(f"{TEMPORARY}*"):
            file.unlink()
        for finished in self.root.glob("progress/*"):
            if self.finished_folder(finished.name).exists():
                shutil.rmtree(finished)

    def finished_folder(self, key: str) -> Path:
        """Where a finished job lies or will lie; raise `FolderError` for what is no key: a path could lead anywhere."""
        if not re.fullmatch(r"\w+", key):
            raise FolderError(f"checkpoint {key!r}: expected the key of a job, letters and digits")
        return self.root / "checkpoints" / key

    def _progress(self, key: str) -> Path:
        return self.root / "progress" / key

    def _drop_progress(self, key: str) -> None:
        if self._progress(key).exists():
            shutil.rmtree(self._progress(key))

    def _guarded(self, folder: Path, read: Callable[[Path], T]) -> T | None:
        if not os.path.isdir(folder):  # unlike Path.is_dir, also where the name is too long
            return None
        try:
            return read(folder)
        except Damaged as damage:
            if not self.reads_only:
                self._set_aside(folder, str(damage))
            return None

    def _set_aside(self, folder: Path, reason: str) -> None:
        aside = self.root / "damaged"
        make_folder(aside)
        name = "-".join(folder.relative_to(self.root).parts)
        target = next(path for number in range(10**6) if not (path := aside / f"{name}.{number}").exists())
        folder.rename(target)
        self.set_aside.append(f"{reason}; set aside as {target} and trained again")

    @staticmethod
    def _read_checkpoint(folder: Path) -> Checkpoint:
        index = _read_index(folder)
        bits = _read_tensors(folder, "masks.safetensors") if index["mask_shapes"] else {}
        signals = _read_tensors(folder, "signals.safetensors")
        return Checkpoint(
            model=_read_tensors(folder, "model.safetensors"),
            masks={name: _unflatten(bits[name], shape) for name, shape in index["mask_shapes"].items()},
            train=_signals(signals, "train"),
            test=_signals(signals, "test"),
            history=_history(index["history"]),
            seconds=_read_seconds(folder),
        )


def _entries(history: Sequence[Epoch]) -> list[dict[str, float]]:
    return [dataclasses.asdict(epoch) for epoch in history]


def _history(entries: Sequence[Mapping[str, Any]]) -> tuple[Epoch, ...]:
    return tuple(Epoch(**entry) for entry in entries)


def _unflatten(bits: torch.Tensor, shape: list[int]) -> torch.Tensor:
    return unpack_bits(bits, (math.prod(shape),)).view(shape)


def _signal_tensors(checkpoint: Checkpoint) -> Tensors:
    splits = {"train": checkpoint.train, "test": checkpoint.test}
    return {
        f"{split}.{name}": torch.from_numpy(values)
        for split, signals in splits.items()
        for name, values in signals.arrays().items()
    }


def _signals(tensors: Tensors, split: str) -> Signals:
    return Signals(
        **{name.removeprefix(f"{split}."): value.numpy() for name, value in tensors.items() if name.startswith(split)}
    )


def _read_signals(folder: Path) -> Signals:
    _read_index(folder)
    tensors = _read_tensors(folder, "signals.safetensors")
    return Signals.join([_signals(tensors, "train"), _signals(tensors, "test")])


def _read_progress(folder: Path) -> Progress:
    index = _read_index(folder)
    return Progress(
        epoch=index["epoch"],
        model=_read_tensors(folder, "model.safetensors"),
        optimizer=_read_tensors(folder, "optimizer.safetensors"),
        history=_history(index["history"]),
        seconds=_read_seconds(folder),
    )


def _write_folder(
    target: Path, files: Mapping[str, Tensors], index: Mapping[str, Any], unchecked: Mapping[str, Any]
) -> None:
    """Write tensors and index as one folder that appears at once; `unchecked` says how many seconds it took to make."""
    synced = unchecked["seconds"] >= SYNCED_FROM
    with _whole_folder(target, synced) as temporary:
        checksums = {}
        for name, tensors in files.items():
            # copies, because tied weights share memory, which the format has no way to say
            copies = {key: tensor.detach().cpu().clone(memory_format=_ROW_MAJOR) for key, tensor in tensors.items()}
            content = save_safetensors(copies)
            checksums[name] = hashlib.sha256(content).hexdigest()
            _write(temporary / name, content, synced)
        _write(temporary / UNCHECKED, _json({**unchecked}), synced)
        body = {**index, "files": checksums}
        _write(temporary / INDEX, _json({**body, "checksum": _checksum(body)}), synced)


@contextmanager
def _whole_folder(target: Path, synced: bool) -> Iterator[Path]:
    """Give the body a folder to fill, which then appears under the target's name at once; an old one is replaced."""
    temporary = temporary_beside(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if synced:
            _sync_folder(temporary)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        if synced:
            _sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _unwritable(target.parent, error) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _unwritable(folder: Path, error: OSError) -> FolderError:
    return FolderError(
        f"{folder}: cannot be written {why(error)}; what is finished stays, and the same command goes on"
    )


def _read_index(folder: Path) -> dict[str, Any]:
    """Read a folder's index and compare every checksum; raise `Damaged` for the first that differs."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
        checksum = index.pop("checksum")
        files = index["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{folder / INDEX} cannot be read ({error})") from None
    if checksum != _checksum(index):
        raise Damaged(f"{folder / INDEX} does not match its checksum")
    for name, expected in files:
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise Damaged(f"{folder / name} cannot be read ({error.strerror})") from None
        if found != expected:
            raise Damaged(f"{folder / name} does not match its checksum")
    return index


def _read_tensors(folder: Path, name: str) -> Tensors:
    return load_safetensors((folder / name).read_bytes())


def _read_seconds(folder: Path) -> float:
    """Read how long training took; a number to look at, so its loss is no damage."""
    try:
        return float(json.loads((folder / UNCHECKED).read_bytes())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return float("nan")


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(body)).hexdigest()


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, indent=1).encode()


def _write(path: Path, content: bytes, synced: bool) -> None:
    if synced:
        write_synced(path, content)
    else:
        path.write_bytes(content)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
