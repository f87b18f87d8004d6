"""RMIA, the robust membership-inference attack: an example's likelihood ratio against those of a population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from redense.arguments import Numbers, Positive, Rate, validated
from redense.attacks.references import (
    Answers,
    Array,
    Included,
    Mode,
    OfModels,
    WasIncluded,
    checked_references,
    mean_of_chosen,
)
from redense.errors import ArgumentError


@validated()
@dataclass(frozen=True)
class Population:
    """Examples that others are compared with: the target's confidences [z] and those of m reference models [m, z].

    `included` bool [m, z] says which models were trained on which; None where none was.
    """

    target: Annotated[Array, Numbers("[z] or [z, q]")]
    references: Annotated[Array, Numbers("[m, z] or [m, z, q]")]
    included: Annotated[Included, Numbers("[m, z]", truths=True)] | None = None


@validated()
@dataclass(frozen=True)
class RMIA:
    """The attack of Zarifzadeh, Liu & Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024.

    With the ratio r(x) = p(x | target) / p(x), the score of x is the share of the population's z with
    r(x) / r(z) > gamma (equation 1). p(x) is estimated from reference models

    - ``online``: as the mean of the IN models' mean and the OUT models' mean, in equal parts whatever their numbers;
    - ``offline``: as ((1 + a) p_out(x) + 1 - a) / 2, from OUT models alone (appendix B.2.2), a in [0, 1].

    The score grows with r(x), so population and gamma change the order of scores by ties alone.

    >>> target = np.array([0.9, 0.5])
    >>> references = np.array([[0.9, 0.9], [0.4, 0.5]])
    >>> included = np.array([[True, True], [False, False]])
    >>> RMIA(gamma=1.0).score(target, references, included).tolist()
    [0.5, 0.0]
    """

    mode: Mode = "online"
    gamma: Positive = 2.0
    a: Rate = 0.3

    @validated()
    def score(
        self,
        target: Answers,
        references: OfModels,
        included: WasIncluded,
        population: Population | None = None,
    ) -> Array:
        """Score n examples, each in [0, 1]; higher = member.

        Args:
            target: the target's confidences in the true class [n], or [n, q] for q queries, whose mean is taken.
            references: those of m reference models, [m, n] or [m, n, q].
            included: whether each was trained on each example, bool [m, n].
            population: what to compare with; by default the n examples themselves.

        Raises `ArgumentError` when shapes do not fit, values are no probabilities, there are fewer than two models
        (offline: none), or an example lacks a kind of reference model that the mode needs.
        """
        ratios = self.ratio(target, references, included)
        if population is None:
            return share_exceeded(ratios, ratios, self.gamma)
        nowhere = np.zeros(np.shape(population.references)[:2], dtype=bool)
        of_population = self.ratio(
            population.target,
            population.references,
            nowhere if population.included is None else population.included,
        )
        return share_exceeded(ratios, of_population, self.gamma)

    @validated()
    def ratio(self, target: Answers, references: OfModels, included: WasIncluded) -> Array:
        """Return r(x) [n], 0 or more: the score without the ties that population and gamma add."""
        nobody = self.mode == "online" and not np.any(included)
        needs = ("OUT",) if self.mode == "offline" or nobody else ("IN", "OUT")
        fewest = 1 if self.mode == "offline" else 2
        own, others, member = checked_references(target, references, included, needs=needs, fewest=fewest)
        for name, values in (("target", own), ("references", others)):
            if values.min() < 0 or values.max() > 1:
                raise ArgumentError(f"{name}: values from {values.min():g} to {values.max():g}; expected probabilities")
        own, others = own.mean(1), others.mean(2)
        out = mean_of_chosen(others, ~member)
        if self.mode == "offline":
            usual = ((1 + self.a) * out + 1 - self.a) / 2
        else:
            usual = out if nobody else (mean_of_chosen(others, member) + out) / 2
        tiny = np.finfo(np.float64).tiny
        return np.asarray(np.maximum(own, tiny) / np.maximum(usual, tiny))


def share_exceeded(ratios: Array, population: Array, gamma: float) -> Array:
    """Return for each r(x) the share of the population's r(z) with r(x) / r(z) > gamma; [n].

    Division rounds monotonically, so along sorted r(z) the comparison is true up to some place and false after it. A
    binary search finds the place for r(z) < r(x) / gamma, which rounding may put a few values off; it is then moved
    until the comparison as it is written above holds, so that the result has the bits of the n x z comparison.

    >>> share_exceeded(np.array([1.0, 4.0]), np.array([1.0, 2.0, 3.0]), gamma=1.5).tolist()
    [0.0, 0.6666666666666666]
    """
    levels, counts = np.unique(population, return_counts=True)
    below = np.append(0, np.cumsum(counts))
    order = np.argsort(ratios)  # searching in order keeps to the cache
    wanted = ratios[order]
    with np.errstate(over="ignore"):
        place = np.searchsorted(levels, wanted / gamma, side="left")
        padded = np.concatenate(([0.0], levels, [np.inf]))
        while (up := _exceeds(wanted, padded[place + 1], gamma) & (place < len(levels))).any():
            place += up
        while (down := ~_exceeds(wanted, padded[place], gamma) & (place > 0)).any():
            place -= down
    shares = np.empty(len(ratios))
    shares[order] = below[place] / len(population)
    return shares


def _exceeds(ratios: Array, levels: Array, gamma: float) -> npt.NDArray[np.bool_]:
    with np.errstate(divide="ignore", invalid="ignore"):
        exceeds: npt.NDArray[np.bool_] = ratios / levels > gamma
    return exceeds
