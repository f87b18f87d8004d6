"""``redense data``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from redense.commands.console import console


@dataclass(frozen=True)
class Data:
    """Say what data there are, what of it is on disk, and what a download would fetch."""

    name: tyro.conf.Positional[str | None] = None
    """Only this data set."""
    data_root: Path | None = None
    """Where to look first; else $REDENSE_DATA, else the user's cache folder."""

    def execute(self) -> None:
        """Print the catalogue."""
        from redense.data.catalogue import catalogue

        console(width=160).print(catalogue(self.name, self.data_root))
