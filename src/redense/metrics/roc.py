"""The ROC curve and what is read off it, exact under ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Roc:
    """An ROC curve: guessing "member" at scores of at least `thresholds[i]` has the rates `fpr[i]` and `tpr[i]`.

    All three are float64 [k + 1] for k distinct scores, from (0, 0) at an infinite threshold to (1, 1).
    """

    fpr: Array
    tpr: Array
    thresholds: Array

    @property
    def balanced_accuracy(self) -> float:
        """The best balanced accuracy over all thresholds, in [0.5, 1]."""
        return float(np.max(self.tpr + 1 - self.fpr) / 2)


def roc(scores: npt.ArrayLike, members: npt.ArrayLike) -> Roc:
    """Compute the ROC curve of scores [n] against members (bool [n]).

    Equal scores fall on one point: no threshold can tell them apart. One sort and two cumulative sums.

    Raises ValueError unless both have one length, no score is NaN and there are members and non-members.

    >>> roc([3.0, 2.0, 2.0, 1.0], [True, True, False, False]).tpr.tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    scores, members = _checked(scores, members)
    order = np.argsort(-scores)
    descending = scores[order]
    last_of_tie = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(descending) - 1)
    true_positives = np.cumsum(members[order])[last_of_tie]
    false_positives = 1 + last_of_tie - true_positives
    return Roc(
        fpr=np.append(0.0, false_positives / false_positives[-1]),
        tpr=np.append(0.0, true_positives / true_positives[-1]),
        thresholds=np.append(np.inf, descending[last_of_tie]),
    )


def auc(scores: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, in [0, 1]: P(member > non-member) + P(equal) / 2.

    >>> auc([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.875
    """
    curve = roc(scores, members)
    return float(np.trapezoid(curve.tpr, curve.fpr))


def balanced_accuracy(scores: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """Return the best balanced accuracy over all thresholds, in [0.5, 1]: max over t of (TPR(t) + 1 - FPR(t)) / 2.

    On confidences this is the "inference accuracy". Members and non-members weigh alike whatever their numbers.
    The threshold is chosen on the same examples, so pure noise gives more than 0.5: see
    `balanced_accuracy_of_noise`.

    >>> balanced_accuracy([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.75
    """
    return roc(scores, members).balanced_accuracy


def _checked(scores: npt.ArrayLike, members: npt.ArrayLike) -> tuple[Array, npt.NDArray[np.bool_]]:
    scores = np.asarray(scores, dtype=np.float64)
    members = np.asarray(members)
    if members.dtype != np.bool_:
        raise ValueError(f"members: got {members.dtype}; expected bool, True = member")
    if scores.ndim != 1 or scores.shape != members.shape:
        raise ValueError(f"got scores {scores.shape} and members {members.shape}; expected two [n] of one length")
    if np.isnan(scores).any():
        raise ValueError(f"scores: {np.isnan(scores).sum()} of {len(scores)} are NaN; expected numbers")
    if not members.any() or members.all():
        raise ValueError(f"got {members.sum()} members of {len(members)}; expected members and non-members")
    return scores, members
