"""Does a phase leak more than another in a run's audits? Over seeds; with one seed, how two networks differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from redense.auditing.protocols import PROTOCOLS, ProtocolName
from redense.experiment.audit_rows import AuditRow, by_protocol
from redense.experiment.comparison import Comparison, about_leaks, contrasts_by_seed, over_seeds
from redense.experiment.equal_accuracy import compare_traces
from redense.methods import Method
from redense.metrics.paired import OF_SHARES, Range, auc_difference, normal_interval, within
from redense.metrics.spread import p_of_guessing
from redense.phases import Phase

Pairs = list[tuple[AuditRow, AuditRow]]
"""Rows of two phases, a pair a seed."""


def compare_audits(rows: Sequence[AuditRow], method: Method) -> list[Comparison]:
    """Compare all audits of a run: the AUC of the primary attack, and what targets give away at equal test accuracy.

    Protocol by protocol, between the phases that the method compares; p-values are not corrected yet. Phases whose
    primary attacks differ, since one lacks reference models, are not compared by their AUC. Targets of the protocol
    `all` are the run's own rows, whose curves are compared there.
    """
    pairs = _pairs(rows, method)
    curves = [
        compare_traces(
            first, second, [(one.trace, other.trace) for one, other in found], protocol, _without_leak(found)
        )
        for protocol, first, second, found in pairs
        if not PROTOCOLS[protocol].of_table
    ]
    alike = [each for each in pairs if len({row.result.primary for pair in each[3] for row in pair}) == 1]
    return [*(_compare_auc(*each) for each in alike), *curves]


def _compare_auc(protocol: ProtocolName, first: Phase, second: Phase, pairs: Pairs) -> Comparison:
    """Compare the AUC of the primary attack: over seeds, or, of two networks, over examples."""
    found = [_difference(one, other) for one, other in pairs]
    comparison = over_seeds("auc", first, second, [difference for difference, _ in found])
    comparison = about_leaks(comparison, _without_leak(pairs))
    interval = comparison.interval if len(found) > 1 else _over_examples(*found[0])
    attack = pairs[0][0].result.primary
    return dataclasses.replace(comparison, interval=interval, protocol=protocol, attack=attack)


def _without_leak(pairs: Pairs) -> tuple[float, float]:
    """Return the two phases' p-values of giving nothing away, by the AUC of the primary attack."""
    first, second = (_p_without_leak([pair[which] for pair in pairs]) for which in (0, 1))
    return first, second


def _p_without_leak(rows: Sequence[AuditRow]) -> float:
    results = [row.result for row in rows]
    primary = [result.attack(result.primary) for result in results]
    reaches = [attack.auc - attack.auc_interval[0] for attack in primary]
    return p_of_guessing([attack.auc for attack in primary], reaches, results[0].confidence)


def _over_examples(difference: float, error: float) -> Range | None:
    """Return the interval of a difference of areas; all that is possible where a side has one example alone."""
    found = normal_interval(difference, error)
    return None if found is None else within(found, OF_SHARES)


def _difference(one: AuditRow, other: AuditRow) -> tuple[float, float]:
    """Compare two audits of a run on the examples that count, which are the same in both."""
    counts = ~np.isnan(one.risks)
    return auc_difference(one.risks[counts], other.risks[counts], one.members[counts])


def _pairs(rows: Sequence[AuditRow], method: Method) -> list[tuple[ProtocolName, Phase, Phase, Pairs]]:
    """Pair rows of the same protocol and seed: (protocol, first, second, a pair a seed)."""
    found: list[tuple[ProtocolName, Phase, Phase, Pairs]] = []
    for protocol, of_protocol in by_protocol(rows).items():
        known = {(row.phase, row.seed): row for row in of_protocol}
        for first, second, seeds in contrasts_by_seed(known.keys(), method):
            found.append((protocol, first, second, [(known[first, seed], known[second, seed]) for seed in seeds]))
    return found
