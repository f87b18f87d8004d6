"""``redense doctor``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redense.commands.pages import WIDEST, Page, entry
from redense.commands.parse import parse
from redense.text import visible

PAGE = Page(
    "doctor",
    "[flags]",
    "Say what redense finds on this machine: versions, device, threads, limits, free memory and disk, data, extras; "
    "then train a small network for a few seconds and check it. For a report of a defect, send what it prints.",
    {"Where": {"--data-root DIR": "where to look for data first; else $REDENSE_DATA, else the user's cache folder"}},
    {"redense doctor": "all of it"},
)
COLUMN = 14


@dataclass(frozen=True)
class Doctor:
    """Say what redense finds on this machine, and try it for a few seconds."""

    data_root: Path | None = None
    """Where to look for data first; else $REDENSE_DATA, else the user's cache folder."""

    def execute(self) -> None:
        """Print a line a finding as it is made, the self-test last."""
        print("Loading PyTorch", flush=True)
        from redense.experiment.doctor import findings, self_test

        width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
        for name, found in findings(self.data_root):
            print("\n".join(entry(name, visible(found), width, COLUMN)))
        print("\n".join(entry("self-test", self_test(), width, COLUMN)))


def command(words: Sequence[str]) -> Doctor:
    """Read the words after ``redense doctor``."""
    return parse(Doctor, PAGE, words)
