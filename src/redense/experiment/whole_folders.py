"""A folder of tensors that appears at once, whole, and whose damage is found: files, and an index of their SHA-256.

A folder is written under a temporary name and renamed, so it is either whole or not there. Damage after that (a
flipped bit, a truncated file) is found by its checksums. They are no signature: who recomputes them is not found.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from redense.errors import FolderError
from redense.files.reading import JSON_LIMIT, plain_bytes, plain_sha256
from redense.files.tensors import tensors_of
from redense.files.writing import temporary_beside, why, write_synced
from redense.text import one_line

Tensors = dict[str, torch.Tensor]

INDEX = "checkpoint.json"
"""Names, for every other file, its SHA-256; and holds everything that is not a tensor."""
UNCHECKED = "environment.json"
"""When, how long and on what; the one file that differs between two runs of the same job."""
SYNCED_FROM = 1.0
"""Seconds of training from which on it is worth the 20 to 30 ms that syncing a folder to the disk takes.

Without it, a power failure (a killed process does no harm) may leave a folder half-written: checksums find that.
"""
REFUSALS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM)
"""Reasons for which a sound file cannot be read."""
_ROW_MAJOR = torch.contiguous_format


class Damaged(Exception):
    """A folder that cannot be trusted; the message says which file and why."""


def write_folder(
    target: Path, files: Mapping[str, Tensors], index: Mapping[str, Any], unchecked: Mapping[str, Any]
) -> None:
    """Write tensors and index as one folder that appears at once; `unchecked` says how many seconds it took to make."""
    synced = unchecked["seconds"] >= SYNCED_FROM
    with whole_folder(target, synced) as temporary:
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
def whole_folder(target: Path, synced: bool) -> Iterator[Path]:
    """Give the body a folder to fill, which then appears under the target's name at once; an old one is replaced."""
    temporary, former = temporary_beside(target), temporary_beside(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if synced:
            _sync_folder(temporary)
        if os.path.lexists(target):
            target.rename(former)
        temporary.rename(target)
        if synced:
            _sync_folder(target.parent)
    except OSError as error:
        remove(temporary)
        raise _unwritable(target.parent, error) from error
    except BaseException:
        remove(temporary)
        raise
    remove(former)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder of ours; what a system keeps of it (such as ``.nfs*``) does no harm."""
    with suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> FolderError:
    return FolderError(
        f"{folder}: cannot be written {why(error)}; what is finished stays, and the same command goes on"
    )


def read_index(folder: Path) -> dict[str, Any]:
    """Read a folder's index and compare every checksum; raise `Damaged` for the first that differs."""
    try:
        index: dict[str, Any] = json.loads(plain_bytes(folder / INDEX, JSON_LIMIT))
        checksum = index.pop("checksum")
        files = {str(name): str(expected) for name, expected in index["files"].items()}
        sound = checksum == _checksum(index)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unread(folder / INDEX, error) from None
    if not sound:
        raise Damaged(f"{folder / INDEX} does not match its checksum")
    for name, expected in files.items():
        if Path(name).name != name:
            raise Damaged(f"{folder / INDEX} names {name!r}, which is no file of this folder")
        if _sha256(folder / name) != expected:
            raise Damaged(f"{folder / name} does not match its checksum")
    return index


def read_tensors(folder: Path, name: str, index: Mapping[str, Any]) -> Tensors:
    """Read the tensors of a file that a folder's index has; raise `Damaged` when there is none or it holds others."""
    if name not in index["files"]:
        raise Damaged(f"{folder / INDEX} has no checksum of {name}")
    try:
        return tensors_of(plain_bytes(folder / name))
    except (OSError, ValueError) as error:
        raise _unread(folder / name, error) from None


def _sha256(path: Path) -> str:
    try:
        return plain_sha256(path)
    except (OSError, ValueError) as error:
        raise _unread(path, error) from None


def _unread(path: Path, error: Exception) -> Exception:
    """Return the error for what cannot be read: `Damaged`, unless it is the system that refuses, now and to us."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return FolderError(f"{path}: cannot be read {why(error)}")
    reason = error.strerror if isinstance(error, OSError) else one_line(error)
    return Damaged(f"{path} cannot be read ({reason})")


def read_unchecked(folder: Path) -> dict[str, Any]:
    """Read when, how long and on what a folder was made; nothing where that is lost, which is no damage."""
    try:
        values = json.loads(plain_bytes(folder / UNCHECKED, JSON_LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def read_seconds(folder: Path) -> float:
    """Read how long training took, 0 where that is lost or no time: a number to look at, so that is no damage."""
    try:
        seconds = float(read_unchecked(folder)["seconds"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0


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
