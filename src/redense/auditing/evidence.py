"""What an audit rests on: what the target and reference models answered, by kind of query, and who was a member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt

from redense.arguments import Numbers, validated
from redense.attacks.references import Array, Included
from redense.attacks.threshold import Labels
from redense.errors import DataError
from redense.metrics.roc import Members
from redense.signals import Signals

Places = npt.NDArray[np.int64]
Side = Literal["IN", "OUT"]
"""A reference model that was trained on an example, or was not."""


@validated(DataError)
@dataclass(frozen=True)
class NoisyAnswers:
    """What a model says when there is a little noise on the inputs: float64 [n, classes].

    `probabilities` are those without noise, `sensitivities` how much they change per unit of noise, 0 or more.
    """

    probabilities: Annotated[Array, Numbers("[n, classes]", (2,))]
    sensitivities: Annotated[Array, Numbers("[n, classes]", (2,))]

    def __post_init__(self) -> None:
        if self.sensitivities.shape != self.probabilities.shape:
            raise DataError(
                f"noisy: got probabilities {self.probabilities.shape} and sensitivities {self.sensitivities.shape}; "
                "expected [examples, classes] for both"
            )

    @classmethod
    def join(cls, parts: Iterable[NoisyAnswers]) -> NoisyAnswers:
        """Put the examples of several behind each other."""
        parts = list(parts)
        return cls(
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.sensitivities for part in parts]),
        )

    def take(self, places: Places) -> NoisyAnswers:
        """Choose some of the n examples."""
        return NoisyAnswers(self.probabilities[places], self.sensitivities[places])


@dataclass(frozen=True)
class SampledAnswers:
    """What reference models say to noisy queries about a sample: `answers` [r] of models [r] about examples [r]."""

    model: npt.NDArray[np.int64]
    example: npt.NDArray[np.int64]
    answers: NoisyAnswers

    def __post_init__(self) -> None:
        r = len(self.answers.probabilities)
        if self.model.shape != (r,) or self.example.shape != (r,):
            raise DataError(
                f"noisy: got {r} answers of models {self.model.shape} about examples {self.example.shape}; "
                f"expected ({r},) for both"
            )

    def take(self, places: Places) -> SampledAnswers:
        """Keep the answers about some of all examples, ascending `places`, which are counted anew."""
        chosen = np.flatnonzero(np.isin(self.example, places))
        example = np.searchsorted(places, self.example[chosen])
        return SampledAnswers(self.model[chosen], example, self.answers.take(chosen))


@validated(DataError)
@dataclass(frozen=True)
class References:
    """What m reference models say about the same n examples, and what each was trained on.

    `signals` are [m, n], `included` bool [m, n]: whether a model was trained on an example. Attacks that need models of
    a kind which an example lacks, or more models than there are, are left out. `noisy` holds their answers to noisy
    queries about a sample of models and examples, where they were asked.

    >>> phi = np.random.default_rng(0).normal(size=(4, 100))
    >>> References(Signals.of_phi(phi), included=phi > 0).teach
    True
    """

    signals: Signals
    included: Annotated[Included, Numbers("[models, examples]", truths=True)]
    noisy: SampledAnswers | None = None

    def __post_init__(self) -> None:
        if self.included.shape != self.signals.phi.shape:
            raise DataError(
                f"references: got membership {self.included.shape} and signals {self.signals.phi.shape}; "
                "expected [models, examples] for both"
            )

    @property
    def teach(self) -> bool:
        """Whether there are answers about examples that a model was trained on, and about such that it was not."""
        return bool(self.included.any() and not self.included.all())

    @validated(DataError)
    def lacking(self, side: Side) -> npt.NDArray[np.int64]:
        """Return the examples that no model was trained on (``IN``) or that all were (``OUT``)."""
        return np.flatnonzero(~(self.included if side == "IN" else ~self.included).any(0))


@validated(DataError)
@dataclass(frozen=True)
class Evidence:
    """All that the attacks are given, in arrays over n examples.

    `labels` are the true classes, `members` bool. `augmented` holds whether the target's answers to q augmented queries
    about each example were right, bool [n, q]; `noisy` what it says to noisy queries, [n, classes]. With `phi_only`
    nothing is known but the probability of the true class (`Signals.of_phi`, `Signals.of_loss`). Attacks that need what
    is not there are left out; `target` holds the audited model's signals, `references` what is known of reference
    models. `names` [n] are what reports call the examples, by default their places from 0, `classes` what they call the
    classes, by label.

    >>> phi = np.random.default_rng(0).normal(size=400)
    >>> members = np.arange(400) < 200
    >>> evidence = Evidence(Signals.of_phi(phi), np.zeros(400, dtype=int), members, phi_only=True)
    >>> evidence.names is None  # their places will do
    True
    """

    target: Signals
    labels: Annotated[Labels, Numbers("[n], classes", integers=True)]
    members: Annotated[Members, Numbers("[n], True = member", truths=True)]
    references: References | None = None
    augmented: Annotated[npt.NDArray[np.bool_], Numbers("[n, queries]", (2,), truths=True)] | None = None
    noisy: NoisyAnswers | None = None
    phi_only: bool = False
    names: Sequence[str] | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.target)
        for name, values in (("labels", self.labels), ("members", self.members)):
            if values.shape != (n,):
                raise DataError(f"{name}: got {values.shape}; expected ({n},), one for each example")
        if not self.members.any() or self.members.all():
            side = "non-members" if self.members.all() else "members"
            raise DataError(f"got no {side}; expected some of both: an audit compares the two")
        if self.labels.min() < 0:
            raise DataError(f"labels: got {self.labels.min()}; expected classes from 0")
        if self.augmented is not None and len(self.augmented) != n:
            raise DataError(f"augmented: got {self.augmented.shape}; expected ({n}, queries)")
        if self.noisy is not None and len(self.noisy.probabilities) != n:
            raise DataError(f"noisy: got {self.noisy.probabilities.shape}; expected ({n}, classes)")
        if self.names is not None and len(self.names) != n:
            raise DataError(f"names: got {len(self.names)}; expected {n}, one for each example, members and others")
        refuse_unreal("the target", self.target)
        if self.references is not None:
            if self.references.included.shape[1] != n:
                raise DataError(f"references: got {self.references.included.shape[1]} examples; expected {n}")
            refuse_unreal("the reference models", self.references.signals)


def some_evidence(evidence: Evidence, places: Places) -> Evidence:
    """Choose some of the n examples, by ascending places; their names stay what they are."""
    names = evidence.names if evidence.names is not None else range(len(evidence.labels))
    references = evidence.references
    return replace(
        evidence,
        target=evidence.target[places],
        labels=evidence.labels[places],
        members=evidence.members[places],
        references=None if references is None else some_references(references, places),
        augmented=None if evidence.augmented is None else evidence.augmented[places],
        noisy=None if evidence.noisy is None else evidence.noisy.take(places),
        names=[str(names[place]) for place in places],
    )


def some_references(references: References, places: Places) -> References:
    """Choose what reference models say of some of the n examples, by ascending places."""
    of_models = [references.signals[model] for model in range(len(references.included))]
    signals = Signals.stack([one[places] for one in of_models])
    noisy = None if references.noisy is None else references.noisy.take(places)
    return References(signals, references.included[:, places], noisy)


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
