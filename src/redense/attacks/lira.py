"""LiRA, the likelihood-ratio attack: how much likelier a model's answer is if it was trained on the example."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import gammaln, log_ndtr, polygamma
from scipy.stats import t as student

from redense.arguments import validated
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

Variance = Literal["example", "shared", "shrunk"]


@dataclass(frozen=True)
class Side:
    """A predictive distribution for every example and query: of models trained with it, or without it.

    `mean` and `variance` broadcast to [n, q]; `freedom` [n, 1] are Student's degrees of freedom, None for a normal.
    """

    mean: Array
    variance: Array
    freedom: Array | None = None

    def log_density(self, values: Array) -> Array:
        """Return the log density at values [n, q]."""
        square = (values - self.mean) ** 2 / self.variance
        if self.freedom is None:
            density: Array = -0.5 * (square + np.log(2 * math.pi * self.variance))
            return density
        half = (self.freedom + 1) / 2
        constant = gammaln(half) - gammaln(self.freedom / 2) - 0.5 * np.log(self.freedom * math.pi * self.variance)
        density = constant - half * np.log1p(square / self.freedom)
        return density

    def log_tail(self, values: Array) -> Array:
        """Return the log probability of values at least as large, [n, q]."""
        z = (values - self.mean) / np.sqrt(self.variance)
        tail: Array = log_ndtr(-z) if self.freedom is None else student.logsf(z, self.freedom)
        return tail


@validated()
@dataclass(frozen=True)
class LiRA:
    """The attack of Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022.

    For every example, the scaled logits of reference models trained with it (IN) and without it (OUT) are each taken
    as a normal distribution.

    - ``online``: the score is the log of the ratio of the two densities at the target's scaled logit (equation 4);
    - ``offline`` uses OUT models alone: the score is -log P(OUT model gives at least the target's scaled logit), which
      is one-sided, as the paper has it (equation 5). `two_sided` takes -log density instead, as its code does.

    The variance is estimated

    - ``example``: for every example on its own; wants dozens of models, at least 2 on each side used;
    - ``shared``: one for all examples and each side, from how each model's answer differs from its example's mean;
    - ``shrunk``: between the two. A normal-inverse-gamma prior, estimated from all examples together, gives every
      example a Student-t predictive distribution (BaVarIA-t, Braennvall, arXiv 2603.11799; how much the variances
      truly differ is estimated as by Smyth, "Linear models and empirical Bayes methods", 2004, section 6.2).

    With one model on a side no variance can be estimated; ``shared`` and ``shrunk`` then take the other side's, or,
    when both have one, 1, which leaves the order of the scores to the distances from the two means.

    >>> target = np.array([3.0, 0.0])
    >>> references = np.array([[3.1, 2.9], [2.8, 3.2], [0.2, 0.1], [-0.1, -0.2]])
    >>> included = np.array([[True, True], [True, True], [False, False], [False, False]])
    >>> scores = LiRA(variance="shared").score(target, references, included)
    >>> bool(scores[0] > 0 > scores[1])
    True
    """

    mode: Mode = "online"
    variance: Variance = "shrunk"
    two_sided: bool = False

    @validated()
    def score(self, target: Answers, references: OfModels, included: WasIncluded) -> Array:
        """Score n examples; higher = member.

        Args:
            target: the target's scaled logits [n], or [n, q] for q queries, over which scores are averaged.
            references: those of m reference models, [m, n] or [m, n, q].
            included: whether each was trained on each example, bool [m, n].

        Raises `ArgumentError` when shapes do not fit, values are not finite, there are fewer than two models, or an
        example lacks a kind of reference model that the mode needs.
        """
        needs = ("IN", "OUT") if self.mode == "online" else ("OUT",)
        own, others, member = checked_references(target, references, included, needs=needs)
        out = _moments(others, ~member)
        if self.mode == "offline":
            side = self._side(out, None)
            score: Array = -(side.log_density(own) if self.two_sided else side.log_tail(own)).mean(1)
            return score
        inside = _moments(others, member)
        score = (self._side(inside, out).log_density(own) - self._side(out, inside).log_density(own)).mean(1)
        return score

    def _side(self, moments: Moments, other: Moments | None) -> Side:
        if self.variance == "example":
            few = int((moments.count < 2).sum())
            if few:
                raise ArgumentError(
                    f"variance='example': {few} examples have fewer than 2 models on a side; expected at least 2 "
                    "(dozens to be of use), or variance='shared'"
                )
            variance = moments.squares / (moments.count - 1)
            return Side(moments.mean, np.maximum(variance, _SMALLEST * max(1.0, float(variance.mean()))))
        shared = moments.shared_variance
        if shared is None:
            shared = other.shared_variance if other is not None else None
        pooled = np.full((1, moments.mean.shape[1]), 1.0) if shared is None else shared
        return Side(moments.mean, pooled) if self.variance == "shared" else _shrunk(moments, pooled)


_SMALLEST = 1e-12
"""Variances are at least this share of their mean: models that agree to the last digit are no certainty."""


@dataclass(frozen=True)
class Moments:
    """Of one side's models: their number [n, 1], the mean of their values and the sum of squares about it, [n, q]."""

    count: Array
    mean: Array
    squares: Array

    @property
    def shared_variance(self) -> Array | None:
        """The variance about each example's own mean, over all examples [1, q]; None with one model an example."""
        freedom = float((self.count - 1).sum())
        if freedom == 0:
            return None
        variance = self.squares.sum(0, keepdims=True) / freedom
        return np.where(variance > 0, variance, 1.0)


def _moments(values: Array, chosen: Included) -> Moments:
    """Sum over the chosen of m models, one model at a time, so that no [m, n, q] copy is made."""
    count = chosen.sum(0, dtype=np.float64)[:, None]
    mean = mean_of_chosen(values, chosen)
    squares = np.zeros_like(mean)
    for value, of_model in zip(values, chosen, strict=True):
        squares += np.where(of_model[:, None], value - mean, 0.0) ** 2
    return Moments(count, mean, squares)


def _shrunk(moments: Moments, shared: Array) -> Side:
    """Return the predictive distribution under the prior that the examples together suggest.

    Prior: 1 / variance ~ Gamma with `strength` degrees of freedom about 1 / `scale`, mean ~ N(centre, variance /
    weight).
    """
    count = moments.count
    centre = moments.mean.mean(0, keepdims=True)
    # the spread of the examples' means is that of the true means and the error of each
    spread = moments.mean.var(0, keepdims=True) - shared * float((1 / count).mean())
    weight = shared / np.maximum(spread, 1e-6 * shared)
    strength, scale = _variance_prior(moments, shared)
    mean = (weight * centre + count * moments.mean) / (weight + count)
    squares = moments.squares + weight * count / (weight + count) * (moments.mean - centre) ** 2
    # the prior's one mean adds a degree of freedom, whose square is the second term
    freedom = strength + count
    variance = (strength * scale + squares) / freedom * (1 + 1 / (weight + count))
    return Side(mean, variance, freedom)


def _variance_prior(moments: Moments, shared: Array) -> tuple[float, Array]:
    """Estimate how alike the examples' variances are: degrees of freedom of the prior, and its scale [1, q].

    Log variances vary by trigamma(d / 2) by chance, d being the degrees of freedom; what is left is the prior's
    (Smyth 2004, section 6.2). Without anything left the variances are equal.
    """
    most = 1e4
    d = float((moments.count - 1).mean())
    if d < 1:
        return most, shared
    own = moments.squares / np.maximum(moments.count - 1, 1)
    positive = own[(own > _SMALLEST * shared).all(1) & (moments.count[:, 0] > 1)]
    if len(positive) < 3:
        return most, shared
    logs = np.log(positive)
    left = float(logs.var(axis=0, ddof=1).mean()) - float(polygamma(1, d / 2))
    strength = min(most, 2 * _inverse_trigamma(left)) if left > 0 else most
    # mean of the log of a scaled F variable, solved for the scale
    bias = float(polygamma(0, d / 2)) - math.log(d / 2) - float(polygamma(0, strength / 2)) + math.log(strength / 2)
    return strength, np.exp(logs.mean(0, keepdims=True) - bias)


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(y) = value > 0 for y by Newton's method (Smyth 2004, appendix)."""
    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if -step / y < 1e-10:
            break
    return y
