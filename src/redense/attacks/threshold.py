"""Threshold attacks: guess "member" where a signal exceeds a threshold, one for all classes or one each.

Thresholds are learnt on reference models or on other examples than those they are used on, never on the examples
that are judged. Scores are signals less their threshold: above 0 the guess is "member".
Sources: Yeom et al., "Privacy Risk in Machine Learning", CSF 2018; per class: Song & Mittal, "Systematic Evaluation of
Privacy Risks of Machine Learning Models", USENIX Security 2021.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt

from redense.arguments import Numbers, validated
from redense.attacks.references import Array, WasIncluded, checked_references
from redense.errors import ArgumentError
from redense.metrics.intervals import split_halves
from redense.metrics.roc import IsMember, Members, checked, descending

Labels = npt.NDArray[np.int64]
OwnSignals = Annotated[Array, Numbers("[n]", (1,), finite=True)]
SignalsOfModels = Annotated[Array, Numbers("[m, n]", (2,), finite=True)]
Classes = Annotated[Labels, Numbers("[n], classes", (1,), integers=True)]


def learn_threshold(scores: Array, members: Members) -> float:
    """Return the threshold of the best balanced accuracy for scores [n]: half way to the next lower score.

    Infinite where no threshold is better than guessing: then nobody is guessed to be a member.

    >>> learn_threshold(np.array([4.0, 3.0, 1.0, 0.0]), np.array([True, True, False, False]))
    2.0
    """
    return float(learn_thresholds(scores, members, None, 1)[0])


def learn_thresholds(scores: Array, members: Members, labels: Labels | None, classes: int) -> Array:
    """Return a threshold for each class [classes], all the same without labels.

    A class without members or without non-members, or in which no threshold helps, gets that of all classes together.
    """
    if members.all() or not members.any():
        raise ArgumentError(f"got {members.sum()} members of {len(members)}; expected members and non-members")
    by_score = descending(scores)
    nobody = np.zeros(len(scores), dtype=np.int16)
    overall = _best_of_each(scores[by_score], members[by_score], nobody, np.full(1, np.inf))
    thresholds = np.full(classes, overall[0])
    if labels is None:
        return thresholds
    of_class = labels[by_score].astype(np.int16 if classes < 2**15 else np.int64)
    order = by_score[np.argsort(of_class, kind="stable")]
    return _best_of_each(scores[order], members[order], labels[order], thresholds)


def _best_of_each(ordered: Array, members: Members, label: npt.NDArray[np.integer], otherwise: Array) -> Array:
    """Return the best threshold of each class, of examples sorted by class, then from high to low score.

    Counts run through all classes and start again with each. `otherwise` [classes] is for classes that have none.
    """
    starts = np.flatnonzero(np.append(True, label[1:] != label[:-1]))
    ends = np.append(starts[1:], len(label))
    true = np.append(0, np.cumsum(members))
    last_of_tie = np.append((ordered[1:] != ordered[:-1]) | (label[1:] != label[:-1]), True)
    thresholds = otherwise.copy()
    for start, end in zip(starts, ends, strict=True):
        found, size = true[end] - true[start], end - start
        if not 0 < found < size:
            continue
        so_far = true[start + 1 : end + 1] - true[start]
        tpr, fpr = so_far / found, (np.arange(1, size + 1) - so_far) / (size - found)
        advantage = np.where(last_of_tie[start:end], tpr - fpr, -np.inf)
        best = int(np.argmax(advantage))
        if advantage[best] > 0:
            lower = ordered[start + best + 1] if best + 1 < size else ordered[start + best]
            thresholds[label[start]] = ordered[start + best] / 2 + lower / 2
    return thresholds


@validated()
def score_by_references(
    target: OwnSignals, references: SignalsOfModels, included: WasIncluded, labels: Classes, *, per_class: bool = False
) -> Array:
    """Score n examples by the target's signals [n] with thresholds learnt on m reference models' [m, n].

    >>> target = np.array([3.0, 0.0])
    >>> references, included = np.array([[4.0, 1.0], [2.0, 3.0]]), np.array([[True, False], [False, True]])
    >>> score_by_references(target, references, included, np.array([0, 0])).tolist()
    [0.5, -2.5]
    """
    checked_references(target, references, included, needs=(), fewest=1)
    labels, classes = _numbered(labels, len(target))
    m = len(references)
    of_class = np.tile(labels, m) if per_class else None
    return target - _spread(learn_thresholds(references.ravel(), np.ravel(included), of_class, classes), labels)


@validated()
def score_by_other_half(target: OwnSignals, members: IsMember, labels: Classes, *, per_class: bool = False) -> Array:
    """Score n examples by the target's signals [n]; thresholds for either half are learnt on the other half.

    A half without members or without non-members teaches nothing: nobody in the other is guessed to be a member.

    >>> target = np.repeat([3.0, 0.0], 4)
    >>> score_by_other_half(target, target > 0, np.zeros(8, dtype=np.int64)).tolist()
    [1.5, 1.5, 1.5, 1.5, -1.5, -1.5, -1.5, -1.5]
    """
    target, members = checked(target, members)
    labels, classes = _numbered(labels, len(target))
    first = split_halves(members)
    scores = np.empty(len(target))
    halves = (np.flatnonzero(first), np.flatnonzero(~first))
    for judged, learnt in (halves, halves[::-1]):
        thresholds = np.full(classes, np.inf)
        if members[learnt].any() and not members[learnt].all():
            of_class = labels[learnt] if per_class else None
            thresholds = learn_thresholds(target[learnt], members[learnt], of_class, classes)
        scores[judged] = target[judged] - _spread(thresholds, labels[judged])
    return scores


def _numbered(labels: Labels, n: int) -> tuple[Labels, int]:
    """Return the classes of n examples as numbers from 0, and how many there may be: thresholds are kept for all."""
    if labels.shape != (n,):
        raise ArgumentError(f"labels: got {labels.shape}; expected ({n},), one for each example")
    if labels.min() < 0 or labels.max() > 2 * n:
        labels = np.unique(labels, return_inverse=True)[1]
    return labels, int(labels.max()) + 1


def _spread(thresholds: Array, labels: Labels) -> Array:
    """Give every example its class's threshold; a very large number stands for infinity (nobody is a member)."""
    return np.minimum(thresholds, np.finfo(np.float64).max / 4)[labels]
