"""Resampling examples: how figures would vary with other members and non-members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from redense.arguments import Confidence, Count, Numbers, Rate, at_most, validated
from redense.errors import ArgumentError
from redense.metrics.roc import Array, IsMember, Scores, allowed_at, checked

Resampled = Annotated[Array, Numbers("[b]", (1,), finite=True)]


@validated()
@dataclass(frozen=True)
class Bootstrap:
    """Figures of b resamples: `auc` [b] and `tpr` [b, f] at the f false-positive rates that were asked for."""

    auc: Annotated[Array, Numbers("[b]", (1,))]
    tpr: Annotated[Array, Numbers("[b, f]", (2,))]

    @validated()
    def interval(self, values: Resampled, confidence: Confidence = 0.95) -> tuple[float, float]:
        """Return the percentile interval of values [b]."""
        if not len(values):
            raise ArgumentError("values: got none; expected one or more")
        tail = (1 - confidence) / 2
        low, high = np.quantile(values, (tail, 1 - tail))
        return float(low), float(high)


@validated()
def bootstrap(
    scores: Scores,
    members: IsMember,
    *,
    fprs: Sequence[Rate] = (0.01,),
    repeats: Annotated[int, at_most(10_000_000)] = 1000,
    seed: Count = 0,
) -> Bootstrap:
    """Draw members [M] and non-members [N] anew `repeats` times, each with replacement, and measure each time.

    Scores are sorted once. A resample is then a count of drawn non-members and of drawn members by their place among
    the non-members, and two running sums: O(M + N) without another sort. Ties are exact.

    >>> scores = np.arange(200.0)
    >>> result = bootstrap(scores, scores % 2 == 1, repeats=50)
    >>> result.auc.shape, result.tpr.shape
    ((50,), (50, 1))
    """
    scores, members = checked(scores, members)
    # the distinct scores of non-members, highest first, and which of them each non-member has
    levels, of_nonmember = np.unique(-scores[~members], return_inverse=True)
    nonmember_level = of_nonmember.astype(np.int32)
    # how many levels of non-members lie strictly above a member's score, and at or above it
    above = np.searchsorted(levels, -scores[members], side="left").astype(np.int32)
    at_or_above = np.searchsorted(levels, -scores[members], side="right").astype(np.int32)
    # members with equal counts are interchangeable: code both numbers as one
    codes = above * 2 + (at_or_above > above)
    generator = np.random.default_rng(seed)
    number, others, count = len(codes), len(nonmember_level), len(levels)
    allowed = [allowed_at(fpr, others) for fpr in fprs]
    areas, rates = np.empty(repeats), np.empty((repeats, len(allowed)))
    for repeat in range(repeats):
        drawn = nonmember_level[generator.integers(0, others, others, dtype=np.int32)]
        running = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(np.bincount(drawn, minlength=count), out=running[1:])
        mine = np.bincount(codes[generator.integers(0, number, number, dtype=np.int32)], minlength=2 * count + 2)
        strictly, tied = mine[0::2], mine[1::2]
        halves = 2 * others - running - np.append(running[1:], others)  # twice the wins, when tied with a level
        areas[repeat] = (strictly @ (others - running) + tied @ halves / 2) / (number * others)
        # guessing "member" down to a level includes members tied with it and all strictly above it
        reached = np.cumsum(strictly)
        reached[1:] += np.cumsum(tied)[:-1]
        rates[repeat] = [reached[np.searchsorted(running, most, side="right") - 1] / number for most in allowed]
    return Bootstrap(areas, rates)
