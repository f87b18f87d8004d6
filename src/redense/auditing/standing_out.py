"""Who stands out in an audit: single members, and classes."""

from __future__ import annotations

import numpy as np

from redense.attacks.references import Array
from redense.auditing.evidence import Evidence
from redense.auditing.result import ClassRisk, Exposed
from redense.metrics.intervals import auc_interval_of
from redense.metrics.roc import roc

MOST_EXPOSED = 20
FEWEST_IN_CLASS = 20


def exposed(scores: Array, risks: Array, evidence: Evidence) -> tuple[Exposed, ...]:
    """Return the members with the highest scores [n], of which `risks` [n] are the risks, the highest first."""
    places = np.flatnonzero(evidence.members)
    # many members may be above all non-members: scores tell them apart where risks do not
    highest = places[np.argsort(-scores[places], kind="stable")[:MOST_EXPOSED]]
    names = evidence.names if evidence.names is not None else range(len(risks))
    return tuple(
        Exposed(int(place), str(names[place]), int(evidence.labels[place]), float(risks[place])) for place in highest
    )


def by_class(scores: Array, evidence: Evidence, confidence: float) -> tuple[ClassRisk, ...]:
    """Measure each class; the intervals hold all at once, so that the highest class's does too (Bonferroni)."""
    order = np.argsort(evidence.labels, kind="stable")
    bounds = np.flatnonzero(np.diff(evidence.labels[order])) + 1
    classes = [(of_class, evidence.members[of_class]) for of_class in np.split(order, bounds)]
    enough = [min(inside.sum(), (~inside).sum()) >= FEWEST_IN_CLASS for _, inside in classes]
    each = 1 - (1 - confidence) / max(1, sum(enough))
    risks = []
    for (of_class, inside), measured in zip(classes, enough, strict=True):
        auc = interval = None
        if measured:
            curve = roc(scores[of_class], inside)
            auc, interval = curve.auc, auc_interval_of(curve, each)
        label, members = int(evidence.labels[of_class[0]]), int(inside.sum())
        risks.append(ClassRisk(label, members, len(inside) - members, auc, interval))
    return tuple(risks)
