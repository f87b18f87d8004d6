"""The one way in for JSON that redense wrote: read and checked by format, keys and types, or refused in one line."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import reprlib
import stat
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from redense.errors import ArgumentError, FolderError, RedenseError
from redense.files.cgroups import available_bytes, memory_limit, total_bytes

T = TypeVar("T")
JSON_LIMIT = 2**28
"""Bytes of JSON that are read at most, 256 MiB: the risks of ten million examples take less."""
ASKED_FROM = 2**26
"""Bytes, 64 MiB, from which on it is asked whether memory for a file is free before it is read."""
NEWER = "use the version of redense that wrote it, or a newer one"


class Unread(ArgumentError):
    """A value that is not what its place asks for; the message says where, what was got and what is expected."""


@dataclass(frozen=True)
class Written:
    """A kind of JSON file that redense writes.

    `what` it holds, in a person's words; its `format`, None for files that bear none; the `remedy` for one that cannot
    be read or has an older format; the kind of `error` that is raised for these; the most bytes that one may have.

    >>> Written("a plan", 2, "the same command writes it anew").parse('{"format": 1}', "plan.json", dict)
    Traceback (most recent call last):
    ...
    redense.errors.FolderError: plan.json: got format 1; expected 2; the same command writes it anew
    """

    what: str
    format: int | None
    remedy: str
    error: type[RedenseError] = FolderError
    limit: int = JSON_LIMIT

    def read(self, path: Path, make: Callable[[Mapping[str, Any]], T]) -> T:
        """Read a file of a run's folder and `make` of its values what it holds, as `parse` does."""
        try:
            text = plain_bytes(path, self.limit).decode()
        except UnicodeDecodeError as error:
            raise self._unreadable(str(path), error) from None
        except (OSError, ValueError) as error:  # the latter of a NUL character in the path
            reason = error.strerror if isinstance(error, OSError) else error
            missing = f"{path.parent}: no {path.name} that can be read ({reason})"
            if isinstance(error, FileNotFoundError) and not path.parent.exists():
                raise self.error(f"{path.parent}: no such folder; expected a run's folder with {self.what}") from None
            raise self.error(f"{missing}; expected a run's folder with {self.what}; {self.remedy}") from None
        return self.parse(text, str(path), make)

    def refuse_newer(self, path: Path) -> None:
        """Raise `error` for a file of a newer format, which nobody must write over; others are for `read` to judge."""
        try:
            found = json.loads(plain_bytes(path, self.limit))["format"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return
        if type(found) is int and found > (self.format or 0):
            raise self.error(f"{path}: got format {found}; expected {self.format}; {NEWER}")

    def parse(self, text: str, source: str, make: Callable[[Mapping[str, Any]], T]) -> T:
        """Take JSON and `make` of its values, without the format, what it holds; `source` is named in errors.

        Raises `error` for what is no JSON, nested too deep, no mapping or of another format, and where `make` raises
        `Unread` or a `RedenseError`.
        """
        return self.take(self.values(text, source), source, make)

    def values(self, text: str, source: str) -> Any:
        """Return what JSON says, whatever that is; raise `error` for what is no JSON or nested too deep."""
        try:
            return json.loads(text)
        except RecursionError:
            raise self._unreadable(source, "nested too deep") from None
        except (ValueError, TypeError) as error:
            raise self._unreadable(source, error) from None

    def take(self, values: Any, source: str, make: Callable[[Mapping[str, Any]], T]) -> T:
        """Do with the values of JSON what `parse` does with its text."""
        try:
            plain = dict(mapping(values))
            if self.format is not None:
                self._check_format(plain, source)
            return make(plain)
        except (Unread, RedenseError) as error:
            if isinstance(error, _OtherFormat):
                raise self.error(str(error)) from None
            raise self._unreadable(source, error) from None

    def _check_format(self, values: dict[str, Any], source: str) -> None:
        """Take the format out of the values; raise when it is another."""
        if "format" not in values:
            raise Unread("format is missing")
        found = build(int, values.pop("format"), "format")
        if found != self.format:
            advice = NEWER if found > (self.format or 0) else self.remedy
            raise _OtherFormat(f"{source}: got format {found}; expected {self.format}; {advice}")

    def _unreadable(self, source: str, reason: object) -> RedenseError:
        return self.error(f"{source}: cannot be read as {self.what} ({reason}); {self.remedy}")


def plain_bytes(path: Path, limit: int | None = None) -> bytes:
    """Read a plain file, of at most `limit` bytes, by default what `memory` holds.

    Raises `ValueError` for one of more; `OSError` for one that does not fit into the memory that is free now, and as
    `open_plain` does.
    """
    with open_plain(path) as file:
        size = _size(file, memory() if limit is None else limit)
        if size <= ASKED_FROM or size <= available_bytes():
            with suppress(MemoryError):
                return file.read()
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def plain_sha256(path: Path) -> str:
    """Return the SHA-256 of a plain file, which is read piece by piece; raises as `plain_bytes` does."""
    with open_plain(path) as file:
        _size(file, memory())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(file: BufferedReader, most: int) -> int:
    """Return the size of an open file; raise `ValueError` where it is more than `most`."""
    size = os.fstat(file.fileno()).st_size
    if size > most:
        raise ValueError(f"it has {size:,} bytes; expected at most {most:,}")
    return size


@cache
def memory() -> int:
    """Return how many bytes of memory the machine has, or the control groups of this process allow it."""
    limit = memory_limit()
    return total_bytes() if limit is None else min(total_bytes(), limit)


def open_plain(path: str | Path) -> BufferedReader:
    """Open a plain file, or one that a link leads to, for reading; never a pipe or a device, which may have no end.

    Raises `OSError` for what is no plain file or cannot be read.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "no plain file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to would keep us waiting for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _OtherFormat(Unread):
    """A format that this version does not read."""


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping with names for keys; raise `Unread` for anything else."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _unread(value, "a mapping")
    return value


def field(values: Mapping[str, Any], name: str) -> Any:
    """Return one of the values; raise `Unread` where it is missing."""
    if name not in values:
        raise Unread(f"{name} is missing")
    return values[name]


def fields(kind: type[T], values: Any, **made: Any) -> T:
    """Make a dataclass of a mapping of its fields, those `made` already left out; fields with a default may be missing.

    Raises `Unread` for missing and unknown fields and values of another type than the field's.

    >>> fields(Written, {"what": "a plan", "format": 1, "remedy": 7})
    Traceback (most recent call last):
    ...
    redense.files.reading.Unread: remedy: got 7; expected a string
    """
    given = mapping(values)
    of_kind: Any = kind
    hints = _hints(of_kind)
    expected = {one.name: one for one in dataclasses.fields(of_kind) if one.init and one.name not in made}
    for name in given:
        if name not in expected:
            raise Unread(f"{reprlib.repr(name)} is not known")
    for name, one in expected.items():
        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            field(given, name)
    return kind(**{name: build(hints[name], value, name) for name, value in given.items()}, **made)


def build(kind: Any, value: Any, where: str = "") -> Any:
    """Return a value of JSON as the type that an annotation names; raise `Unread`, which says `where`, for another.

    Types are those of frozen dataclasses: bool, int, float (finite), str, None, literals, tuples and lists (lists in
    JSON), dictionaries, unions of these with None, and dataclasses; one with `from_mapping` is read by that.

    >>> build(tuple[float, float], [1, 0.5])
    (1.0, 0.5)
    """
    try:
        return _build(kind, value)
    except Unread as error:
        raise Unread(f"{where}: {error}" if where else str(error)) from None


def _build(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _plain(kind, value)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _unread(value, f"one of {', '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        (other,) = (each for each in arguments if each is not types.NoneType)
        return None if value is None else _build(other, value)
    if origin in (tuple, list):
        return origin(_elements(origin, arguments, value))
    if origin is dict:
        return {key: build(arguments[1], element, reprlib.repr(key)) for key, element in mapping(value).items()}
    if hasattr(kind, "from_mapping"):
        return kind.from_mapping(value)
    return fields(kind, value)


def _plain(kind: type, value: Any) -> Any:
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _unread(value, _PLAIN[kind]) from None
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise _unread(value, _PLAIN[kind])
    return value


def _elements(origin: type, arguments: tuple[Any, ...], value: Any) -> list[Any]:
    """Build the elements of a list in JSON; a tuple has one type for each, or one and an ellipsis for all."""
    if not isinstance(value, list | tuple):
        raise _unread(value, "a list")
    if origin is list or arguments[1:] == (Ellipsis,):
        arguments = arguments[:1] * len(value)
    if len(value) != len(arguments):
        raise _unread(value, f"a list of {len(arguments)}")
    places = enumerate(zip(arguments, value, strict=True))
    return [build(kind, element, str(index)) for index, (kind, element) in places]


def check(holds: bool, value: Any, where: str, expected: str) -> None:
    """Raise `Unread`, which says `where`, for a value of the right type that is not what is `expected`."""
    if not holds:
        raise Unread(f"{where}: {_unread(value, expected)}")


def _unread(value: Any, expected: str) -> Unread:
    return Unread(f"got {' '.join(reprlib.repr(value).split())}; expected {expected}")


@cache  # resolving annotations costs more than all else
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


_PLAIN = {bool: "true or false", int: "an integer", float: "a finite number", str: "a string"}
"""What values of plain types are called."""
