"""The audit's table: a line an attack, with intervals, and what stands out."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table

from redense.auditing.attack_result import FPRS, RateAt
from redense.auditing.protocols import PROTOCOLS

if TYPE_CHECKING:
    from redense.auditing.result import Alike, AuditResult

WIDTH = 150


def audit_table(result: AuditResult) -> RenderableType:
    """Draw a result in percent, AUC as a fraction: verdict, attacks, exposed examples and classes, notes."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("attack", no_wrap=True)
    shown = [rate.fpr for rate in result.attacks[0].rates if rate.point is not None]
    columns = ["AUC", "", "accuracy %", "", "oracle %", *(f"TPR % at {100 * fpr:g}%" for fpr in shown), "ε ≥"]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for attack in result.attacks:
        table.add_row(
            attack.attack,
            f"{attack.auc:.4f}",
            interval_text(attack.auc_interval, 1, 4),
            f"{100 * attack.accuracy:.2f}",
            interval_text(attack.accuracy_interval, 100, 2),
            f"{100 * attack.oracle_accuracy:.2f}",
            *(_rate(rate) for rate in attack.rates if rate.fpr in shown),
            f"{attack.epsilon:.2f}",
        )
    return Group(result.verdict.sentence, "", table, "", *notes(result), *_most_exposed(result))


def plain_audit(result: AuditResult) -> str:
    """Return the table as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(audit_table(result))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def notes(result: AuditResult) -> list[str]:
    """Explain the columns and say what is left out, and why."""
    sure = f"{100 * result.confidence:g}%"
    references = f", {result.references} reference models" if result.references else ", no reference models"
    refused = [
        f"TPR at {100 * rate.fpr:g}% FPR: - ({rate.refusal})" for rate in result.attacks[0].rates if rate.point is None
    ]
    one_run = result.one_run_epsilon
    return [
        f"{result.members:,} members, {result.nonmembers:,} non-members{references}; "
        f"protocol {result.protocol}: {PROTOCOLS[result.protocol]}.",
        accuracy_text(result),
        *note(result.alike),
        "accuracy: balanced (50% = guessing), thresholds learnt on other examples or reference models; oracle: "
        "the best threshold for these examples.",
        f"Intervals hold in {sure} of audits; ε: what an attack proves with {sure} confidence (delta "
        f"{result.delta:g}), corrected for choosing the threshold.",
        *([f"One training run proves ε of at least {one_run:.2f} ({result.primary})."] if one_run is not None else []),
        *refused,
        *(f"Warning: {warning}." for warning in result.warnings),
    ]


def accuracy_text(result: AuditResult) -> str:
    """Say how often the model is right about each side."""
    inside, outside = result.members_accuracy, result.nonmembers_accuracy
    if inside is None or outside is None:
        return "The model's accuracy is not known: only the probability of the true class was given."
    return f"The model is right about {100 * inside:.2f}% of the members and {100 * outside:.2f}% of the non-members."


def _most_exposed(result: AuditResult) -> list[str]:
    first = ", ".join(f"{one.example} (class {one.label})" for one in result.exposed[:8])
    ranked = sorted((risk for risk in result.classes if risk.auc is not None), key=lambda risk: -(risk.auc or 0))
    lines = [f"Most exposed members by {result.primary}: {first}."]
    if len(ranked) > 1:
        ends = [
            f"class {risk.label} {risk.auc:.3f} {interval_text(risk.auc_interval or (0, 1), 1, 3)}"
            for risk in (ranked[0], ranked[-1])
        ]
        lines.append(f"AUC of {result.primary} by class: from {ends[1]} to {ends[0]}.")
    return lines


def note(alike: Alike) -> list[str]:
    """Say what was found, or why nothing was looked for."""
    found = []
    if alike.auc is not None:
        found = [f"Without the model, {alike.by} tell members from non-members with an AUC of {figure(alike)}."]
    if alike.unchecked:
        found.append(f"Not checked whether members and non-members are alike in inputs: {alike.unchecked}.")
    return found


def figure(alike: Alike) -> str:
    """Write the area with its interval."""
    low, high = alike.interval or (0.0, 1.0)
    return f"{alike.auc:.3f} [{low:.3f}, {high:.3f}]"


def interval_text(interval: tuple[float, float], factor: float, digits: int) -> str:
    """Write both ends, times a factor.

    >>> interval_text((0.1, 0.25), 100, 1)
    '[10.0, 25.0]'
    """
    low, high = (factor * end for end in interval)
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _rate(rate: RateAt) -> str:
    if rate.point is None:
        return "-"
    digits = 1 if rate.fpr >= FPRS[0] else 2
    return f"{100 * rate.point.tpr:.{digits}f} {interval_text(rate.point.tpr_interval, 100, digits)}"
