"""The ROC curve and what is read off it, exact under ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Members = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Roc:
    """An ROC curve: guessing "member" at scores of at least `thresholds[i]` has the rates `fpr[i]` and `tpr[i]`.

    All three are float64 [k + 1] for k distinct scores, from (0, 0) at an infinite threshold to (1, 1). `members` and
    `nonmembers` are the numbers of examples on either side.
    """

    fpr: Array
    tpr: Array
    thresholds: Array
    members: int
    nonmembers: int

    @property
    def true_positives(self) -> npt.NDArray[np.int64]:
        """Members with scores of at least each threshold, [k + 1]."""
        return np.rint(self.tpr * self.members).astype(np.int64)

    @property
    def false_positives(self) -> npt.NDArray[np.int64]:
        """Non-members with scores of at least each threshold, [k + 1]."""
        return np.rint(self.fpr * self.nonmembers).astype(np.int64)

    @property
    def auc(self) -> float:
        """The area under the curve, in [0, 1]: P(member > non-member) + P(equal) / 2."""
        return float(np.trapezoid(self.tpr, self.fpr))

    @property
    def balanced_accuracy(self) -> float:
        """The best balanced accuracy over all thresholds, in [0.5, 1]."""
        return float(np.max(self.tpr + 1 - self.fpr) / 2)

    def index_at_fpr(self, fpr: float) -> int:
        """Return the last point of the curve whose false-positive rate is at most `fpr`, in [0, 1]."""
        if not 0 <= fpr <= 1:
            raise ValueError(f"fpr: got {fpr}; expected a rate from 0 to 1")
        # whole examples are compared, since rates such as 0.1 are not exact in binary
        allowed = np.floor(fpr * self.nonmembers * (1 + 1e-12))
        return int(np.searchsorted(self.false_positives, allowed, side="right")) - 1


@dataclass(frozen=True)
class Ranking:
    """Examples in descending order of their scores: the one sort that all metrics share.

    `order` [n] are their indices, `last_of_tie` [k] the places at which each of k distinct scores ends, `scores` [k]
    these scores.
    """

    order: npt.NDArray[np.int64]
    last_of_tie: npt.NDArray[np.int64]
    scores: Array

    @classmethod
    def of(cls, scores: Array) -> Ranking:
        """Sort scores [n]."""
        order = np.argsort(-scores)
        descending = scores[order]
        last_of_tie = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(descending) - 1)
        return cls(order, last_of_tie, descending[last_of_tie])

    def counts(self, chosen: Members) -> npt.NDArray[np.int64]:
        """Count the chosen examples (bool [n]) with at least each of the distinct scores, [k]."""
        running: npt.NDArray[np.int64] = np.cumsum(chosen[self.order], dtype=np.int64)
        return running[self.last_of_tie]

    def roc(self, members: Members) -> Roc:
        """Return the curve for some membership of the examples, bool [n]."""
        true_positives = self.counts(members)
        false_positives = self.counts(~members)
        return Roc(
            fpr=np.append(0.0, false_positives / false_positives[-1]),
            tpr=np.append(0.0, true_positives / true_positives[-1]),
            thresholds=np.append(np.inf, self.scores),
            members=int(true_positives[-1]),
            nonmembers=int(false_positives[-1]),
        )


def roc(scores: npt.ArrayLike, members: npt.ArrayLike) -> Roc:
    """Compute the ROC curve of scores [n] against members (bool [n]).

    Equal scores fall on one point: no threshold can tell them apart. One sort and two cumulative sums.

    Raises ValueError unless both have one length, no score is NaN and there are members and non-members.

    >>> roc([3.0, 2.0, 2.0, 1.0], [True, True, False, False]).tpr.tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    valid = checked(scores, members)
    return Ranking.of(valid[0]).roc(valid[1])


def auc(scores: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, in [0, 1]: P(member > non-member) + P(equal) / 2.

    >>> auc([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.875
    """
    return roc(scores, members).auc


def balanced_accuracy(scores: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """Return the best balanced accuracy over all thresholds, in [0.5, 1]: max over t of (TPR(t) + 1 - FPR(t)) / 2.

    On confidences this is the "inference accuracy". Members and non-members weigh alike whatever their numbers.
    The threshold is chosen on the same examples, so pure noise gives more than 0.5: see
    `balanced_accuracy_of_noise`.

    >>> balanced_accuracy([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.75
    """
    return roc(scores, members).balanced_accuracy


def advantage(scores: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """Return the best membership advantage over all thresholds, in [0, 1]: max over t of TPR(t) - FPR(t).

    Source: Yeom et al., "Privacy Risk in Machine Learning", CSF 2018, definition 4.

    >>> advantage([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.5
    """
    return 2 * balanced_accuracy(scores, members) - 1


def tpr_at_fpr(scores: npt.ArrayLike, members: npt.ArrayLike, fpr: float) -> float:
    """Return the largest true-positive rate whose false-positive rate is at most `fpr`; all in [0, 1].

    With few non-members the true rate at the threshold found may be far from `fpr`: see `operating_point`.

    >>> tpr_at_fpr([4.0, 3.0, 2.0, 1.0], [True, True, False, False], fpr=0.0)
    1.0
    """
    curve = roc(scores, members)
    return float(curve.tpr[curve.index_at_fpr(fpr)])


def checked(scores: npt.ArrayLike, members: npt.ArrayLike) -> tuple[Array, Members]:
    """Return both as arrays [n], or raise ValueError with what is wrong."""
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
