"""What an audit's figures amount to: the verdict in a sentence, and whether a limit is exceeded."""

from __future__ import annotations

from collections.abc import Sequence

from redense.auditing.attack_result import AttackResult
from redense.auditing.result import FEWEST, AuditResult, Verdict
from redense.errors import LeakFound, RecipeError


def judge(found: Sequence[AttackResult], members: int, nonmembers: int, confidence: float) -> Verdict:
    """Judge by the smallest p-value, corrected for the number of attacks."""
    if min(members, nonmembers) < FEWEST:
        return Verdict(
            "too few",
            f"No verdict: {members:,} members and {nonmembers:,} non-members are too few; at least {FEWEST} of each "
            "are needed.",
        )
    best = min(found, key=lambda attack: (attack.p_value, -attack.auc))
    p_value = min(1.0, best.p_value * len(found))
    made = f"{len(found)} attack{'s' * (len(found) > 1)}"
    if p_value >= 1 - confidence:
        strongest = max(found, key=lambda attack: attack.accuracy)
        return Verdict(
            "none shown",
            f"No leak that this audit can show: none of {made} on {members:,} members and {nonmembers:,} non-members "
            f"does better than chance would (the best is right {100 * strongest.accuracy:.1f}% of the time, guessing "
            "50%). Stronger attacks may exist.",
        )
    probability = "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.4f}"
    return Verdict(
        "leak",
        f"This model gives away who was in its training data: the attack {best.attack!r} is right "
        f"{100 * best.accuracy:.1f}% of the time where guessing is right 50%{_picked_out(best)} ({probability} over "
        f"{made}).",
    )


def _picked_out(attack: AttackResult) -> str:
    """Say how many members can be picked out at the lowest false-positive rate that is shown."""
    shown = [rate for rate in attack.rates if rate.point is not None]
    if not shown or shown[-1].point is None or shown[-1].point.tpr <= shown[-1].fpr:
        return ""
    return (
        f", and picks out {100 * shown[-1].point.tpr:.2g}% of the members while accusing "
        f"{100 * shown[-1].fpr:g}% of the others"
    )


def check_limit(fail_above: float | None) -> None:
    """Raise `RecipeError` for a limit that is no balanced accuracy."""
    if fail_above is not None and not 0.5 <= fail_above <= 1:
        raise RecipeError(f"fail_above: got {fail_above:g}; expected a balanced accuracy from 0.5 to 1")


def refuse_leak(results: Sequence[AuditResult], fail_above: float) -> None:
    """Raise `LeakFound` when the lower end of an attack's interval is above the limit; it names the surest one."""
    made = [attack for result in results for attack in result.attacks]
    worst = max(made, key=lambda attack: attack.accuracy_interval[0])
    if worst.accuracy_interval[0] > fail_above:
        raise LeakFound(
            f"{worst.attack} is right {100 * worst.accuracy:.2f}% of the time, at least "
            f"{100 * worst.accuracy_interval[0]:.2f}% for certain: more than --fail-above {fail_above:g}"
        )
