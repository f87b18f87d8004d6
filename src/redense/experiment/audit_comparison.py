"""Does a phase leak more than another in a run's audits? Paired over the same examples, or over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from redense.experiment.audit_rows import AuditRow
from redense.experiment.comparison import Comparison, contrasts_by_seed
from redense.experiment.equal_accuracy import compare_traces
from redense.methods import Method
from redense.metrics.paired import auc_difference, mean_interval
from redense.phases import Phase

Pairs = list[tuple[AuditRow, AuditRow]]
"""Rows of two phases, a pair a seed."""


def compare_audits(rows: Sequence[AuditRow], method: Method) -> list[Comparison]:
    """Compare the AUC of the primary attack between the phases that the method compares, by protocol.

    With one seed the interval is over examples, with several over seeds (Student's t).
    """
    comparisons = []
    for protocol, first, second, pairs in _pairs(rows, method):
        found = [auc_difference(one.risks, other.risks, one.members) for one, other in pairs]
        differences = [difference for difference, _ in found]
        comparisons.append(
            Comparison(
                "auc",
                first,
                second,
                len(pairs),
                statistics.fmean(differences),
                mean_interval(differences, [error for _, error in found]),
                protocol=protocol,
                attack=pairs[0][0].result.primary,
            )
        )
    return comparisons


def compare_audits_at_equal_accuracy(rows: Sequence[AuditRow], method: Method) -> list[Comparison]:
    """Compare the confidence attack's inference accuracy at epochs of equal test accuracy."""
    return [
        compare_traces(first, second, [(one.trace, other.trace) for one, other in pairs], protocol)
        for protocol, first, second, pairs in _pairs(rows, method)
    ]


def _pairs(rows: Sequence[AuditRow], method: Method) -> list[tuple[str, Phase, Phase, Pairs]]:
    """Pair rows of the same protocol and seed: (protocol, first, second, a pair a seed)."""
    found: list[tuple[str, Phase, Phase, Pairs]] = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        known = {(row.phase, row.seed): row for row in rows if row.protocol == protocol}
        for first, second, seeds in contrasts_by_seed(known.keys(), method):
            found.append((protocol, first, second, [(known[first, seed], known[second, seed]) for seed in seeds]))
    return found
