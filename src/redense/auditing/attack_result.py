"""What one attack reaches, every figure with how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from redense.arguments import NotNegative, Rate, Shares, validated
from redense.errors import DataError
from redense.files.reading import check, fields, mapping
from redense.metrics.accuracy import accuracy_interval, balanced_accuracy_interval_of, cross_fitted_counts
from redense.metrics.intervals import (
    OperatingPoint,
    auc_interval_and_p_value,
    cross_fitted_accuracy,
    split_halves,
)
from redense.metrics.roc import Array, Halves, Members, Roc
from redense.metrics.tpr import point_at_fpr

FPRS = (0.1, 0.01, 0.001, 0.0001)
FEWEST_FALSE_POSITIVES = 10
"""A rate is shown when at least so many of the non-members may exceed the threshold. With 10 the true rate may be
up to 1.84 times what is asked for, with 1 up to 5.6 times (Clopper-Pearson)."""
TOP_SHARE = 0.01
CURVE_POINTS = 160
TESTS = 2
"""p-values that every attack gets: of the area, and of the share of members among the highest scores."""


@validated(DataError)
@dataclass(frozen=True)
class RateAt:
    """The true-positive rate at a false-positive rate that was asked for, or why there is none."""

    fpr: Rate
    point: OperatingPoint | None
    refusal: str | None

    @classmethod
    def from_mapping(cls, values: Any) -> RateAt:
        """Make one of values of JSON, which has None for an infinite threshold; raise `Unread` for anything else."""
        own, made = dict(mapping(values)), {}
        point = own.get("point")
        if isinstance(point, Mapping) and "threshold" in point and point["threshold"] is None:
            others = {name: value for name, value in point.items() if name != "threshold"}
            made["point"] = fields(OperatingPoint, others, threshold=math.inf)
            del own["point"]
        found = fields(cls, own, **made)
        expected = "one without a point"
        check((found.refusal is None) == (found.point is not None), found.refusal, "refusal", expected)
        return found


@validated(DataError)
@dataclass(frozen=True)
class AttackResult:
    """An attack's figures. Rates, areas and accuracies lie in [0, 1]; intervals hold the true value in 95% of audits.

    - `auc`: P(a member's score is higher than a non-member's), DeLong's interval;
    - `accuracy`: balanced accuracy at thresholds learnt on reference models or on the other half of the examples; the
      interval is about these very thresholds on fresh examples;
    - `oracle_accuracy`: at the best threshold for these very examples, and `advantage` = 2 oracle_accuracy - 1;
    - `rates`: true-positive rates at low false-positive rates, the noise of the thresholds in their intervals;
    - `epsilon`: of differential privacy, what this one training proves (`one_run_epsilon_of_scores`); None unless an
      independent fair coin put each example in, and for all but the audit's `primary` attack, chosen beforehand;
    - `p_value`: of no leak, over the area and the top hundredth of scores, Bonferroni's correction included.
    """

    attack: str
    auc: Rate
    auc_interval: Shares
    accuracy: Rate
    accuracy_interval: Shares
    oracle_accuracy: Rate
    oracle_interval: Shares
    advantage: Rate
    rates: tuple[RateAt, ...]
    epsilon: NotNegative | None
    p_value: Rate

    @property
    def shown_rates(self) -> dict[float, OperatingPoint]:
        """The points of `rates` for which there are enough non-members, by false-positive rate, highest first."""
        return {rate.fpr: rate.point for rate in self.rates if rate.point is not None}


def evaluate(
    attack: str,
    scores: Array,
    members: Members,
    *,
    decides: bool,
    first: Members | None = None,
    confidence: float = 0.95,
) -> tuple[AttackResult, Roc]:
    """Hold an attack's scores [n] against members bool [n]; return its figures and its ROC curve.

    With `decides`, 0 is the attack's own threshold. `first` bool [n] parts the examples into halves, one of which
    judges thresholds that are chosen on the other; by default as `split_halves` does. Whether the scores prove an
    epsilon depends on how members were drawn, so it is None here.
    """
    halves = Halves.of(scores, members, split_halves(members) if first is None else first)
    curve = halves.whole
    auc_interval, auc_p_value = auc_interval_and_p_value(curve, confidence)
    accuracy, interval = judged(halves, members, scores >= 0 if decides else None, confidence)
    result = AttackResult(
        attack=attack,
        auc=curve.auc,
        auc_interval=auc_interval,
        accuracy=accuracy,
        accuracy_interval=interval,
        oracle_accuracy=curve.balanced_accuracy,
        oracle_interval=balanced_accuracy_interval_of(halves, confidence),
        advantage=2 * curve.balanced_accuracy - 1,
        rates=tuple(rate_at(curve, fpr, confidence) for fpr in FPRS),
        epsilon=None,
        p_value=min(1.0, TESTS * min(auc_p_value, top_p_value(curve))),
    )
    return result, curve


def judged(
    halves: Halves, members: Members, guesses: Members | None, confidence: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Return the balanced accuracy of learnt thresholds and its interval: see `accuracy_interval`.

    `guesses` bool [n] are an attack's own; without them either half of the examples is judged by the best threshold of
    the other, where both have members and non-members.
    """
    if guesses is None and not halves.comparable:
        return 0.5, (0.0, 1.0)
    found, accused = cross_fitted_counts(halves) if guesses is None else _counts(guesses, members)
    interval = accuracy_interval(found, halves.whole.members, accused, halves.whole.nonmembers, confidence)
    return judged_accuracy(halves, members, guesses), interval


