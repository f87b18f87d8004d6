"""The register of guarantees: what each figure and sentence that is printed rests on, and the page made from it.

``python -m claims.register`` in ``tests/`` writes docs/results/guarantees.md anew (`make guarantees`).
"""

import ast
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from claims.counts import missing, read_counts
from claims.guarantees import CLASS_CELLS, GRIDS, expected, is_current, read, read_all
from claims.worlds import SIZES, worlds

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("register.toml")
PAGE = ROOT / "docs/results/guarantees.md"
OLDER = "counted with older code, before names or formulas behind it changed"
RANDOM = ("examples", "trainings", "both", "nothing")


@dataclass(frozen=True)
class Entry:
    """What is printed under the names `printed`, and what it rests on: see register.toml."""

    about: str
    printed: tuple[str, ...]
    random: str
    estimand: str
    tests: tuple[str, ...]
    grid: str | None = None
    counts: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    measured: str | None = None
    command: str | None = None
    date: str | None = None
    ends: str = ""

    def measurements(self):
        """Say what was measured last, a sentence each."""
        found = []
        if self.grid:
            found.append(_of_grid(self.grid))
        found += [_of_counts(guarantee, self.cases) for guarantee in self.counts]
        if self.measured:
            found.append(f"{self.measured} (`{self.command}`, {self.date})")
        return found


@dataclass(frozen=True)
class Register:
    """All entries, and the names of what is printed without any guarantee, by what it is."""

    entries: tuple[Entry, ...]
    plain: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path=SOURCE):
        """Read register.toml; TypeError for a field that is not known or lacks."""
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = [Entry(**{name: _frozen(value) for name, value in one.items()}) for one in values["entry"]]
        return cls(tuple(entries), {one["about"]: tuple(one["printed"]) for one in values["plain"]})

    def patterns(self):
        """Return (what it is about, pattern) of all that may be printed."""
        of_entries = [(entry.about, name) for entry in self.entries for name in entry.printed]
        return of_entries + [(about, name) for about, names in self.plain.items() for name in names]

    def problems(self, printed):
        """Say what of the names `printed` stands in no entry or in several, and which entries name what is not printed.

        A name with ``?`` hides what it is when it is not empty: it passes where the field, or one below it, is
        registered, of comparisons that of any kind. What a page says may be registered as what is said anywhere.
        """
        patterns = [(about, name, _compiled(name)) for about, name in self.patterns()]
        found, seen = [], set()
        for name in sorted(printed):
            called = {name.rstrip("?"), re.sub("^page: ", "says: ", name)}
            hits = [(about, pattern) for about, pattern, compiled in patterns if any(map(compiled.fullmatch, called))]
            seen |= set(hits)
            below = name.endswith("?") and any(_hides(name, pattern) for _, pattern, _ in patterns)
            if len({about for about, _ in hits}) > 1:
                found.append(f"in several entries: {name}: {', '.join(sorted(about for about, _ in hits))}")
            elif not hits and not below:
                found.append(f"in no entry: {name}")
        stale = [f"not printed: {name} ({about})" for about, name, _ in patterns if (about, name) not in seen]
        return found + stale


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


def _compiled(pattern):
    return re.compile(".*".join(map(re.escape, pattern.split("…"))))


def _hides(name, pattern):
    """Tell whether an empty field is one that the pattern is about, or has one below it; of any kind of comparison."""
    (place, path), (other, below) = name.rstrip("?").split(": ", 1), pattern.split(": ", 1)
    return place.split(", ")[0] == other.split(", ")[0] and (
        below == path or below.startswith((f"{path}.", f"{path}["))
    )


def exists(test):
    """Tell whether a test ``path::function`` is there."""
    path, _, name = test.partition("::")
    if not (ROOT / path).is_file() or not name.startswith("test_"):
        return False
    nodes = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in nodes)


def cells(rows):
    """Return which cells of a grid rows are of."""
    return {(row.scores, row.shift, row.members, row.nonmembers) for row in rows}


def planned(guarantee):
    """Return how many cells of the grid have such a figure: a rate is shown from 100 non-members on."""
    if guarantee == "classes":
        return CLASS_CELLS
    sizes = [sizes for sizes in SIZES if guarantee in expected(sizes[1])]
    return len(sizes) * len(worlds())


def _share(held, repeats, low, high):
    return f"{100 * held / repeats:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _of_grid(guarantee):
    """Say how much of a grid is done, and where an interval held least."""
    rows = read(guarantee)
    worst = min(rows, key=lambda row: row.coverage)
    at = f", {worst.at}" if worst.at else ""
    older = "" if is_current(guarantee) else f", {OLDER}"
    return (
        f"{len(cells(rows))} of {planned(guarantee)} cells, {len(rows)} intervals, {worst.repeats:,} repeats each: "
        f"held in at least {_share(worst.hits, worst.repeats, worst.low, worst.high)} ({worst.scores}, "
        f"shift {worst.shift:g}, {worst.members:,} and {worst.nonmembers:,}{at}); in all together in "
        f"{100 * sum(row.hits for row in rows) / sum(row.repeats for row in rows):.1f}% "
        f"(guarantees/{guarantee}.csv, `make evidence`{older})"
    )


