"""The audit as one page that needs nothing beside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from redense.auditing.table import explanations, exposed_line, marked, notes, warnings
from redense.text import interval_text, p_figure, percent

if TYPE_CHECKING:
    from redense.auditing.result import AuditResult


WORDS = [
    "The attacks guess by what the model answers. gap: that examples it gets right are members; confidence: those "
    "whose true class it is sure of; loss: those on which it errs little; entropy: those about which it hesitates "
    "little, whatever their class; per class: with a threshold for every class. RMIA and LiRA compare every example's "
    "answer with those of reference models, trained alike with it (online) and without it (offline too), and so tell "
    "what is easy from what was learnt by heart.",
    "An ROC curve shows, threshold by threshold, the share of the members that are found (TPR) against the share of "
    "the non-members that are wrongly accused (FPR). Its axes are logarithmic here: every labelled step is ten times "
    "the one before, so that the left end, where few are accused and accusations are worth most, has as much room as "
    "the right. On the dotted line the attack guesses.",
]
"""What stands on a page besides what the terminal explains: for a reader who has never heard of an ROC curve."""


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
        origins=_origins(__version__),
        **audit_values(results),
    )


def _origins(redense: str) -> list[tuple[str, str]]:
    """Say when, where and with what a page is made; results do not record more of themselves."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy"))
    return [
        ("made on", datetime.now(UTC).strftime("%Y-%m-%d")),
        ("made with", f"redense {redense}, Python {platform.python_version()}, {libraries}"),
        ("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"),
    ]


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
        "explanations": [*explanations(results[0][1].confidence), *WORDS] if results else [],
    }
