"""Threshold attacks: guess "member" where a signal exceeds a threshold, one for all classes or one each.

Thresholds are learnt on reference models or on other examples than those they are used on, never on the examples
that are judged. Scores are signals less their threshold: above 0 the guess is "member".
Sources: Yeom et al., "Privacy Risk in Machine Learning", CSF 2018; per class: Song & Mittal, "Systematic Evaluation of
Privacy Risks of Machine Learning Models", USENIX Security 2021.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from redense.attacks.references import Array, Included, checked_references
from redense.metrics.intervals import split_halves
from redense.metrics.roc import Members, roc

Labels = npt.NDArray[np.int64]


def learn_threshold(scores: Array, members: Members) -> float:
    """Return the threshold of the best balanced accuracy for scores [n]: half way to the next lower score.

    Infinite where no threshold is better than guessing: then nobody is guessed to be a member.

    >>> learn_threshold(np.array([4.0, 3.0, 1.0, 0.0]), np.array([True, True, False, False]))
    2.0
    """
    if members.all() or not members.any():
        raise ValueError(f"got {members.sum()} members of {len(members)}; expected members and non-members")
    curve = roc(scores, members)
    best = curve.best
    if best == 0:
        return np.inf
    lower = curve.thresholds[best + 1] if best + 1 < len(curve.thresholds) else curve.thresholds[best]
    return float(curve.thresholds[best] / 2 + lower / 2)


def learn_thresholds(scores: Array, members: Members, labels: Labels | None, classes: int) -> Array:
    """Return a threshold for each class [classes], all the same without labels.

    A class without members or without non-members, or in which no threshold helps, gets that of all classes together.
    """
    overall = learn_threshold(scores, members)
    thresholds = np.full(classes, overall)
    if labels is None:
        return thresholds
    by_class = np.argsort(labels, kind="stable")
    for of_class in np.split(by_class, np.searchsorted(labels[by_class], np.arange(1, classes))):
        inside = members[of_class]
        if inside.any() and not inside.all():
            threshold = learn_threshold(scores[of_class], inside)
            thresholds[labels[of_class[0]]] = threshold if np.isfinite(threshold) else overall
    return thresholds


def score_by_references(
    target: Array, references: Array, included: Included, labels: Labels, *, per_class: bool = False
) -> Array:
    """Score n examples by the target's signals [n] with thresholds learnt on m reference models' [m, n].

    >>> target = np.array([3.0, 0.0])
    >>> references, included = np.array([[4.0, 1.0], [2.0, 3.0]]), np.array([[True, False], [False, True]])
    >>> score_by_references(target, references, included, np.array([0, 0])).tolist()
    [0.5, -2.5]
    """
    checked_references(target, references, included, needs=())
    m, classes = len(references), int(labels.max()) + 1
    of_class = np.tile(labels, m) if per_class else None
    return target - _spread(learn_thresholds(references.ravel(), included.ravel(), of_class, classes), labels)


def score_by_other_half(target: Array, members: Members, labels: Labels, *, per_class: bool = False) -> Array:
    """Score n examples by the target's signals [n]; thresholds for either half are learnt on the other half.

    A half without members or without non-members teaches nothing: nobody in the other is guessed to be a member.

    >>> target = np.repeat([3.0, 0.0], 4)
    >>> score_by_other_half(target, target > 0, np.zeros(8, dtype=np.int64)).tolist()
    [1.5, 1.5, 1.5, 1.5, -1.5, -1.5, -1.5, -1.5]
    """
    first, classes = split_halves(members), int(labels.max()) + 1
    scores = np.empty(len(target))
    for judged in (first, ~first):
        learnt = ~judged
        thresholds = np.full(classes, np.inf)
        if members[learnt].any() and not members[learnt].all():
            of_class = labels[learnt] if per_class else None
            thresholds = learn_thresholds(target[learnt], members[learnt], of_class, classes)
        scores[judged] = target[judged] - _spread(thresholds, labels[judged])
    return scores


def _spread(thresholds: Array, labels: Labels) -> Array:
    """Give every example its class's threshold; a very large number stands for infinity (nobody is a member)."""
    return np.minimum(thresholds, np.finfo(np.float64).max / 4)[labels]
