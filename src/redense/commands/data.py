"""``redense data``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from redense.commands.console import console
from redense.commands.pages import Page
from redense.commands.parse import parse

PAGE = Page(
    "data",
    "[NAME] [flags]",
    "Say what data there are, what of it is on disk, and what a download would fetch; with a NAME, of one data set.",
    {"Where": {"--data-root DIR": "where to look first; else $REDENSE_DATA, else the user's cache folder"}},
    {
        "redense data": "all that have a name",
        "redense data fashion-mnist": "one of them",
        "redense data --data-root ~/data": "also looked for in ~/data",
    },
)


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


def command(words: Sequence[str]) -> Data:
    """Read the words after ``redense data``."""
    return parse(Data, PAGE, words)
