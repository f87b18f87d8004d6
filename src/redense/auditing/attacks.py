"""The attacks of an audit: which there are, what each needs, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from redense.attacks.label_only import label_only
from redense.attacks.lira import LiRA, Variance
from redense.attacks.references import Array, Mode
from redense.attacks.rmia import RMIA
from redense.attacks.shadow_classifier import FittedClassifier, ShadowClassifier
from redense.attacks.threshold import Labels, score_by_other_half, score_by_references
from redense.auditing.evidence import Evidence, References
from redense.signals import Signals

Signal = Callable[[Signals], Array]

SIGNALS: dict[str, Signal] = {
    "confidence": lambda signals: signals.phi,  # grows with the confidence, and does not round to 1
    "loss": lambda signals: -signals.loss,
    "entropy": lambda signals: -signals.entropy,
    "modified entropy": lambda signals: -signals.modified_entropy,
}
OF_PHI = ("confidence", "loss")
"""Those that need nothing but the probability of the true class."""
FAMILIES = ("threshold", "label-only", "shadow", "samia", "lira", "rmia")
"""Names by which attacks are asked for; ``threshold`` stands for the gap and all threshold attacks."""


@dataclass(frozen=True)
class Scored:
    """An attack's scores [n]; with `decides`, at 0 and above its own guess is "member"."""

    attack: str
    scores: Array
    decides: bool


def scored(evidence: Evidence, families: tuple[str, ...], variance: Variance = "shrunk") -> Iterator[Scored]:
    """Carry out the attacks of the families asked for that the evidence allows, weakest first."""
    if "threshold" in families:
        if not evidence.phi_only:
            yield Scored("gap", np.where(evidence.target.correct, 0.5, -0.5), decides=True)
        yield from _thresholds(evidence)
    if "label-only" in families and evidence.augmented is not None:
        yield Scored("label-only", label_only(evidence.augmented), decides=False)
    references = evidence.references
    if "shadow" in families and references is not None and not evidence.phi_only:
        classifier = evidence.shadow or shadow_classifier(references, evidence.labels)
        scores = classifier.score(stacked_features(evidence.target), evidence.labels)
        yield Scored("shadow classifier", scores, decides=True)
    if "samia" in families and evidence.tokens is not None and evidence.samia is not None:
        yield Scored("SAMIA", evidence.samia.score(evidence.tokens), decides=True)
    if references is not None:
        yield from _likelihood_ratios(evidence, references, families, variance)


def _thresholds(evidence: Evidence) -> Iterator[Scored]:
    several = evidence.labels.min() < evidence.labels.max()
    names = OF_PHI if evidence.phi_only else tuple(SIGNALS)
    signals = {name: SIGNALS[name](evidence.target) for name in names}
    references = evidence.references
    for per_class in (False, True) if several else (False,):
        for name, own in signals.items():
            if references is not None:
                others = SIGNALS[name](references.signals)
                scores = score_by_references(own, others, references.included, evidence.labels, per_class=per_class)
            elif per_class:
                scores = score_by_other_half(own, evidence.members, evidence.labels, per_class=True)
            else:
                yield Scored(name, own, decides=False)
                continue
            yield Scored(f"{name}, per class" if per_class else name, scores, decides=True)


def _likelihood_ratios(
    evidence: Evidence, references: References, families: tuple[str, ...], variance: Variance
) -> Iterator[Scored]:
    included = references.included
    modes: tuple[Mode, ...] = ("offline", "online")
    if "rmia" in families:
        for mode in modes:
            scores = RMIA(mode=mode).score(evidence.target.confidence, references.signals.confidence, included)
            yield Scored(f"RMIA {mode}", scores, decides=False)
    if "lira" in families:
        for mode in modes:
            scores = LiRA(mode=mode, variance=variance).score(evidence.target.phi, references.signals.phi, included)
            yield Scored(f"LiRA {mode}", scores, decides=False)


def shadow_classifier(references: References, labels: Labels) -> FittedClassifier:
    """Learn the shadow classifier from what reference models say about examples of classes labels [n]."""
    return ShadowClassifier().fit(stacked_features(references.signals), references.included, labels)


def stacked_features(signals: Signals) -> Array:
    """Put all signals of an example side by side, [..., 5]: what the shadow classifier sees of an answer."""
    return np.stack([values.astype(np.float64) for values in signals.arrays().values()], axis=-1)
