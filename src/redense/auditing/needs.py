"""What attacks may need, and whether the evidence has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from redense.auditing.evidence import Evidence, Side

QueryKind = Literal["augmented", "noisy"]
Need = Literal["signals", "classes", "references", "several", "taught", "IN", "OUT", "augmented", "noisy"]
"""What an attack may need beyond the probability of the true class: all signals of a plain answer, examples of several
classes, reference models, several of them, their answers about examples both IN and OUT, an IN or an OUT model for
every example, the target's answers to augmented queries, or every model's answers to noisy queries."""


def _with_references(evidence: Evidence) -> bool:
    return evidence.references is not None


def taught(evidence: Evidence) -> bool:
    """Tell whether there are reference models that teach what members look like."""
    return evidence.references is not None and evidence.references.teach


def _every(side: Side) -> Callable[[Evidence], bool]:
    return lambda evidence: evidence.references is not None and not len(evidence.references.lacking(side))


HAS: dict[Need, Callable[[Evidence], bool]] = {
    "signals": lambda evidence: not evidence.phi_only,
    "classes": lambda evidence: bool(evidence.labels.min() < evidence.labels.max()),
    "references": _with_references,
    "several": lambda evidence: evidence.references is not None and len(evidence.references.included) > 1,
    "taught": taught,
    "IN": _every("IN"),
    "OUT": _every("OUT"),
    "augmented": lambda evidence: evidence.augmented is not None,
    "noisy": lambda evidence: (
        evidence.noisy is not None and (evidence.references is None or evidence.references.noisy is not None)
    ),
}
