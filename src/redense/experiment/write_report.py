"""Write the report of runs, finished or not: one HTML file; it draws, and never attacks or trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from redense.errors import FolderError
from redense.experiment.found import find
from redense.experiment.report.page import report_html
from redense.files.writing import write_whole

FILE = "report.html"
SUFFIXES = (".html", ".htm")
"""Ends of names that a report may replace."""


def write_report(folders: Sequence[Path], out: Path | None = None, show_examples: bool = False) -> Path:
    """Write the report of one run, or of several side by side, and return its path.

    Args:
        folders: the runs' folders, finished or not.
        out: the file to write; by default ``report.html`` in the folder of a single run.
        show_examples: whether to show the most exposed training examples themselves, and not their places alone.

    Nothing is trained or attacked. Raises `FolderError` for a folder without a run, for several without `out`, and for
    an `out` that is no page by its name: it could be any file of a run, which would be replaced.
    """
    if out is None and len(folders) != 1:
        raise FolderError(f"--out: got {len(folders)} runs and no file; expected the name of one for their report")
    if out is not None:
        _check_name(out)
    path = out if out is not None else folders[0] / FILE
    page = report_html([find(folder) for folder in folders], show_examples)
    write_whole(path, page, inside=folders[0] if out is None else None)
    return path


def _check_name(out: Path) -> None:
    """Raise `FolderError` for a name that is no page's; a pipe or a device, which is written to, has any."""
    special = os.path.exists(out) and not (os.path.isfile(out) or os.path.isdir(out))
    if out.suffix.lower() not in SUFFIXES and not special:
        raise FolderError(f"--out: got {out}; expected a name that ends in {' or '.join(SUFFIXES)}")
