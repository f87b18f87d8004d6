"""The list of named data sets, as `redense data` prints it."""

from __future__ import annotations

from pathlib import Path

from redense.data.named import NAMED, data_roots
from redense.errors import DataError
from redense.terminal import Fitting, table_of
from redense.text import did_you_mean, visible


def catalogue(name: str | None = None, data_root: Path | None = None) -> Fitting:
    """Draw all named data sets, or one: what it is, where it lies, what a download would fetch.

    Raises `DataError` for an unknown name.
    """
    if name is not None and name not in NAMED:
        raise DataError(f"unknown data {name!r}; expected one of {', '.join(NAMED)}{did_you_mean(name, NAMED)}")
    roots = data_roots(data_root)
    columns = ("name", "what", "on disk", "download")
    table = table_of(*columns, text=columns, broken=columns[1:])
    for key in [name] if name else NAMED:
        entry = NAMED[key]
        place = next((visible(root) for root in roots if not entry.missing(root)), "no")
        table.add_row(key, entry.summary, place if entry.files else "with scikit-learn", entry.download)
    return Fitting([(table, "")])
