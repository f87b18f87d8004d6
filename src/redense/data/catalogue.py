"""The list of named data sets, as `redense data` prints it."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from redense.data.named import NAMED, data_roots
from redense.errors import DataError
from redense.text import did_you_mean


def catalogue(name: str | None = None, data_root: Path | None = None) -> Table:
    """Draw all named data sets, or one: what it is, where it lies, what a download would fetch.

    Raises `DataError` for an unknown name.
    """
    if name is not None and name not in NAMED:
        raise DataError(f"unknown data {name!r}; expected one of {', '.join(NAMED)}{did_you_mean(name, NAMED)}")
    roots = data_roots(data_root)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "what", "on disk", "download"):
        table.add_column(column, overflow="fold")
    for key in [name] if name else NAMED:
        entry = NAMED[key]
        place = next((str(root) for root in roots if not entry.missing(root)), "no")
        table.add_row(key, entry.summary, place if entry.files else "with scikit-learn", entry.download)
    return table
