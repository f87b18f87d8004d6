"""What a run found, in two sentences: what the method gained, and what it gives away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redense.experiment.comparison import Comparison
from redense.experiment.report.comparisons import with_opponent
from redense.experiment.report.seeds import inference_interval, mean_over_seeds
from redense.phases import NAMES, Phase
from redense.text import interval_text, p_text

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow
    from redense.experiment.results import Results, Row

ALONE = "no control of the same budget was trained beside it (--controls longer llr)"


def conclusion(results: Results, audits: Sequence[AuditRow] = ()) -> tuple[str, str]:
    """Say what the method's last phase gained against what has the same budget, and what it gives away.

    A gain is claimed only for a phase that several seeds show to beat every control of the run.

    >>> from redense.experiment.recipe import Recipe
    >>> from redense.experiment.results import Results
    >>> conclusion(Results(Recipe(), 0, 0, ()))[0]
    'No phase is measured yet.'
    """
    if not results.rows:
        return "No phase is measured yet.", "So nothing is known of what the network gives away."
    return gain(results), leak(results, audits)


def gain(results: Results) -> str:
    """Say whether any last phase beats all controls, or how far the best one is from them."""
    best = best_group(results)
    if best is None:
        return "The method's last phase is not measured yet at any sparsity."
    name = NAMES[results.recipe.final_phase.kind]
    against = results.opponent()
    found = [one for one in with_opponent(results, results.comparisons) if one.quantity == "test_accuracy"]
    accuracy = f"{100 * mean_over_seeds(best, 'test_accuracy'):.2f}%"
    several = len(last_groups(results)) > 1
    reached = f"{_one_of('the best', best[0].phase, several)} reaches a test accuracy of {accuracy}"
    if len(results.recipe.seeds) == 1:
        return f"With one seed nothing is shown about phases: {reached}{_beside(results)}."
    if against is None or not any(one.claimed for one in found):
        return f"Nothing is compared with the last phase over several seeds: {reached}{_beside(results)}."
    by_phase: dict[Phase, list[Comparison]] = {}
    for one in found:
        by_phase.setdefault(one.second, []).append(one)
    winners = [phase for phase, each in by_phase.items() if all(one.shown and _above(one) for one in each)]
    what = "every control of the same budget" if against == "control" else f"{NAMES[against]} training"
    if not winners:
        nearest = max(by_phase.values(), key=lambda each: min(one.difference or 0.0 for one in each))
        least = min(nearest, key=lambda one: one.difference or 0.0)
        return (
            f"At no sparsity is {name} training shown to beat {what}: "
            f"{_one_of('the nearest', least.second, len(by_phase) > 1)} lies {_points(least)} {_side(least)} "
            f"{_name(least.first)}{_rests(least)}{_alone(against)}."
        )
    best_winner = max(winners, key=lambda phase: min(one.difference or 0.0 for one in by_phase[phase]))
    least = min(by_phase[best_winner], key=lambda one: one.difference or 0.0)
    others = "" if len(winners) == 1 else f" (and so do {len(winners) - 1} more sparsities)"
    return (
        f"{best_winner.label[:1].upper()}{best_winner.label[1:]} beats {what}{others}: by {_points(least)} against "
        f"{'the nearest, ' * (against == 'control')}{_name(least.first)}{_rests(least)}{_alone(against)}."
    )


def leak(results: Results, audits: Sequence[AuditRow] = ()) -> str:
    """Say what the best of the last phases gives away: by its audit, else by the confidence threshold alone."""
    group = best_group(results) or results.groups()[0]
    phase = group[0].phase
    audited = [row for row in audits if row.phase == phase]
    if audited:
        row = audited[0]
        says = row.result.verdict.sentence.removesuffix(".")
        return f"In the audit ({row.name}): {says[:1].lower()}{says[1:]}.{_warned(row)}{_all(audits)}"
    accuracy, interval = mean_over_seeds(group, "inference_accuracy"), inference_interval(group)
    ends = "" if interval is None else f" {interval_text(interval, 100, 2)}"
    return (
        f"Who sees how sure {phase.label} is of an example tells training from other examples with an accuracy of "
        f"{100 * accuracy:.2f}%{ends}, where guessing is right in 50%; stronger attacks exist, and an audit makes them."
    )


def best_group(results: Results) -> tuple[Row, ...] | None:
    """Return the rows, a seed each, of the last phase at the sparsity where its mean test accuracy is highest."""
    return max(last_groups(results), key=lambda group: mean_over_seeds(group, "test_accuracy"), default=None)


def last_groups(results: Results) -> list[tuple[Row, ...]]:
    """List the rows, a seed each, of the last phase at every sparsity."""
    return [group for group in results.groups() if results.recipe.is_final(group[0].phase)]


def _one_of(which: str, phase: Phase, several: bool) -> str:
    """Name a phase, and which it is of several."""
    return f"{which}, {phase.label}," if several else phase.label


def _warned(row: AuditRow) -> str:
    """Point to what the audit warns of, before which its verdict is not to be believed."""
    many = len(row.result.warnings)
    return f" That audit has {many} warning{'s' * (many > 1)}, to be read first." if many else ""


def _all(audits: Sequence[AuditRow]) -> str:
    """Say in how many audits of the run there is a leak: one may differ from the next."""
    if len(audits) == 1:
        return ""
    leaks = sum(row.result.verdict.kind == "leak" for row in audits)
    many = "all" if leaks == len(audits) else leaks or "none"
    return f" Of the {len(audits)} models audited in this run {many} show{'s' * (leaks == 1)} a leak."


def _above(one: Comparison) -> bool:
    return (one.difference or 0.0) > 0


def _side(one: Comparison) -> str:
    return "above" if _above(one) else "below" if one.difference else "from"


def _points(one: Comparison) -> str:
    return f"{abs(100 * (one.difference or 0.0)):.2f} points"


def _rests(one: Comparison) -> str:
    """Say in brackets how sure a difference is."""
    interval = "" if one.interval is None else f"95% interval of the difference {interval_text(one.interval, 100, 2)}, "
    p = "" if one.p is None else f"{p_text(one.p)}, "
    return f" ({interval}{p}{one.seeds} seeds)"


def _alone(against: str) -> str:
    return "" if against == "control" else f"; {ALONE}"


def _name(phase: Phase) -> str:
    return phase.lineage if phase.kind == "control" else phase.label


def _beside(results: Results) -> str:
    """Name what stands beside the last phase: the controls of the same budget, else dense training."""
    beside = [
        group
        for group in results.groups()
        if results.recipe.is_beside_final(group[0].phase)
        or (group[0].phase.kind == "dense" and not results.recipe.controls)
    ]
    named = [f"{_name(group[0].phase)} {100 * mean_over_seeds(group, 'test_accuracy'):.2f}%" for group in beside]
    return f"; {' and '.join(named)}" if named else ""
