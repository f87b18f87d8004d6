"""The audit's table: a line an attack, with intervals, and what stands out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from redense.auditing.attack_result import AttackResult, RateAt
from redense.auditing.protocols import PROTOCOLS
from redense.auditing.verdict import why_unnamed
from redense.auditing.wording import ABOUT, MARK, explanations
from redense.terminal import Fitting, below, plain, prose, table_of
from redense.text import interval_text, percent

if TYPE_CHECKING:
    from redense.auditing.result import Alike, AuditResult

EXPOSED = 8
"""Members that the table names."""
HELD_BACK = 0.5
"""Share of the false-positive rate that is asked for: where ties leave an attack below it, its TPR is explained."""


def audit_table(result: AuditResult) -> RenderableType:
    """Draw a result in percent, AUC as a fraction: verdict, warnings, attacks, notes, exposed examples and classes."""
    shown = list(result.attacks[0].shown_rates)
    proven = any(attack.epsilon is not None for attack in result.attacks)
    layouts = [(_wide(result, shown), "")]
    for rates in dict.fromkeys((tuple(shown), tuple(shown[-1:]), ())):
        left_out = ["oracle accuracy", *([] if proven else ["ε, which is not proven"])]
        left_out += [f"TPR at {percent(fpr)}" for fpr in shown if fpr not in rates]
        layouts.append((_narrow(result, rates, proven), ", ".join(left_out)))
    said = [*notes(result), exposed_line(result, EXPOSED), *_by_class(result)]
    return Group(
        prose(result.verdict.sentence),
        *map(prose, warnings(result)),
        "",
        Fitting(layouts),
        "",
        *map(prose, said),
        "",
        *map(prose, [ABOUT, *explanations(result.confidence)]),
    )


def _wide(result: AuditResult, shown: Sequence[float]) -> Table:
    rates = [f"TPR % at {percent(fpr)}" for fpr in shown]
    table = table_of("attack", "AUC", "", "accuracy %", "", "oracle %", *rates, "ε ≥", text=["attack"])
    for attack in result.attacks:
        cells = [
            marked(attack.attack, result),
            f"{attack.auc:.4f}",
            interval_text(attack.auc_interval, 1, 4),
            f"{100 * attack.accuracy:.2f}",
            interval_text(attack.accuracy_interval, 100, 2),
            f"{100 * attack.oracle_accuracy:.2f}",
            *(" ".join(_rate(rate)) for rate in attack.rates if rate.fpr in shown),
            _proven(attack),
        ]
        table.add_row(*cells)
    return table


def _narrow(result: AuditResult, shown: Sequence[float], proven: bool) -> Table:
    """Draw intervals below their figures; oracle accuracy, and an epsilon that is not proven, are left out."""
    names = ["AUC", "accuracy %", *(f"TPR % at {percent(fpr)}" for fpr in shown), *(["ε ≥"] if proven else [])]
    table = table_of("attack", *names, text=["attack"], broken=["attack"])
    for attack in result.attacks:
        cells = [
            marked(attack.attack, result),
            below(f"{attack.auc:.4f}", interval_text(attack.auc_interval, 1, 4)),
            below(f"{100 * attack.accuracy:.2f}", interval_text(attack.accuracy_interval, 100, 2)),
            *(below(*_rate(rate)) for rate in attack.rates if rate.fpr in shown),
            *([_proven(attack)] if proven else []),
        ]
        table.add_row(*cells)
    return table


def _proven(attack: AttackResult) -> str:
    return "-" if attack.epsilon is None else f"{attack.epsilon:.2f}"


def plain_audit(result: AuditResult) -> str:
    """Return the table as plain text."""
    return plain(audit_table(result))


def notes(result: AuditResult) -> list[str]:
    """Say what an audit is about, and what is left out or held back and why."""
    references = f", {result.references} reference models" if result.references else ", no reference models"
    refused = [
        f"TPR at {percent(rate.fpr)} FPR: - ({rate.refusal})" for rate in result.attacks[0].rates if rate.point is None
    ]
    return [
        f"{result.members:,} members, {result.nonmembers:,} non-members{references}; "
        f"protocol {result.protocol}: {PROTOCOLS[result.protocol].says}.",
        accuracy_text(result),
        *note(result.alike),
        _epsilon(result),
        *refused,
        *(line for rate in result.attacks[0].rates for line in held_back([result], rate.fpr)),
    ]


def warnings(result: AuditResult) -> list[str]:
    """Say what to know before believing the verdict: it is shown together with these, and never alone."""
    return [f"Warning: {warning}." for warning in result.warnings]


def held_back(results: Sequence[AuditResult], fpr: float) -> list[str]:
    """Say which attacks accuse far fewer non-members than a rate permits, because scores are equal.

    Their TPRs are of the rates they reach, and may lie below guessing at the one that is asked for.
    """
    nothing, lower = [], []
    made = [attack for result in results for attack in result.attacks]  # not all of every model
    for attack in dict.fromkeys(one.attack for one in made):
        rates = [rate for one in made if one.attack == attack for rate in one.rates if rate.fpr == fpr]
        points = [rate.point for rate in rates if rate.point is not None]
        reached = [point.fpr for point in points]
        if reached and max(*reached, *(point.tpr for point in points)) == 0:
            nothing.append(attack)
        elif reached and min(reached) < HELD_BACK * fpr:
            ends = dict.fromkeys(f"{100 * end:.2g}" for end in (min(reached), max(reached)))
            lower.append(f"{' to '.join(ends)}% for {attack}")
    said = [f"0.00 means not measurable for {', '.join(nothing)}"] if nothing else []
    said += [f"the TPR is of a lower FPR, {', '.join(lower)}"] if lower else []
    if not said:
        return []
    return [
        f"TPR at {percent(fpr)} FPR: many scores are equal, so that any threshold accuses far fewer or more: "
        f"{'; '.join(said)}."
    ]


def accuracy_text(result: AuditResult) -> str:
    """Say how often the model is right about each side."""
    inside, outside = result.members_accuracy, result.nonmembers_accuracy
    if inside is None or outside is None:
        return "The model's accuracy is not known: only the probability of the true class was given."
    return f"The model is right about {100 * inside:.2f}% of the members and {100 * outside:.2f}% of the non-members."


def note(alike: Alike) -> list[str]:
    """Say what was found, or why nothing was looked for."""
    found = []
    if alike.auc is not None:
        found = [
            f"Without the model, {alike.by} tell members from non-members with an AUC of "
            f"{figure(alike)}{_of_alike(alike)}."
        ]
    if alike.unchecked:
        found.append(f"Not checked whether members and non-members are alike in inputs: {alike.unchecked}.")
    return found


def _of_alike(alike: Alike) -> str:
    """Say what the area means, where a warning does not."""
    return "" if alike.told_apart else " (0.5: the two sides are alike, as a fair audit needs them)"


def figure(alike: Alike) -> str:
    """Write the area with its interval."""
    return f"{alike.auc:.3f} {interval_text(alike.interval or (0.0, 1.0), 1, 3)}"


def _epsilon(result: AuditResult) -> str:
    if result.attack(result.primary).epsilon is None:
        return (
            "ε: -, not measured, which does not mean zero: one training proves a privacy loss only where a fair coin "
            "was thrown for every example, whether to train on it (randomized), and nothing speaks against that."
        )
    return (
        f"ε: what this one training proves (delta {result.delta:g}, confidence {percent(result.confidence)}) by "
        f"{result.primary}, chosen beforehand, where a fair coin was thrown for every example, whether to train on it."
    )


def marked(attack: str, result: AuditResult) -> str:
    """Return an attack's name, marked if it is the strongest."""
    return f"{attack} {MARK}" if attack == result.verdict.attack else attack


