"""The audit as one page that needs nothing beside it."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from redense.auditing.result import AuditResult
from redense.phases import percent
from redense.report.audit_figure import save_roc_figure
from redense.report.audit_table import notes


def audit_html(results: Sequence[tuple[str, AuditResult]], title: str) -> str:
    """Render titled results, pictures included, as HTML."""
    import jinja2

    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(
        files("redense.report").joinpath("templates/audit.html").read_text(encoding="utf-8")
    )
    parts = [
        {
            "title": name,
            "result": result,
            "notes": notes(result),
            "figure": _picture(name, result),
            "classes": sorted(result.classes, key=lambda risk: -(risk.auc or 0)),
        }
        for name, result in results
    ]
    return template.render(title=title, parts=parts, percent=percent, interval=_interval)


def _interval(interval: tuple[float, float], factor: float, digits: int) -> str:
    low, high = (factor * end for end in interval)
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _picture(title: str, result: AuditResult) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "roc.png"
        save_roc_figure([(title, result)], path)
        return base64.b64encode(path.read_bytes()).decode()
