"""The ROC curve and what is read off it, exact under ties."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from redense.arguments import Numbers, Rate, validated
from redense.errors import ArgumentError

Array = npt.NDArray[np.float64]
Members = npt.NDArray[np.bool_]
Scores = Annotated[npt.ArrayLike, Numbers("[n]")]
IsMember = Annotated[npt.ArrayLike, Numbers("[n], True = member", truths=True)]

Counts = npt.NDArray[Any]
"""Numbers of examples, int32 or int64."""

RADIX_FROM = 20_000
"""Scores from which on a radix sort pays."""


@validated()
@dataclass(frozen=True)
class Roc:
    """An ROC curve: guessing "member" at scores of at least `thresholds[i]` has the rates `fpr[i]` and `tpr[i]`.

    All are [k + 1] for k distinct scores, from (0, 0) at an infinite threshold to (1, 1); rates are float64 and follow
    from `true_positives` and `false_positives`, the numbers of members and non-members behind them.
    """

    thresholds: Annotated[Array, Numbers("[k + 1]", (1,))]
    true_positives: Annotated[Counts, Numbers("[k + 1]", (1,), integers=True)]
    false_positives: Annotated[Counts, Numbers("[k + 1]", (1,), integers=True)]

    def __post_init__(self) -> None:
        sizes = [len(one) for one in (self.thresholds, self.true_positives, self.false_positives)]
        if len(set(sizes)) > 1 or not sizes[0]:
            raise ArgumentError(f"got a curve of {sizes} points; expected as many thresholds as counts, 1 or more")

    @cached_property
    def tpr(self) -> Array:
        """True-positive rates, [k + 1] in [0, 1]."""
        return np.asarray(self.true_positives / max(1, self.members))

    @cached_property
    def fpr(self) -> Array:
        """False-positive rates, [k + 1] in [0, 1]."""
        return np.asarray(self.false_positives / max(1, self.nonmembers))

    @property
    def members(self) -> int:
        """The number of members."""
        return int(self.true_positives[-1])

    @property
    def nonmembers(self) -> int:
        """The number of non-members."""
        return int(self.false_positives[-1])

    @cached_property
    def auc(self) -> float:
        """The area under the curve, in [0, 1]: P(member > non-member) + P(equal) / 2."""
        return float(np.trapezoid(self.tpr, self.fpr))

    @cached_property
    def best(self) -> int:
        """The point of the best balanced accuracy, the one with the highest threshold if there are several."""
        return int(np.argmax(self.tpr - self.fpr))

    @property
    def balanced_accuracy(self) -> float:
        """The best balanced accuracy over all thresholds, in [0.5, 1]."""
        return float(self.tpr[self.best] + 1 - self.fpr[self.best]) / 2

    @validated()
    def index_at_fpr(self, fpr: Rate) -> int:
        """Return the last point of the curve whose false-positive rate is at most `fpr`, in [0, 1]."""
        return int(np.searchsorted(self.false_positives, allowed_at(fpr, self.nonmembers), side="right")) - 1


def allowed_at(fpr: float, nonmembers: int) -> int:
    """Return how many non-members may exceed a threshold at a false-positive rate; rates such as 0.1 are not exact.

    >>> allowed_at(0.3, 10)
    3
    """
    if not 0 <= fpr <= 1:
        raise ArgumentError(f"fpr: got {fpr}; expected a rate from 0 to 1")
    return int(np.floor(fpr * nonmembers * (1 + 1e-12)))


def count_groups(scores: Array, group: npt.NDArray[np.uint8], groups: int) -> tuple[Array, list[Counts]]:
    """Return thresholds, descending from infinity, and for each group how many have at least that score, [k + 1].

    `group` [n] says which of so many `groups` each example is in. One sort serves all groups.
    """
    order = descending(scores)
    thresholds = np.empty(len(scores) + 1)
    thresholds[0] = np.inf
    np.take(scores, order, out=thresholds[1:])
    # an infinite score is one that somebody has, so the first place always counts
    last_of_tie = np.append(thresholds[1:-1] != thresholds[2:], True)
    ends = None if last_of_tie.all() else np.append(0, np.flatnonzero(last_of_tie) + 1)
    group_at = group[order]
    counts: list[Counts] = []
    kind = np.int32 if len(scores) < 2**31 else np.int64  # half the memory to write
    for number in range(groups):
        running: Counts = np.zeros(len(scores) + 1, dtype=kind)
        np.cumsum(group_at == number, dtype=kind, out=running[1:])
        counts.append(running if ends is None else running[ends])
    return (thresholds if ends is None else thresholds[ends]), counts


def descending(scores: Array) -> Counts:
    """Return the indices that sort scores [n], none of them NaN, from high to low; equal ones in any order.

    NumPy compares floating-point numbers; PyTorch has a radix sort for integers, several times as fast. The bits of a
    float64 are ordered like integers once those of negative numbers are turned round. Short arrays are not worth the
    wait for PyTorch to load.
    """
    if len(scores) < RADIX_FROM:
        return np.argsort(-scores)
    import torch

    bits = (0.0 - scores).view(np.int64)  # from 0, so that both zeros become one
    bits ^= (bits >> 63) & np.int64(2**63 - 1)
    return torch.from_numpy(bits).sort().indices.numpy()


@dataclass(frozen=True)
class Halves:
    """Curves of two random halves of the examples over the same thresholds, so that one can judge the other."""

    first: Roc
    second: Roc

    @classmethod
    def of(cls, scores: Array, members: Members, first: Members) -> Halves:
        """Sort scores [n] of members (bool [n]), `first` telling which half each is in."""
        group = np.uint8(2) * ~first + ~members
        thresholds, counts = count_groups(scores, group, 4)
        return cls(Roc(thresholds, *counts[:2]), Roc(thresholds, *counts[2:]))

    @property
    def comparable(self) -> bool:
        """Whether both halves have members and non-members, so that either can judge the other."""
        return all(half.members and half.nonmembers for half in (self.first, self.second))

    @cached_property
    def whole(self) -> Roc:
        """The curve of all examples."""
        return Roc(
            self.first.thresholds,
            self.first.true_positives + self.second.true_positives,
            self.first.false_positives + self.second.false_positives,
        )


@validated()
def roc(scores: Scores, members: IsMember) -> Roc:
    """Compute the ROC curve of scores [n] against members (bool [n]).

    Equal scores fall on one point: no threshold can tell them apart. One sort and two cumulative sums.

    Raises `ArgumentError` unless both have one length, no score is NaN and there are members and non-members.

    >>> roc([3.0, 2.0, 2.0, 1.0], [True, True, False, False]).tpr.tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    values, is_member = checked(scores, members)
    thresholds, counts = count_groups(values, (~is_member).view(np.uint8), 2)
    return Roc(thresholds, *counts)


