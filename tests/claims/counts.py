"""Results of repeated experiments that are no grid: in how many of them a guarantee held, case by case."""

import csv
import io
import os
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from claims.files import locked
from claims.planned import FULL, QUICK

from redense.metrics import clopper_pearson

FILE = Path(__file__).parents[2] / "docs/results/guarantees/counts.csv"
ASKED = "REDENSE_RECORD_QUICK"
"""Fast tests run often and side by side: only where this variable of the environment is set are their counts kept."""


@dataclass(frozen=True)
class Counted:
    """How often a guarantee held in one case, Clopper-Pearson's interval of that share, and when it was counted.

    `run` is "full" or "quick".
    """

    guarantee: str
    case: str
    run: str
    repeats: int
    held: int
    low: float
    high: float
    date: str


def planned(guarantee, run):
    """Return the cases that tests make of a guarantee in a full or quick run."""
    return {"full": FULL, "quick": QUICK}[run].get(guarantee, ())


def read_counts(guarantee=None, file=FILE):
    """Return what was counted, of one guarantee or of all."""
    if not file.exists():
        return []
    kinds = {field.name: field.type for field in fields(Counted)}
    lines = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
    rows = [Counted(**{name: kinds[name](value) for name, value in line.items()}) for line in lines]
    return [row for row in rows if guarantee in (None, row.guarantee)]


def record(guarantee, case, held, repeats, *, quick=False, file=FILE):
    """Keep a count in place of what was counted before in that case; ValueError for a case that is not planned.

    A quick count is kept where `ASKED` is set and the guarantee lacks full ones.
    """
    run = "quick" if quick else "full"
    if case not in planned(guarantee, run):
        raise ValueError(f"no case of a {run} run of {guarantee!r} that is planned in planned.py: {case!r}")
    if quick and not os.environ.get(ASKED):
        return
    held = int(held)  # NumPy counts with integers of its own
    low, high = (round(end, 5) for end in clopper_pearson(held, repeats))
    row = Counted(guarantee, case, run, repeats, held, low, high, datetime.now(UTC).date().isoformat())
    with locked(file.parent):
        write_counts([*read_counts(file=file), row], file)


def write_counts(rows, file=FILE):
    """Write the last count of each case: planned ones, quick ones only where full ones of the guarantee lack."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Counted)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in sorted(needed(rows), key=astuple))
    file.write_text(text.getvalue(), encoding="utf-8")


def needed(rows):
    """Return the last count of each planned case; quick ones where theirs, or another full one, is not there."""
    last = {(one.guarantee, one.case, one.run): one for one in rows if one.case in planned(one.guarantee, one.run)}
    done = {guarantee for guarantee in FULL if not missing(guarantee, last.values())}
    return [
        one
        for one in last.values()
        if one.run == "full" or not (one.guarantee in done or (one.guarantee, one.case, "full") in last)
    ]


def missing(guarantee, rows):
    """Return the planned cases of which no full count is among the rows."""
    counted = {one.case for one in rows if (one.guarantee, one.run) == (guarantee, "full")}
    return [case for case in planned(guarantee, "full") if case not in counted]
