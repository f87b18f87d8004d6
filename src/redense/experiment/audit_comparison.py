"""Does a phase leak more than another? Paired over the same examples, or over seeds, and at equal test accuracy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from redense.attacks.references import Array
from redense.auditing.audit import example_risks
from redense.experiment.audit_rows import AuditRow
from redense.experiment.equal_accuracy import EqualAccuracy, compare_traces, half_width
from redense.metrics.roc import Members
from redense.phases import contrasts_by_seed


@dataclass(frozen=True)
class Comparison:
    """How much higher the primary attack's AUC is after `second` than after `first`, with its 95% interval."""

    protocol: str
    first: str
    second: str
    attack: str
    difference: float
    interval: tuple[float, float]
    seeds: int

    @property
    def sentence(self) -> str:
        """The comparison in words.

        >>> Comparison("half", "dense", "re-dense 50%", "LiRA online", 0.02, (0.01, 0.03), 1).sentence
        're-dense 50% leaks more than dense: AUC of LiRA online +0.0200 [+0.0100, +0.0300], half, 1 seed.'
        """
        low, high = self.interval
        if low > 0:
            says = f"{self.second} leaks more than {self.first}"
        elif high < 0:
            says = f"{self.second} leaks less than {self.first}"
        else:
            says = f"no difference between {self.second} and {self.first} that this audit can show"
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        return (
            f"{says}: AUC of {self.attack} {self.difference:+.4f} [{low:+.4f}, {high:+.4f}], {self.protocol}, {seeds}."
        )


def auc_difference(first: Array, second: Array, members: Members) -> tuple[float, float]:
    """Return AUC(second) - AUC(first) on the same n examples, and its standard error (DeLong et al. 1988).

    `first` and `second` are scores [n]; what two attacks or models have in common cancels out.

    >>> import numpy as np
    >>> scores = np.array([3.0, 1.0, 2.0, 0.0])
    >>> auc_difference(scores, scores, np.array([True, True, False, False]))
    (0.0, 0.0)
    """
    differences, variance = [], 0.0
    for side in (members, ~members):
        changes = (example_risks(second, side) - example_risks(first, side))[side]
        differences.append(float(changes.mean()))
        variance += float(changes.var(ddof=1)) / len(changes) if len(changes) > 1 else math.inf
    return (differences[0] - differences[1]) / 2, math.sqrt(variance)


def compare(rows: Sequence[AuditRow]) -> list[Comparison]:
    """Compare the phases that stand against each other, by protocol and sparsity.

    With one seed the interval is over examples, with several over seeds (Student's t).
    """
    comparisons = []
    for protocol, first, second, pairs in _pairs(rows):
        found = [auc_difference(one.risks, other.risks, one.members) for one, other in pairs]
        differences = [difference for difference, _ in found]
        reach = half_width(differences, [error for _, error in found])
        mean = statistics.fmean(differences)
        attack = pairs[0][0].result.primary
        comparisons.append(Comparison(protocol, first, second, attack, mean, (mean - reach, mean + reach), len(pairs)))
    return comparisons


def compare_at_equal_accuracy(rows: Sequence[AuditRow]) -> list[EqualAccuracy]:
    """Compare the confidence attack's inference accuracy at epochs of equal test accuracy."""
    return [
        compare_traces(first, second, [(one.trace, other.trace) for one, other in pairs], protocol)
        for protocol, first, second, pairs in _pairs(rows)
    ]


def _pairs(rows: Sequence[AuditRow]) -> list[tuple[str, str, str, list[tuple[AuditRow, AuditRow]]]]:
    """Pair rows of the same protocol and seed: (protocol, first label, second label, a pair a seed)."""
    found: list[tuple[str, str, str, list[tuple[AuditRow, AuditRow]]]] = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        known = {(row.phase, row.seed): row for row in rows if row.protocol == protocol}
        for first, second, seeds in contrasts_by_seed(known.keys()):
            pairs = [(known[first, seed], known[second, seed]) for seed in seeds]
            found.append((protocol, first.label, second.label, pairs))
    return found
