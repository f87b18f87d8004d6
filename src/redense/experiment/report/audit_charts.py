"""Charts of a run's audits: ROC curves on logarithmic axes, by phase and by attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redense.auditing.curves import LOGARITHMIC, guessing, least_rate, roc_axes, roc_chart, roc_series, too_few
from redense.experiment.audit_rows import by_protocol
from redense.experiment.report.looks import look, marker
from redense.experiment.report.protocols import audited_name, primaries
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
        _by_phase(results, [row for row in of_protocol if row.found(attack)], attack)
        for of_protocol in by_protocol(rows).values()
        for attack in primaries(of_protocol)
    ]
    least = min(least_rate(row.result.nonmembers) for row in rows)
    chosen = " or ".join(dict.fromkeys(attack for of in by_protocol(rows).values() for attack in primaries(of)))
    sparsities = " Markers tell the sparsity." if len(results.recipe.sparsities) > 1 else ""
    caption = (
        f"The attack that was chosen beforehand, {chosen}, on each phase of seed {rows[0].seed}. From left to right it "
        "wrongly accuses more non-members, and the higher a line, the more members it finds (an ROC curve). "
        f"{LOGARITHMIC} What lies on the line of guessing gives nothing away. "
        f"{too_few(row.result for row in rows)}{sparsities}"
    )
    titled = [(audited_name(row, rows), row.result) for row in rows]
    by_phase = Chart("roc-phases", "ROC by phase", caption, *roc_axes(least), tuple(views), "audit")
    return [by_phase, roc_chart("roc-attacks", "ROC by attack", titled, "phase")]


def _by_phase(results: Results, rows: Sequence[AuditRow], attack: str) -> View:
    result = rows[0].result
    series = []
    for row in rows:
        symbol = marker(row.phase, results)
        series.append(roc_series(row.phase.label, row.result, attack, look(row.phase), symbol=symbol))
    return View(f"protocol {rows[0].protocol}: {attack}", (*series, guessing(result.nonmembers)))
