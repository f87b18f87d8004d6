"""Which of the attacks asked for are not made, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from redense.auditing.attacks import ATTACKS

if TYPE_CHECKING:
    from redense.auditing.evidence import Evidence
    from redense.auditing.needs import Need


def left_out(families: Iterable[str], evidence: Evidence) -> list[str]:
    """Say which attacks of the families asked for the reference models do not allow, and why; nothing without any."""
    references, chosen = evidence.references, set(families)
    if references is None:
        return []
    count, n = references.included.shape
    all_or_none = "all" if references.included.any() else "none"
    reasons: dict[Need, str] = {
        "several": f"there is {count} reference model, and at least 2 are needed",
        "taught": f"the reference models were trained on {all_or_none} of the examples",
        "IN": f"{len(references.lacking('IN'))} of {n} examples are in no reference model's training data",
        "OUT": f"{len(references.lacking('OUT'))} of {n} examples are in every reference model's training data",
    }
    by_reason: dict[str, list[str]] = {}
    for attack in ATTACKS:
        lacks = next((need for need in attack.lacks(evidence) if need in reasons), None)
        if attack.family in chosen and lacks is not None:
            by_reason.setdefault(reasons[lacks], []).append(attack.name)
    return [f"left out {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def not_made(families: Iterable[str], made: Iterable[str], *, references: bool) -> list[str]:
    """Say which families asked for have no attack among those made, and why; `references` says whether there are any.

    >>> not_made(["threshold", "lira"], ["gap", "confidence"], references=False)
    ['lira: asked for and left out, for there are no reference models']
    """
    present = {attack.family for attack in ATTACKS if attack.name in set(made)}
    needs = {family: {need for one in ATTACKS if one.family == family for need in one.needs} for family in families}
    return [
        f"{family}: asked for and left out, for "
        + (
            "there are no reference models"
            if "references" in wanted and not references
            else "the inputs are no images"
            if "augmented" in wanted
            else "what it needs is not there"
        )
        for family, wanted in needs.items()
        if family not in present
    ]
