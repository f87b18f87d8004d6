"""Charts of a run's audits: ROC curves on logarithmic axes, by phase and by attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redense.auditing.curves import guessing, roc_axes, roc_chart, roc_series
from redense.experiment.audit_rows import by_protocol
from redense.experiment.report.looks import look, marker
from redense.experiment.report.protocols import primaries
from redense.page.chart import Chart, View

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow
    from redense.experiment.results import Results


def roc_charts(results: Results, audits: Sequence[AuditRow]) -> list[Chart]:
    """Draw the curves of the first seed's audits: the primary attack's by phase, and those of each phase by attack."""
    rows = [row for row in audits if row.seed == results.recipe.seeds[0]]
    if not rows:
        return []
    views = [
        _by_phase(results, [row for row in of_protocol if row.attack(attack)], attack)
        for of_protocol in by_protocol(rows).values()
        for attack in primaries(of_protocol)
    ]
    least = min(1 / row.result.nonmembers for row in rows)
    caption = (
        "The attack that was chosen beforehand, on each phase: from left to right it wrongly accuses more non-members, "
        "and the higher a line, the more members it finds. Both axes are logarithmic; ties are straight."
    )
    by_phase = Chart("roc-phases", "ROC by phase", caption, *roc_axes(least), tuple(views), "audit")
    return [by_phase, roc_chart("roc-attacks", "ROC by attack", [(row.name, row.result) for row in rows], "phase")]


def _by_phase(results: Results, rows: Sequence[AuditRow], attack: str) -> View:
    result = rows[0].result
    series = []
    for row in rows:
        symbol = marker(row.phase, results)
        series.append(roc_series(row.phase.label, row.result, attack, look(row.phase), symbol=symbol))
    return View(f"protocol {rows[0].protocol}: {attack}", (*series, guessing(result.nonmembers)))
