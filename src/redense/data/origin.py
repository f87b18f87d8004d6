"""Where named data come from, told apart by their files alone: nothing of them is understood, and no PyTorch loaded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from redense.data.named import LARGEST, NAMED, data_roots
from redense.files.reading import memory, open_plain
from redense.user_code import is_object_name

AGAIN = "a folder that a link leads to again"


def origin(name: str, data_root: str | Path | None = None) -> dict[str, str] | None:
    """Return the SHA-256 of each file that `redense.data.load` reads for a name, by its place: empty for ``digits``.

    None for a function's data, for files that are not there, and for those that cannot be read or are too large to be.
    Of data that come with a library its version has to be asked besides. Raises `DataError` for a `data_root` that is
    no folder.

    >>> origin("digits"), origin("mine:data"), origin("nowhere.npz")
    ({}, None, None)
    """
    try:
        if name in NAMED:
            entry, roots = NAMED[name], data_roots(Path(data_root) if data_root is not None else None)
            root = next((root for root in roots if not entry.missing(root)), None)
            return None if root is None else {file: _digest(root / file, LARGEST) for file in entry.files}
        if is_object_name(name):
            return None
        return _of_folder(name) if os.path.isdir(name) else {"": _digest(Path(name))}
    except (OSError, ValueError):  # also of names that cannot be those of files
        return None


def _of_folder(folder: str) -> dict[str, str]:
    """Return the digests of all files below a folder, links followed, each folder once."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for place, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            found[os.path.relpath(place, folder)] = AGAIN
            below.clear()
            continue
        seen.add(real)
        for name in names:
            path = Path(place) / name
            found[os.path.relpath(path, folder)] = _digest(path)
    return found


def _digest(path: Path, most: int | None = None) -> str:
    """Return the SHA-256 of a file of at most so many bytes, by default what memory holds: more is never read as data.

    Raises `ValueError` for one of more.
    """
    with open_plain(path) as file:
        if os.fstat(file.fileno()).st_size > (memory() if most is None else most):
            raise ValueError(f"{path} is too large")
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
        return digest.hexdigest()
