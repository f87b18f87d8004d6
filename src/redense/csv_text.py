"""Rows as CSV text, the same in every file that is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows of the same fields under a line of their names.

    >>> csv_text([{"a": 1, "b": None}])
    'a,b\\n1,\\n'
    """
    names = list(rows[0]) if rows else []
    return csv_lines(names, ([row[name] for name in names] for row in rows))


def csv_lines(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a line of names and rows of values in their order."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return buffer.getvalue()
