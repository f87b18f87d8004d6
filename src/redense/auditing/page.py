"""The audit as one page that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from redense.auditing.figure import roc_png
from redense.auditing.table import explanations, exposed_line, marked, notes
from redense.auditing.verdict import p_text
from redense.text import interval_text, percent

if TYPE_CHECKING:
    from redense.auditing.result import AuditResult


def audit_html(results: Sequence[tuple[str, AuditResult]], title: str) -> str:
    """Render titled results, pictures included, as HTML."""
    import jinja2

    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(
        files("redense.auditing").joinpath("templates/audit.html").read_text(encoding="utf-8")
    )
    parts = [
        {
            "title": name,
            "result": result,
            "notes": notes(result),
            "marked": partial(marked, result=result),
            "unnamed": "" if result.exposed else exposed_line(result, 0),
            "figure": _picture(name, result),
            "classes": sorted(result.classes, key=lambda risk: -(risk.auc or 0)),
        }
        for name, result in results
    ]
    return template.render(
        title=title,
        parts=parts,
        percent=percent,
        interval=interval_text,
        p_text=p_text,
        explanations=explanations(results[0][1].confidence),
    )


def _picture(title: str, result: AuditResult) -> str:
    return base64.b64encode(roc_png([(title, result)])).decode()