@validated()
def auc(scores: Scores, members: IsMember) -> float:
    """Return the area under the ROC curve, in [0, 1]: P(member > non-member) + P(equal) / 2.

    >>> auc([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.875
    """
    return roc(scores, members).auc


@validated()
def balanced_accuracy(scores: Scores, members: IsMember) -> float:
    """Return the best balanced accuracy over all thresholds, in [0.5, 1]: max over t of (TPR(t) + 1 - FPR(t)) / 2.

    On confidences this is the "inference accuracy". Members and non-members weigh alike whatever their numbers.
    The threshold is chosen on the same examples, so pure noise gives more than 0.5: see
    `balanced_accuracy_of_noise`.

    >>> balanced_accuracy([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.75
    """
    return roc(scores, members).balanced_accuracy


@validated()
def advantage(scores: Scores, members: IsMember) -> float:
    """Return the best membership advantage over all thresholds, in [0, 1]: max over t of TPR(t) - FPR(t).

    Source: Yeom et al., "Privacy Risk in Machine Learning", CSF 2018, definition 4.

    >>> advantage([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.5
    """
    return 2 * balanced_accuracy(scores, members) - 1


@validated()
def tpr_at_fpr(scores: Scores, members: IsMember, fpr: Rate) -> float:
    """Return the largest true-positive rate whose false-positive rate is at most `fpr`; all in [0, 1].

    With few non-members the true rate at the threshold found may be far from `fpr`: see `tpr_interval`.

    >>> tpr_at_fpr([4.0, 3.0, 2.0, 1.0], [True, True, False, False], fpr=0.0)
    1.0
    """
    curve = roc(scores, members)
    return float(curve.tpr[curve.index_at_fpr(fpr)])


def checked(scores: npt.ArrayLike, members: npt.ArrayLike) -> tuple[Array, Members]:
    """Return both as arrays [n], or raise `ArgumentError` with what is wrong."""
    scores = np.asarray(scores, dtype=np.float64)
    members = np.asarray(members)
    if members.dtype != np.bool_:
        raise ArgumentError(f"members: got {members.dtype}; expected bool, True = member")
    if scores.ndim != 1 or scores.shape != members.shape:
        raise ArgumentError(f"got scores {scores.shape} and members {members.shape}; expected two [n] of one length")
    if np.isnan(scores).any():
        raise ArgumentError(f"scores: {np.isnan(scores).sum()} of {len(scores)} are NaN; expected numbers")
    if not members.any() or members.all():
        raise ArgumentError(f"got {members.sum()} members of {len(members)}; expected members and non-members")
    return scores, members
