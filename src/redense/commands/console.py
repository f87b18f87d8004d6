"""Where commands print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(width: int = 150) -> Console:
    """Return the console of standard output: as wide as the terminal, and `width` columns where there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width)
