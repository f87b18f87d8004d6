"""Replicates: each of R models the target in turn, attacked by others of the R. How sure their mean is. Arrays in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from redense.errors import ArgumentError
from redense.metrics.paired import ANYTHING, NO_SPREAD, Range, within
from redense.metrics.roc import Array

FEWEST_PAIRS = 3
"""With two, a model would be attacked by none of the others when a pair is left out."""
DESCRIBED_FROM = 8
"""Models, each the target in turn, from which means are described."""
CLAIMED_FROM = 16
"""Models from which something is claimed about a difference of means."""


@dataclass(frozen=True)
class ReplicatedMean:
    """The mean of a figure, or of the difference of two phases' figures, over R models in complementary pairs.

    - `interval`: of the mean over all groups of R models that could have been trained from these examples;
    - `p`: two-sided, of "that mean is 0";
    - `prediction`: the interval for one model trained once more, on a random half, and attacked by as many others.

    All three are None where the models do not vary.
    """

    replicates: int
    mean: float
    interval: tuple[float, float] | None
    p: float | None
    prediction: tuple[float, float] | None


def pair_jackknife(values: Array, confidence: float = 0.95, possible: Range = ANYTHING) -> ReplicatedMean:
    """Return the mean over R models and how sure it is, from a figure of each without each pair, float [R, R/2].

    Models 2k and 2k + 1 are pair k, trained on complementary halves. `values[r, k]` is what model r gives away when
    it is attacked by all models but its own pair and pair k; `values[r, r // 2]` thus by all but its own pair, and the
    mean of these is the estimate. The R figures share reference models, so that a t-interval over them is too narrow
    (it held in 85% with 8 models and 90% with 16); the pairs are independent. So the whole mean is made again without
    each pair, whose two models are then neither targets nor reference models: the jackknife, whose variance is too
    large rather than too small. Student's t has R/2 - 1 degrees of freedom.

    For two phases give `second - first`, [R, R/2]: paired by model. Intervals end where figures are no longer
    `possible`.

    Sources: Efron & Stein, "The jackknife estimate of variance", Annals of Statistics 1981; that no unbiased estimate
    exists where the same models train and judge: Bengio & Grandvalet, "No unbiased estimator of the variance of K-fold
    cross-validation", JMLR 2004.

    Raises `ArgumentError` unless values are finite, [R, R/2] with R/2 of at least 3.

    >>> generator = np.random.default_rng(0)
    >>> of_model = generator.normal(1.0, 0.1, size=16)
    >>> found = pair_jackknife(np.repeat(of_model[:, None], 8, axis=1))  # reference models without any influence
    >>> round(found.mean, 2), [round(end, 2) for end in found.interval], found.p < 0.001
    (0.97, [0.91, 1.04], True)
    """
    pairs = _checked(values)
    by_pair = values.reshape(pairs, 2, pairs).mean(axis=1)  # [of the targets, left out]
    own = np.diagonal(by_pair)
    mean = float(own.mean())
    without = (by_pair.sum(axis=0) - own) / (pairs - 1)
    error = math.sqrt((pairs - 1) / pairs * float(((without - without.mean()) ** 2).sum()))
    each = values[np.arange(2 * pairs), np.arange(2 * pairs) // 2]
    if error < NO_SPREAD:
        return ReplicatedMean(2 * pairs, mean, None, None, None)
    freedom = pairs - 1
    t = float(stdtrit(freedom, 0.5 + confidence / 2))
    once_more = math.hypot(float(each.std(ddof=1)), error)
    return ReplicatedMean(
        replicates=2 * pairs,
        mean=mean,
        interval=within((mean - t * error, mean + t * error), possible),
        p=2 * float(stdtr(freedom, -abs(mean) / error)),
        prediction=within((mean - t * once_more, mean + t * once_more), possible),
    )


def _checked(values: Array) -> int:
    """Return the number of pairs, or raise `ArgumentError` with what is wrong."""
    if values.ndim != 2 or values.shape[0] != 2 * values.shape[1] or values.shape[1] < FEWEST_PAIRS:
        raise ArgumentError(
            f"values: got {values.shape}; expected [R, R/2] with R of at least {2 * FEWEST_PAIRS}: a figure of each "
            "model, without each pair"
        )
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise ArgumentError(f"values: {wrong} of {values.size} are NaN or infinite; expected numbers")
    return int(values.shape[1])