def exposed_line(result: AuditResult, most: int) -> str:
    """Name the most exposed members with their classes, or say why none are."""
    unnamed = why_unnamed(result.verdict, result.attack(result.primary), result.confidence)
    if unnamed:
        return f"Most exposed members: none are named, because {unnamed}."
    first = ", ".join(f"{one.name} (class {result.class_name(one.label)})" for one in result.exposed[:most])
    return f"{exposed_heading(result, most)}: {first}."


def exposed_heading(result: AuditResult, most: int) -> str:
    """Say by which attack members are named, and how many of them where that is not all."""
    of_all = f"; {most} of {len(result.exposed)}" if len(result.exposed) > most else ""
    return f"Most exposed members by {result.primary} (the attack that was chosen beforehand{of_all})"


def _by_class(result: AuditResult) -> list[str]:
    ranked = sorted((risk for risk in result.classes if risk.auc is not None), key=lambda risk: -(risk.auc or 0))
    if len(ranked) < 2:
        return []
    ends = [
        f"class {result.class_name(risk.label)} {risk.auc:.3f} {interval_text(risk.auc_interval or (0, 1), 1, 3)}"
        for risk in (ranked[0], ranked[-1])
    ]
    return [f"AUC of {result.primary} by class: from {ends[1]} to {ends[0]}."]


def _rate(rate: RateAt) -> tuple[str, str]:
    """Return the true-positive rate and its interval."""
    if rate.point is None:
        return "-", ""
    return f"{100 * rate.point.tpr:.2f}", interval_text(rate.point.tpr_interval, 100, 2)