def _of_counts(guarantee, cases):
    """Say in which case a guarantee held least, of full and of quick runs, and how many full ones are not counted."""
    rows = [row for row in read_counts(guarantee) if _is_about(row.case, cases)]
    absent = [case for case in missing(guarantee, rows) if _is_about(case, cases)]
    parts = [_of_run(of_run) for run in ("full", "quick") if (of_run := [row for row in rows if row.run == run])]
    if absent:
        parts.append(
            f"{len(absent)} of {len(absent) + sum(row.run == 'full' for row in rows)} full cases not counted yet"
        )
    last = f", {max(row.date for row in rows)}" if rows else ""
    return f"{'; '.join(parts)} (guarantees/counts.csv{last})"


def _is_about(case, cases):
    return not cases or any(one in case for one in cases)


def _of_run(rows):
    worst = min(rows, key=lambda row: row.held / row.repeats)
    repeats = sorted({row.repeats for row in rows})
    times = f"{repeats[0]:,}" if len(repeats) == 1 else f"{repeats[0]:,} to {repeats[-1]:,}"
    named = f"{'quick ' * (worst.run == 'quick')}case{'s' * (len(rows) > 1)}"
    return (
        f"{len(rows)} {named} of {times} repeats: held in at least "
        f"{_share(worst.held, worst.repeats, worst.low, worst.high)} ({worst.case}); in all together in "
        f"{100 * sum(row.held for row in rows) / sum(row.repeats for row in rows):.1f}%"
    )


HEAD = """# What is printed, and what it rests on

Made by `make guarantees` from [tests/claims/register.toml](../../tests/claims/register.toml) and the files in
[guarantees/](guarantees): do not edit it here. A test (`tests/claims/test_register.py`) walks all that a run and an
audit print (results.json, audit.json, tables, pages, CSV files) and fails where a field, a column or a sentence has no
entry. Shares are followed by their own 95% interval (Clopper-Pearson). "Held" counts experiments in which the
guarantee was kept: the interval held the truth, nothing false was claimed, or what is there was noticed. Full cases are
counted by `make evidence`, quick ones by `make counts`, until all full ones of the guarantee are there.
"""


def page(register):
    """Write the register as Markdown."""
    parts = [HEAD, _summary(), *map(_section, register.entries), "## Printed without a guarantee\n"]
    parts += [f"- {about}: {_names(names)}" for about, names in register.plain.items()]
    return "\n".join(parts) + "\n"


def _summary():
    """Say how much of the grid of intervals is done, and the least that any interval held in."""
    rows = [row for row in read_all() if row.guarantee != "classes"]
    worst = min(read_all(), key=lambda row: row.coverage)
    at = f", {worst.at}" if worst.at else ""
    current = sum(map(is_current, GRIDS))
    older = "" if current == len(GRIDS) else ", the others with older code; `make evidence` makes those again"
    return (
        f"Of the grid of intervals (scores continuous, rounded, tied at the top; four shifts; six sizes), "
        f"{len(cells(rows))} of {planned('auc')} cells are done, {worst.repeats:,} repeats each. The least of all "
        f"{len(read_all())} intervals held in {_share(worst.hits, worst.repeats, worst.low, worst.high)}: "
        f"{worst.guarantee}{at}, {worst.scores}, shift {worst.shift:g}, {worst.members:,} and {worst.nonmembers:,}. "
        f"{current} of {len(GRIDS)} files were counted with the code as it stands{older}.\n"
    )


def _section(entry):
    lines = [f"## {entry.about}\n", f"- About: {entry.estimand}.", f"- Random: {entry.random}."]
    lines += [f"- Measured: {one}." for one in entry.measurements()]
    lines.append(f"- Tests: {', '.join(f'[{_function(test)}](../../{_path(test)})' for test in entry.tests)}.")
    if entry.ends:
        lines.append(f"- Ends: {entry.ends}")
    lines.append(f"- Printed as: {_names(entry.printed)}\n" if entry.printed else "")
    return "\n".join(lines)


def _path(test):
    return test.partition("::")[0]


def _function(test):
    return test.partition("::")[2]


def _names(names):
    return ", ".join(f"`{name}`" for name in names if not name.startswith("made by")) + "."


if __name__ == "__main__":
    PAGE.write_text(page(Register.read()), encoding="utf-8")
