"""Where commands print."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(width: int = 150) -> Console:
    """Return the console of standard output: as wide as the terminal, and `width` columns where there is none."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            """Leave it to `redense.commands.main`; rich itself would leave with status 1, which means a leak."""
            raise BrokenPipeError(errno.EPIPE, "nobody reads standard output any more")

    return Plain(width=None if sys.stdout.isatty() else width)
