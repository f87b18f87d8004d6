"""What an audit rests on: signals of the target and of reference models, and who was a member."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redense.attacks.references import Array, Included
from redense.attacks.samia import FittedSAMIA
from redense.attacks.shadow_classifier import FittedClassifier
from redense.attacks.threshold import Labels
from redense.errors import DataError
from redense.metrics.roc import Members
from redense.signals import Signals


@dataclass(frozen=True)
class References:
    """What m reference models say about the same n examples: signals [m, n], and what each was trained on [m, n]."""

    signals: Signals
    included: Included

    def __post_init__(self) -> None:
        if len(self.included) < 2:
            raise DataError(f"got {len(self.included)} reference model(s); expected at least 2")
        if self.included.shape != self.signals.phi.shape:
            raise DataError(
                f"references: got membership {self.included.shape} and signals {self.signals.phi.shape}; "
                "expected [models, examples] for both"
            )
        counts = self.included.sum(0)
        lacking = np.flatnonzero((counts == 0) | (counts == len(self.included)))
        if len(lacking):
            raise DataError(
                f"references: {len(lacking)} of {len(counts)} examples (first: {_first(lacking)}) were in the training "
                "data of all or of none; expected each to be in some and not in others: draw complementary halves"
            )


@dataclass(frozen=True)
class Evidence:
    """All that the attacks are given, in arrays over n examples.

    `labels` are the true classes, `members` bool. `augmented` holds, for every example and q queries, whether the
    answer was right (label-only), bool [n, q]; `tokens` what SAMIA sees of the target [n, classes, 3], and `samia` what
    it has learnt from reference models. `shadow` is the shadow classifier where it is not to be learnt anew. With
    `phi_only` nothing is known but the probability of the true class (`Signals.of_phi`, `Signals.of_loss`), and attacks
    that need more are left out.
    """

    target: Signals
    labels: Labels
    members: Members
    references: References | None = None
    augmented: npt.NDArray[np.bool_] | None = None
    tokens: Array | None = None
    samia: FittedSAMIA | None = None
    shadow: FittedClassifier | None = None
    phi_only: bool = False

    def __post_init__(self) -> None:
        n = len(self.target)
        for name, values in (("labels", self.labels), ("members", self.members)):
            if values.shape != (n,):
                raise DataError(f"{name}: got {values.shape}; expected ({n},), one for each example")
        if self.members.dtype != np.bool_:
            raise DataError(f"members: got {self.members.dtype}; expected bool, True = member")
        if not self.members.any() or self.members.all():
            side = "non-members" if self.members.all() else "members"
            raise DataError(f"got no {side}; expected some of both: an audit compares the two")
        if self.labels.min() < 0:
            raise DataError(f"labels: got {self.labels.min()}; expected classes from 0")
        refuse_unreal("the target", self.target)
        if self.references is not None:
            if self.references.included.shape[1] != n:
                raise DataError(f"references: got {self.references.included.shape[1]} examples; expected {n}")
            refuse_unreal("the reference models", self.references.signals)


def refuse_unreal(who: str, signals: Signals) -> None:
    """Raise `DataError` when a model says NaN or infinity about an example."""
    for name, values in signals.arrays().items():
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            examples = np.unique(wrong[:, -1])
            raise DataError(
                f"{who}: {name} is NaN or infinite for {len(examples)} of {values.shape[-1]} examples "
                f"(first: {_first(examples)}); expected finite logits"
            )


def _first(indices: npt.NDArray[np.int64]) -> str:
    return ", ".join(str(index) for index in indices[:5]) + (", ..." if len(indices) > 5 else "")
