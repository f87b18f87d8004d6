"""The audits of a run side by side: attacks down, phases across."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from redense.auditing.attack_result import AttackResult, RateAt
from redense.auditing.protocols import PROTOCOLS
from redense.auditing.table import note
from redense.experiment.audit_rows import AuditRow, attack_names
from redense.experiment.report.traces import traces_figure
from redense.metrics.spread import Spread
from redense.phases import Phase
from redense.terminal import Continued, below, heading, prose, table_of
from redense.text import interval_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reading = Callable[[AttackResult], tuple[float, tuple[float, float]]]
"""Reads a figure and its interval off an attack's result."""
_ACCURACIES: dict[str, Callable[[AuditRow], float]] = {
    "test accuracy, %": lambda row: row.test_accuracy,
    "accuracy on members, %": lambda row: row.result.members_accuracy or 0.0,
    "accuracy on non-members, %": lambda row: row.result.nonmembers_accuracy or 0.0,
}
"""What stands below the attacks; the accuracies of a run's targets are known."""


def audit_summary(rows: Sequence[AuditRow]) -> RenderableType:
    """Draw, for each protocol, the AUC and the true-positive rate at the lowest rate shown."""
    parts: list[RenderableType] = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        of_protocol = [row for row in rows if row.protocol == protocol]
        parts += [prose(_heading(of_protocol)), ""]
        parts += [_table(of_protocol, "AUC", lambda attack: (attack.auc, attack.auc_interval), 1, 4), ""]
        lowest = _lowest(of_protocol[0])
        if lowest is not None:
            title = f"TPR, %, at {100 * lowest:g}% FPR"
            parts += [_table(of_protocol, title, partial(_rate_at, fpr=lowest), 100, 2), ""]
    return Group(*parts, *map(prose, _said(rows)), "")


def _said(rows: Sequence[AuditRow]) -> list[str]:
    """Return what was found of the sides, and every warning once, with the rows that it is about."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for line in (*note(row.result.alike), *(f"Warning: {warning}." for warning in row.result.warnings)):
            about.setdefault(line, []).append(row.name)
    return [f"{line} ({names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)})" for line, names in about.items()]


def audit_traces(rows: Sequence[AuditRow]) -> Figure:
    """Draw what the phases give away at equal accuracy, a panel a protocol."""
    protocols = dict.fromkeys(row.protocol for row in rows)
    panels = {
        f"protocol {protocol}": [(row.phase, row.trace) for row in rows if row.protocol == protocol]
        for protocol in protocols
    }
    return traces_figure(panels)


def _heading(rows: Sequence[AuditRow]) -> str:
    result = rows[0].result
    return (
        f"Audit, protocol {rows[0].protocol}: {PROTOCOLS[rows[0].protocol]} "
        f"({result.members:,} and {result.nonmembers:,}; {result.references} reference models)"
    )


def _table(rows: Sequence[AuditRow], title: str, reading: Reading, factor: float, digits: int) -> Continued:
    """Draw attacks down and phases across, an interval below its figure; phases that have no room go on below."""
    phases = list(dict.fromkeys(row.phase for row in rows))
    groups = [[row for row in rows if row.phase == phase] for phase in phases]

    def draw(start: int, end: int) -> Table:
        return _phases(phases[start:end], groups[start:end], title, reading, factor, digits)

    return Continued(len(phases), draw)


def _phases(
    phases: Sequence[Phase],
    groups: Sequence[Sequence[AuditRow]],
    title: str,
    reading: Reading,
    factor: float,
    digits: int,
) -> Table:
    lines = {
        name: [_cell([reading(one) for row in group if (one := row.attack(name))], factor, digits) for group in groups]
        for name in attack_names(row for group in groups for row in group)
    }
    columns = zip(phases, zip(*lines.values(), strict=True), strict=True)
    table = table_of(title, *(heading(phase.label, cells) for phase, cells in columns), text=[title])
    for attack, cells in lines.items():
        table.add_row(attack, *map(Text, cells))
    for name, read in _ACCURACIES.items():
        spreads = [Spread.of(100 * read(row) for row in group) for group in groups]
        table.add_row(name, *(_spread(spread, 2) for spread in spreads), style="dim")
    return table


def _cell(values: Sequence[tuple[float, tuple[float, float]]], factor: float, digits: int) -> str:
    if not values:  # an attack that was not made here: its reference models are not finished
        return "-"
    spread = Spread.of(factor * value for value, _ in values)
    if spread.deviation is not None:
        return _spread(spread, digits)
    return below(f"{spread.mean:.{digits}f}", interval_text(values[0][1], factor, digits))


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.mean:.{digits}f}" + (f" ± {spread.deviation:.{digits}f}" if spread.deviation is not None else "")


def _lowest(row: AuditRow) -> float | None:
    shown = [rate.fpr for rate in row.result.attacks[0].rates if rate.point is not None]
    return shown[-1] if shown else None


def _rate_at(attack: AttackResult, fpr: float) -> tuple[float, tuple[float, float]]:
    rate: RateAt = next(rate for rate in attack.rates if rate.fpr == fpr)
    assert rate.point is not None
    return rate.point.tpr, rate.point.tpr_interval
