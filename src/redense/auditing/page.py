"""The audit as one page that needs nothing beside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import groupby
from typing import TYPE_CHECKING, Any

from redense.auditing.attacks import ATTACKS
from redense.auditing.table import explanations, exposed_line, marked, notes, warnings
from redense.text import interval_text, p_figure, percent

if TYPE_CHECKING:
    from redense.auditing.result import AuditResult


CURVES = (
    "An ROC curve shows, threshold by threshold, the share of the members that are found (TPR) against the share of "
    "the non-members that are wrongly accused (FPR). Its axes are logarithmic here: every labelled step is ten times "
    "the one before, so that the left end, where few are accused and accusations are worth most, has as much room as "
    "the right. On the dotted line the attack guesses."
)
"""For a reader who has never heard of an ROC curve."""


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
        "explanations": _explanations([result for _, result in results]) if results else [],
    }


def _explanations(results: Sequence[AuditResult]) -> list[str]:
    """Return what a page explains: what the terminal does, the attacks that were made, and what an ROC curve is."""
    made = {one.attack for result in results for one in result.attacks}
    return [*explanations(results[0].confidence), attacks_explained(made), CURVES]


def attacks_explained(made: Collection[str]) -> str:
    """Say which examples each of these attacks takes for members; neighbours of which the same is said, together.

    >>> attacks_explained(["gap", "loss"])
    'Attacks guess that these are members: those that the model gets right (gap); those on which it errs little (loss).'
    """
    attacks = [attack for attack in ATTACKS if attack.name in made]
    said = [
        f"{says} ({'; '.join(attack.name for attack in alike)})"
        for says, alike in groupby(attacks, key=lambda attack: attack.says)
    ]
    lines = [f"Attacks guess that these are members: {'; '.join(said)}."]
    calibrated = [attack.name for attack in attacks if attack.calibrated]
    if calibrated:
        lines.append(
            f"By comparison with reference models' answers about the very same example, {', '.join(calibrated)} tell "
            "what is easy from what was learnt by heart."
        )
    return " ".join(lines)