def judged_accuracy(halves: Halves, members: Members, guesses: Members | None) -> float:
    """Return the balanced accuracy that `judged` gives an interval."""
    if guesses is None:
        return cross_fitted_accuracy(halves)
    found, accused = _counts(guesses, members)
    return (found / halves.whole.members + 1 - accused / halves.whole.nonmembers) / 2


def _counts(guesses: Members, members: Members) -> tuple[int, int]:
    """Return how many members and how many non-members are guessed to be members."""
    return int(guesses[members].sum()), int(guesses[~members].sum())


def rate_at(curve: Roc, fpr: float, confidence: float = 0.95) -> RateAt:
    """Return the true-positive rate at a false-positive rate, or a refusal where there are too few non-members."""
    needed = nonmembers_needed(fpr)
    if curve.nonmembers < needed:
        return RateAt(fpr, None, f"needs {needed:,} non-members, got {curve.nonmembers:,}")
    return RateAt(fpr, point_at_fpr(curve, fpr, confidence), None)


def nonmembers_needed(fpr: float) -> int:
    """Return from how many non-members a false-positive rate is shown: `FEWEST_FALSE_POSITIVES` of them exceed it.

    >>> nonmembers_needed(0.1), nonmembers_needed(0.001)
    (100, 10000)
    """
    return int(np.ceil(FEWEST_FALSE_POSITIVES / fpr * (1 - 1e-12)))


def top_p_value(curve: Roc) -> float:
    """Return the one-sided p-value of so many members among the highest hundredth of all scores.

    Without a leak their number is hypergeometric, whatever the scores (Fisher's exact test). The hundredth is chosen
    without regard to membership, and grows to the end of a tie.
    """
    from scipy.stats import hypergeom  # slow to load, and reading results needs none

    guesses = curve.true_positives + curve.false_positives
    index = int(np.searchsorted(guesses, max(1, round(TOP_SHARE * guesses[-1]))))
    found = int(curve.true_positives[index])
    return float(hypergeom.sf(found - 1, curve.members + curve.nonmembers, curve.members, int(guesses[index])))


def thinned_curve(curve: Roc) -> tuple[list[float], list[float]]:
    """Return false- and true-positive rates of at most `CURVE_POINTS` points, evenly spread on a logarithmic scale."""
    wanted = np.geomspace(1, max(2, curve.nonmembers), CURVE_POINTS) / curve.nonmembers
    last = np.searchsorted(curve.fpr, wanted * (1 + 1e-12), side="right") - 1
    indices = np.unique(np.concatenate(([0], last, [len(curve.fpr) - 1])))
    return curve.fpr[indices].tolist(), curve.tpr[indices].tolist()
