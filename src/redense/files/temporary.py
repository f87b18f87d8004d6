"""Folders for what is not to stay."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from redense.errors import FolderError


@contextmanager
def temporary_folder(prefix: str, longest: int | None = None) -> Iterator[str]:
    """Give the body a folder of this user's alone, which goes with it; ``/tmp`` where another's name is too long.

    Raises `FolderError` where none can be made.
    """
    try:
        place = None if longest is None or len(tempfile.gettempdir()) <= longest else "/tmp"
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise FolderError(
            f"no temporary folder can be made ({error.strerror}); set TMPDIR to a folder that you may write to"
        ) from None
    with folder as name:
        yield name
