"""Write the report of runs, finished or not: one HTML file; it draws, and never attacks or trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from redense.errors import FolderError
from redense.experiment.found import find
from redense.experiment.report.page import report_html
from redense.files.writing import write_whole

FILE = "report.html"


def write_report(folders: Sequence[Path], out: Path | None = None, show_examples: bool = False) -> Path:
    """Write the report of one run, or of several side by side, and return its path.

    Args:
        folders: the runs' folders, finished or not.
        out: the file to write; by default ``report.html`` in the folder of a single run.
        show_examples: whether to show the most exposed training examples themselves, and not their places alone.

    Nothing is trained or attacked. Raises `FolderError` for a folder without a run, and for several without `out`.
    """
    if out is None and len(folders) != 1:
        raise FolderError(f"--out: got {len(folders)} runs and no file; expected the name of one for their report")
    path = out if out is not None else folders[0] / FILE
    page = report_html([find(folder) for folder in folders], show_examples)
    write_whole(path, page, inside=folders[0] if out is None else None)
    return path
