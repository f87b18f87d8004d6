"""Results of repeated experiments that are no grid: in how many of them a guarantee held, case by case."""

import csv
import io
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from redense.metrics import clopper_pearson

FILE = Path(__file__).parents[2] / "docs/results/guarantees/counts.csv"


@dataclass(frozen=True)
class Counted:
    """How often a guarantee held in one case, Clopper-Pearson's interval of that share, and when it was counted."""

    guarantee: str
    case: str
    repeats: int
    held: int
    low: float
    high: float
    date: str


def read_counts(guarantee=None, file=FILE):
    """Return what was counted, of one guarantee or of all."""
    if not file.exists():
        return []
    kinds = {field.name: field.type for field in fields(Counted)}
    lines = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
    rows = [Counted(**{name: kinds[name](value) for name, value in line.items()}) for line in lines]
    return [row for row in rows if guarantee in (None, row.guarantee)]


def record(guarantee, case, held, repeats, file=FILE):
    """Keep a count in place of what was counted before in that case."""
    low, high = (round(end, 5) for end in clopper_pearson(held, repeats))
    row = Counted(guarantee, case, repeats, int(held), low, high, datetime.now(UTC).date().isoformat())
    kept = {(one.guarantee, one.case): one for one in (*read_counts(file=file), row)}
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Counted)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in sorted(kept.values(), key=astuple))
    file.write_text(text.getvalue(), encoding="utf-8")
