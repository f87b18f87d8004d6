"""The one way out for files: whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import uuid
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redense.errors import FolderError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPORARY = ".writing-"
"""What names of files and folders begin with that are not whole yet."""
_ROOM = "free some space or choose another place"
_MAY_NOT = "choose a place where you may write"
_OPEN_FILES = "close files or raise their limit (ulimit -n)"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EDQUOT: _ROOM,
    errno.EACCES: _MAY_NOT,
    errno.EPERM: _MAY_NOT,
    errno.EROFS: _MAY_NOT,
    errno.EISDIR: "expected the name of a file",
    errno.ENOENT: "make its folder first or choose another place",
    errno.ENOTDIR: "a part of it is a file, no folder; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link there leads to itself; choose another place",
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
}
"""What to do when a file cannot be written, by the system's reason."""


def write_whole(path: Path, content: bytes | str, *, inside: Path | None = None) -> None:
    """Write a file that is either the old or the new one, whole, even after a power failure.

    The content goes to a temporary file beside it, to the disk, and then takes its name and its mode. A link stays, and
    the file that it leads to is written; a device or a pipe is written to and stays what it is. Not so `inside` a
    folder that may come from somebody else: see `check_inside`. Letters of a text that UTF-8 has not, as of names of
    files in other encodings, are escaped. Raises `FolderError` when that cannot be done; then there is no file, or the
    old one.
    """
    if inside is not None:
        check_inside(inside, path)
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    try:
        mode = _mode(path)
        if mode is None or stat.S_ISREG(mode):
            _replace(Path(os.path.realpath(path)), data, mode)
        else:
            path.write_bytes(data)
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: cannot be written {why(error)}") from error


def check_inside(folder: Path, path: Path) -> None:
    """Raise `FolderError` where a name below a folder leads out of its place there, or is a pipe or a device.

    Whoever made the folder chose its names, and what is written there must not end up elsewhere. A link to another name
    of the same place is none that leads out.
    """
    try:
        expected, real = Path(os.path.realpath(folder)) / path.relative_to(folder), Path(os.path.realpath(path))
    except FileNotFoundError as error:  # the current folder, which a path is relative to, has been deleted
        raise FolderError(f"{path}: cannot be written {why(error)}") from None
    if real.parent != expected.parent:
        below = [place for place in (path, *path.parents) if place != folder and place.is_relative_to(folder)]
        link = next(
            place
            for place in reversed(below)
            if os.path.realpath(place.parent) != os.path.dirname(os.path.realpath(place))
        )
        raise FolderError(
            f"{link} is a link to {os.path.realpath(link)}, which would be written; expected a plain file or folder: "
            "take the link away"
        )
    try:
        mode = _mode(path)
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: cannot be written {why(error)}") from None
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FolderError(f"{path} is no plain file; expected one, or a name that is not taken")


def make_folder(path: Path, called: str | None = None, *, inside: Path | None = None) -> None:
    """Make a folder and those around it, unless they are there; raise `FolderError` when that cannot be done.

    `called` is what the error says for the path; `inside` as for `write_whole`.
    """
    if inside is not None:
        check_inside(inside, path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise FolderError(f"{called or path}: cannot be made {why(error)}") from error


def why(error: OSError | ValueError) -> str:
    """Say why something cannot be written, and what to do about it; a `ValueError` is of a name with a NUL character.

    >>> why(OSError(errno.ENAMETOOLONG, "File name too long"))
    '(File name too long); choose a shorter name'
    """
    if isinstance(error, ValueError):
        return f"({error}); choose a name without it"
    return f"({error.strerror}); {_ADVICE.get(error.errno or 0, 'choose another place')}"


def _mode(path: Path) -> int | None:
    """Return the type and permissions of what a path leads to, None where there is nothing."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _replace(path: Path, content: bytes, mode: int | None) -> None:
    temporary = temporary_beside(path)
    try:
        write_synced(temporary, content)
        if mode is not None:
            temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell; this one follows from it
            temporary.unlink()
        raise


def temporary_beside(path: Path) -> Path:
    """Name a file or folder beside a path that is to take its place.

    Machines that share a disk have processes of the same number, so the name has a random part.
    """
    begins = os.fsencode(path.name)[:150].decode(errors="ignore")  # the system counts bytes
    return path.with_name(f"{TEMPORARY}{begins}-{uuid.uuid4().hex}")


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_png(path: Path, figure: Any, *, inside: Path | None = None) -> None:
    """Write a figure of matplotlib as PNG, as `write_whole` does."""
    try:
        content = png_bytes(figure)
    except OSError as error:  # matplotlib opens its fonts
        raise FolderError(f"{path}: cannot be drawn {why(error)}") from error
    write_whole(path, content, inside=inside)


def png_bytes(figure: Any) -> bytes:
    """Return a figure of matplotlib as PNG; letters that its fonts lack are boxes, of which nothing is said."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def picture(**settings: Any) -> Figure:
    """Return an empty figure of matplotlib that notebooks show, also where nothing of pyplot was imported.

    >>> picture(figsize=(1, 1), dpi=20)._repr_png_()[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            return png_bytes(self)

    return Picture(**settings)
