"""The shadow-model attack: a classifier that has learnt on reference models what members look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from redense.arguments import Numbers, at_most, validated
from redense.attacks.references import Array, OfModels, WasIncluded, checked_references, sample_pairs
from redense.errors import ArgumentError

Features = Annotated[npt.ArrayLike, Numbers("[n, f]", (2,))]
FeaturesOfModels = Annotated[npt.ArrayLike, Numbers("[m, n, f]", (3,))]
OwnLabels = Annotated[npt.ArrayLike, Numbers("[n]", (1,), integers=True)]
MOST_PAIRS = 30_000
"""Answers of reference models that the classifier learns from; more hardly help and take long."""
FEWEST_ROWS_A_CLASS = 200


@dataclass(frozen=True)
class FittedClassifier:
    """What a `ShadowClassifier` has learnt: a classifier for all classes together, and one for each large one."""

    overall: HistGradientBoostingClassifier
    of_class: dict[int, HistGradientBoostingClassifier]

    @validated()
    def score(self, target: Features, labels: OwnLabels) -> Array:
        """Score a target's answers [n, f] about examples of classes labels [n]."""
        own, classes = np.asarray(target), np.asarray(labels)
        features = self.overall.n_features_in_
        if own.shape != (len(classes), features):
            raise ArgumentError(
                f"got target {own.shape} and labels {classes.shape}; expected [n, {features}], as from the reference "
                "models, and [n]"
            )
        scores = np.asarray(self.overall.decision_function(own), dtype=np.float64)
        for label, classifier in self.of_class.items():
            judged = classes == label
            if judged.any():
                scores[judged] = classifier.decision_function(own[judged])
        return scores


@validated()
@dataclass(frozen=True)
class ShadowClassifier:
    """The attack of Shokri et al., "Membership Inference Attacks Against Machine Learning Models", IEEE S&P 2017.

    One classifier a class learns from the reference models' answers to tell IN from OUT, here gradient-boosted trees
    (scikit-learn) in place of the paper's network. Classes with few examples share one.

    >>> generator = np.random.default_rng(0)
    >>> included = generator.random((4, 300)) < 0.5
    >>> references = generator.normal(size=(4, 300, 2)) + 3 * included[:, :, None]
    >>> members = generator.random(300) < 0.5
    >>> target = generator.normal(size=(300, 2)) + 3 * members[:, None]
    >>> scores = ShadowClassifier().score(target, references, included, np.zeros(300, dtype=int))
    >>> bool(scores[members].mean() > scores[~members].mean())
    True
    """

    seed: Annotated[int, at_most(2**32 - 1, least=0)] = 0

    @validated()
    def score(self, target: Features, references: OfModels, included: WasIncluded, labels: OwnLabels) -> Array:
        """Score n examples by log odds; higher = member, 0 = undecided.

        Args:
            target: what the target says, f features of each example [n, f]: probabilities of all classes, say.
            references: the same of m reference models, [m, n, f].
            included: whether each was trained on each example, bool [m, n].
            labels: true classes [n], integers.

        Raises `ArgumentError` as `redense.attacks.LiRA.score` does.
        """
        checked_references(target, references, included, needs=())
        return self.fit(references, included, labels).score(target, labels)

    @validated()
    def fit(self, references: FeaturesOfModels, included: WasIncluded, labels: OwnLabels) -> FittedClassifier:
        """Learn from the reference models once, for any number of targets; arguments as in `score`."""
        others, member, classes = np.asarray(references), np.asarray(included), np.asarray(labels)
        if others.shape[:2] != member.shape or not others.shape[2]:
            raise ArgumentError(
                f"got references {others.shape} and included {member.shape}; expected [m, n, f] and [m, n]"
            )
        if not member.any() or member.all():
            raise ArgumentError("included: got one value alone; expected models trained with and without examples")
        if classes.shape != member.shape[1:]:
            raise ArgumentError(f"labels: got {classes.shape}; expected {member.shape[1:]}, one for each example")
        model, example = sample_pairs(member, MOST_PAIRS, self.seed)
        answers, inside = others[model, example], member[model, example]
        of_class = {}
        for label in np.unique(classes):
            rows = classes[example] == label
            if min(inside[rows].sum(), (~inside[rows]).sum()) >= FEWEST_ROWS_A_CLASS:
                of_class[int(label)] = self._fit(answers[rows], inside[rows])
        return FittedClassifier(self._fit(answers, inside), of_class)

    def _fit(self, answers: Array, inside: npt.NDArray[np.bool_]) -> HistGradientBoostingClassifier:
        classifier = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=8, l2_regularization=1.0, class_weight="balanced", random_state=self.seed
        )
        # the trees are the same with any number of threads, which on a busy machine spend their time waiting
        with threadpool_limits(1, user_api="openmp"):
            return classifier.fit(answers, inside)
