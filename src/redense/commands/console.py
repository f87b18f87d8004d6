"""Where commands print: standard output, which may be closed, full, narrow or read by nobody."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from redense.text import PLAIN_WIDTH

if TYPE_CHECKING:
    from rich.console import Console


def console(width: int = PLAIN_WIDTH) -> Console:
    """Return the console of standard output: as wide as the terminal or $COLUMNS, else `width` columns."""
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(width=None if known else width)


def say_loading(console: Console) -> None:
    """Say at once that something happens: PyTorch takes seconds to load."""
    if "torch" not in sys.modules:
        console.print("Loading PyTorch", style="dim")


class Output:
    """A text stream that falls silent when it can no longer be written, and never stops what is being done.

    `error` is what the system said then.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, unless that has failed before."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Hand on what is written, unless that has failed before."""
        self._try(self._stream.flush)

    def _try(self, do: Any, *arguments: str) -> None:
        if self.error is None:
            try:
                do(*arguments)
            except OSError as error:
                self.error = error
                _drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_output() -> Iterator[Output]:
    """Let standard output and standard error fall silent, for the body, when they can no longer be written."""
    _occupy_standard_descriptors()
    before = sys.stdout, sys.stderr
    output, errors = (Output(stream or open(os.devnull, "w")) for stream in before)  # noqa: SIM115 (as long as we run)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def _occupy_standard_descriptors() -> None:
    """Open closed standard descriptors, or a file of the run would get their numbers and what is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _drop(stream: TextIO) -> None:
    """Send what is left in a stream nowhere, or Python would try to write it once more when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()
