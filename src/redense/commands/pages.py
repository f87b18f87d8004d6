"""The help of a command: one page that fits a screen, the flags most asked for by what they are about."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

WIDEST = 100
COLUMN = 30
"""Where the explanations of flags begin, at most."""
NARROWEST = 40
"""Columns that an explanation needs beside a flag; where there are fewer, it stands below."""


@dataclass(frozen=True)
class Page:
    """What the help of a command says.

    `groups` maps a title to its lines, ``"--flag VALUE": explanation``; what these leave out is named under "also".
    """

    command: str
    usage: str
    summary: str
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)

    def text(self, defaults: Mapping[str, Any], width: int | None = None) -> str:
        """Write the page for a terminal; `defaults` holds all flags, with the values that they have when left out."""
        width = min(WIDEST, width or shutil.get_terminal_size().columns)
        lines = [f"usage: redense {self.command} {self.usage}", "", *textwrap.wrap(self.summary, width)]
        widest = max((len(flag) for flags in self.groups.values() for flag in flags), default=0)
        for title, flags in self.groups.items():
            lines += ["", title]
            for flag, what in flags.items():
                said = f"{what}{_default(defaults.get(flag.split()[0]))}"
                lines += entry(flag, said, width, min(COLUMN, widest + 4))
        lines += [*self._also(defaults, width), "", "Examples", *self._examples(width)]
        return "\n".join([*lines, "", f"All flags, explained: redense {self.command} --help-all"])

    def all_text(self, defaults: Mapping[str, Any], explained: Mapping[str, str]) -> str:
        """Write the page that explains every flag; `explained` maps ``--flag VALUE`` to what it means."""
        width = min(WIDEST, shutil.get_terminal_size().columns)
        lines = [f"usage: redense {self.command} {self.usage}", "", *textwrap.wrap(self.summary, width), ""]
        for flag, what in explained.items():
            lines += entry(flag, f"{what}{_default(defaults[flag.split()[0]])}", width)
        return "\n".join(lines)

    def _examples(self, width: int) -> list[str]:
        """Write what each example is for beside it, or above where they do not all fit."""
        column = max(map(len, self.examples), default=0)
        beside = [f"  {command:<{column}}  # {what}" for command, what in self.examples.items()]
        if max(map(len, beside), default=0) <= width:
            return beside
        return [line for command, what in self.examples.items() for line in (f"  # {what}", f"  {command}")]

    def _also(self, flags: Collection[str], width: int) -> list[str]:
        told = {line.split()[0] for lines in self.groups.values() for line in lines}
        others = " ".join(flag for flag in flags if flag not in told)
        if not others:
            return []
        return ["", *textwrap.wrap(f"Also: {others}", width, subsequent_indent="  ", break_on_hyphens=False)]


def entry(name: str, what: str, width: int, column: int = COLUMN) -> list[str]:
    """Write a name and what it is, side by side where there is room.

    >>> entry("--lr RATE", "learning rate", 80, 14)
    ['  --lr RATE   learning rate']
    """
    lines = textwrap.wrap(what, max(20, width - column), break_on_hyphens=False)
    first = f"  {name}"
    if len(first) > column - 2 or width - column < NARROWEST:
        return [first, *(f"      {line}" for line in textwrap.wrap(what, max(20, width - 6), break_on_hyphens=False))]
    return [f"{first if number == 0 else '':<{column}}{line}" for number, line in enumerate(lines)]


def _default(value: Any) -> str:
    """Say what a flag is when it is left out, where that is a plain value."""
    if value is None or isinstance(value, bool) or value == ():
        return ""
    return f" ({' '.join(map(str, value)) if isinstance(value, tuple) else value})"
