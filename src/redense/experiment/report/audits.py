"""The audits of a run side by side: attacks down, phases across."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from redense.auditing.attack_result import AttackResult
from redense.auditing.protocols import PROTOCOLS
from redense.auditing.table import held_back, note
from redense.auditing.wording import MARK, STRONGEST_IS
from redense.experiment.audit_rows import AuditRow, attack_names, by_phase, by_protocol
from redense.experiment.grouping import gathered
from redense.experiment.report.protocols import audited_name, lowest_rate
from redense.experiment.report.seeds import spread_text
from redense.experiment.report.traces import traces_figure
from redense.metrics.spread import Spread
from redense.terminal import Continued, below, heading, prose, table_of
from redense.text import from_to, interval_text, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reading = Callable[[AttackResult], tuple[float, tuple[float, float]]]
"""Reads a figure and its interval off an attack's result."""
OfModels = Mapping[str, Callable[[AuditRow], float]]
"""Reads figures of the audited model itself, by what they are called."""
_OF_TARGETS: OfModels = {
    "accuracy on members, %": lambda row: row.result.members_accuracy or 0.0,
    "accuracy on non-members, %": lambda row: row.result.nonmembers_accuracy or 0.0,
}
"""What stands below the AUCs; the accuracies of a run's targets are known."""
_ON_TEST_DATA: OfModels = {"test accuracy, %": lambda row: row.test_accuracy}
"""Stands there, too, where non-members are not just the test data."""
_HOW_TO_READ = (
    f"{MARK}: the strongest attack on a target of that phase, which its verdict names: {STRONGEST_IS}. Accuracy: with "
    "thresholds learnt on other examples or "
    "reference models; the inference accuracy of the phases is with the best threshold for these examples, and so "
    "mostly higher for the same attack (confidence). TPR: the share of the members that are found when at most so many "
    "of the non-members are wrongly accused."
)


def audit_summary(rows: Sequence[AuditRow]) -> RenderableType:
    """Draw, for each protocol, AUC, accuracy and the true-positive rate at the lowest rate shown.

    The attack that the verdict on a target names is marked in its phase's column of every table.
    """
    parts: list[RenderableType] = []
    for of_protocol in by_protocol(rows).values():
        parts += [prose(audit_heading(of_protocol)), ""]
        tested = _tested(of_protocol)
        models = {**_OF_TARGETS, **(_ON_TEST_DATA if tested else {})}
        parts += [_table(of_protocol, "AUC", _auc, 1, 4, models), ""]
        parts += [*map(prose, tested), ""] if tested else []
        parts += [_table(of_protocol, "accuracy, %", _accuracy, 100, 2, {}), ""]
        lowest = lowest_rate(of_protocol)
        if lowest is not None:
            title = f"TPR, %, at {percent(lowest)} FPR"
            parts += [_table(of_protocol, title, partial(_rate_at, fpr=lowest), 100, 2, {}), ""]
            equal = held_back([row.result for row in of_protocol], lowest)
            parts += [*map(prose, equal), ""] if equal else []
    return Group(*parts, *map(prose, [*_about_sides(rows), *audit_warnings(rows)]), prose(_HOW_TO_READ))


def _about_sides(rows: Sequence[AuditRow]) -> list[str]:
    """Return what was found of the sides, once."""
    return _once(rows, lambda row: note(row.result.alike))


def audit_warnings(rows: Sequence[AuditRow]) -> list[str]:
    """Return every warning once, with the rows that it is about."""
    return _once(rows, lambda row: [f"Warning: {warning}." for warning in row.result.warnings])


def _once(rows: Sequence[AuditRow], said: Callable[[AuditRow], list[str]]) -> list[str]:
    """Return each line once, with the rows that say it."""
    about = gathered((line, audited_name(row, rows)) for row in rows for line in said(row))
    return [f"{line} ({names[0]}{_further(len(names) - 1)})" for line, names in about.items()]


def _further(models: int) -> str:
    return f"; likewise {models} more audited model{'s' * (models > 1)}" if models else ""


def audit_traces(rows: Sequence[AuditRow]) -> Figure:
    """Draw what the phases give away at equal accuracy, a panel a protocol."""
    panels = {
        f"protocol {protocol}": [(row.phase, row.trace) for row in of_protocol if row.trace.points]
        for protocol, of_protocol in by_protocol(rows).items()
    }
    return traces_figure(panels)


def audit_heading(rows: Sequence[AuditRow]) -> str:
    """Say what a protocol's audits are of."""
    members, nonmembers, references = (
        from_to(getattr(row.result, what) for row in rows) for what in ("members", "nonmembers", "references")
    )
    return (
        f"Audit, protocol {rows[0].protocol}: {PROTOCOLS[rows[0].protocol].says} "
        f"({members} and {nonmembers}; {references} reference models)"
    )


def _tested(rows: Sequence[AuditRow]) -> list[str]:
    """Say what test accuracies are about, where non-members are not just the test data."""
    if all(row.trace.held_out == row.result.nonmembers for row in rows):
        return []
    count = from_to(row.trace.held_out for row in rows)
    return [f"Test accuracy: on the {count} test examples among a target's non-members."]


def _table(
    rows: Sequence[AuditRow], title: str, reading: Reading, factor: float, digits: int, models: OfModels
) -> Continued:
    """Draw attacks down and phases across, an interval below its figure; phases that have no room go on below."""
    groups = by_phase(rows)

    def draw(start: int, end: int) -> Table:
        return _phases([*groups.values()][start:end], title, reading, factor, digits, models)

    return Continued(len(groups), draw)


def _phases(
    groups: Sequence[Sequence[AuditRow]],
    title: str,
    reading: Reading,
    factor: float,
    digits: int,
    models: OfModels,
) -> Table:
    lines = {
        name: [
            _marked(name, group) + _cell([reading(one) for row in group if (one := row.found(name))], factor, digits)
            for group in groups
        ]
        for name in attack_names(row for group in groups for row in group)
    }
    columns = zip(groups, zip(*lines.values(), strict=True), strict=True)
    table = table_of(title, *(heading(group[0].phase.label, cells) for group, cells in columns), text=[title])
    for attack, cells in lines.items():
        table.add_row(attack, *cells)
    for name, read in models.items():
        spreads = [Spread.of(100 * read(row) for row in group) for group in groups]
        table.add_row(name, *(spread_text(spread, 2) for spread in spreads), style="dim")
    return table


def _marked(attack: str, group: Sequence[AuditRow]) -> str:
    """Return the mark that goes before an attack's figure where the verdict on a target of a phase names it."""
    return f"{MARK} " if any(row.result.verdict.attack == attack for row in group) else ""


def _cell(values: Sequence[tuple[float, tuple[float, float]]], factor: float, digits: int) -> str:
    if not values:  # an attack that was not made here: its reference models are not finished
        return "-"
    spread = Spread.of(factor * value for value, _ in values)
    if spread.deviation is not None:
        return spread_text(spread, digits)
    return below(f"{spread.mean:.{digits}f}", interval_text(values[0][1], factor, digits))


def _auc(attack: AttackResult) -> tuple[float, tuple[float, float]]:
    return attack.auc, attack.auc_interval


def _accuracy(attack: AttackResult) -> tuple[float, tuple[float, float]]:
    return attack.accuracy, attack.accuracy_interval


def _rate_at(attack: AttackResult, fpr: float) -> tuple[float, tuple[float, float]]:
    point = attack.shown_rates[fpr]
    return point.tpr, point.tpr_interval
