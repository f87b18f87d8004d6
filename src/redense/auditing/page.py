"""The audit as one page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from redense.auditing.table import explanations, exposed_line, marked, notes, warnings
from redense.text import interval_text, p_figure, percent

if TYPE_CHECKING:
    from redense.auditing.result import AuditResult


def audit_html(results: Sequence[tuple[str, AuditResult]], title: str, sources: Sequence[tuple[str, str]] = ()) -> str:
    """Render titled results, with their ROC curves, as HTML; `sources` are names of what was audited, by what it is."""
    from redense import __version__
    from redense.auditing.curves import roc_chart
    from redense.page.render import render

    chart = roc_chart("roc", "ROC curves", results)
    return render(
        "audit.html",
        ["redense.auditing"],
        [chart],
        title=title,
        sources=sources,
        chart=chart,
        version=__version__,
        **audit_values(results),
    )


def audit_values(results: Sequence[tuple[str, AuditResult]]) -> dict[str, Any]:
    """Return what ``templates/audit_parts.html`` needs to write titled results out."""
    return {
        "audits": [
            {
                "title": name,
                "result": result,
                "warnings": warnings(result),
                "notes": notes(result),
                "marked": partial(marked, result=result),
                "unnamed": "" if result.exposed else exposed_line(result, 0),
                "classes": sorted(result.classes, key=lambda risk: -(risk.auc or 0)),
            }
            for name, result in results
        ],
        "percent": percent,
        "interval": interval_text,
        "p_figure": p_figure,
        "explanations": explanations(results[0][1].confidence) if results else [],
    }
