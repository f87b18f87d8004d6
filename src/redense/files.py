"""The one way out for files: whole or not at all."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

from redense.errors import FolderError

TEMPORARY = ".writing-"
"""What names of files and folders begin with that are not whole yet."""


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file that is either the old or the new one, whole, even after a power failure.

    The content goes to a temporary file beside it, to the disk, and then takes its name. A device or a pipe is written
    to and stays what it is. Raises `FolderError` when that cannot be done; then there is no file, or the old one.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = temporary_beside(path)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        write_synced(temporary, data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FolderError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another place"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """Name a file or folder beside a path that is to take its place.

    Machines that share a disk have processes of the same number, so the name has a random part.
    """
    return path.with_name(f"{TEMPORARY}{path.name[:150]}-{uuid.uuid4().hex}")


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_png(path: Path, figure: Any) -> None:
    """Write a figure of matplotlib as PNG, as `write_whole` does."""
    write_whole(path, png_bytes(figure))


def png_bytes(figure: Any) -> bytes:
    """Return a figure of matplotlib as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
