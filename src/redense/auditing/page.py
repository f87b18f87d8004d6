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

from redense.auditing.attacks import ATTACK_WORDS, ATTACKS
from redense.auditing.curves import LOGARITHMIC
from redense.auditing.table import exposed_heading, exposed_line, marked, notes, warnings
from redense.auditing.verdict import in_figures, leaks_among
from redense.auditing.wording import (
    ABOUT,
    ATTACK_RIGHT,
    BESIDE_NAMES,
    MODEL_RIGHT,
    MODEL_RIGHT_IS,
    ROWS,
    explanations,
    grades_text,
    risk_is,
)
from redense.page.words import WORDS
from redense.text import interval_text, p_figure, percent

if TYPE_CHECKING:
    from redense.auditing.result import AuditResult


TERMS = (*WORDS, *ATTACK_WORDS)
"""Words that pages with audits explain where they use them."""
CURVES = (
    "An ROC curve shows, threshold by threshold, the share of the members that are found (TPR) against the share of "
    f"the non-members that are wrongly accused (FPR). {LOGARITHMIC} On the dotted line the attack guesses."
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
        words=TERMS,
        title=title,
        sources=sources,
        chart=chart,
        version=__version__,
        origins=_origins(__version__),
        in_short=_in_short(results),
        **audit_values(results),
    )


def _in_short(results: Sequence[tuple[str, AuditResult]]) -> str:
    """Say what the audits of several models amount to; one has its own verdict."""
    says = leaks_among([result.verdict for _, result in results])
    return f"{says[:1].upper()}{says[1:]}." if says else ""


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
                "exposed": exposed_heading(result, len(result.exposed)),
                "risk_is": risk_is([result.nonmembers]),
                "right": right_text(result),
                "classes": sorted(result.classes, key=lambda risk: -(risk.auc or 0)),
            }
            for name, result in results
        ],
        "percent": percent,
        "interval": interval_text,
        "in_figures": in_figures,
        "p_figure": p_figure,
        "heads": ("audited", ATTACK_RIGHT, "verdict", "strongest attack", MODEL_RIGHT),
        "about": ABOUT,
        "of_rows": ROWS,
        "model_right_is": MODEL_RIGHT_IS,
        "beside_names": BESIDE_NAMES,
        "grades": grades_text(),
        **(_explained([result for _, result in results]) if results else {"explanations": [], "attacks": []}),
    }


def right_text(result: AuditResult) -> str:
    """Write how often the model is right about members and about others, in percent."""
    inside, outside = result.members_accuracy, result.nonmembers_accuracy
    return "-" if inside is None or outside is None else f"{100 * inside:.1f} / {100 * outside:.1f}"


def _explained(results: Sequence[AuditResult]) -> dict[str, list[str]]:
    """Return what a page explains: what the terminal does, what an ROC curve is, and the attacks that were made."""
    made = {one.attack for result in results for one in result.attacks}
    return {
        "explanations": [*explanations(results[0].confidence), CURVES, *_calibrated(made)],
        "attacks": attacks_explained(made),
    }


def _calibrated(made: Collection[str]) -> list[str]:
    """Say what attacks gain that compare every example with reference models, where any is made."""
    names = [attack.name for attack in ATTACKS if attack.calibrated and attack.name in made]
    if not names:
        return []
    return [
        f"By comparison with reference models' answers about the very same example, {', '.join(names)} tell what is "
        "easy from what was learnt by heart."
    ]


def attacks_explained(made: Collection[str]) -> list[str]:
    """Say which examples each of these attacks takes for members; neighbours of which the same is said, together.

    >>> attacks_explained(["gap", "loss"])
    ['gap: those that the model gets right', 'loss: those on which it errs little']
    """
    attacks = [attack for attack in ATTACKS if attack.name in made]
    return [
        f"{'; '.join(attack.name for attack in alike)}: {says}"
        for says, alike in groupby(attacks, key=lambda attack: attack.says)
    ]
