"""A run's audits by protocol, for tables and pictures alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow


def by_protocol(rows: Iterable[AuditRow]) -> dict[str, list[AuditRow]]:
    """Gather rows by protocol, in the order in which protocols come."""
    found: dict[str, list[AuditRow]] = {}
    for row in rows:
        found.setdefault(row.protocol, []).append(row)
    return found


def lowest_rate(rows: Sequence[AuditRow]) -> float | None:
    """Return the lowest false-positive rate at which all of these audits tell a true-positive rate, if there is one.

    Targets of protocol `half` have their own numbers of non-members, and so may have other rates.
    """
    shown = [row.result.attacks[0].shown_rates.keys() for row in rows]
    return min(set.intersection(*map(set, shown)), default=None)


def primaries(rows: Sequence[AuditRow]) -> list[str]:
    """Name the attacks chosen beforehand: several where some phases lack the reference models of the best."""
    return list(dict.fromkeys(row.result.primary for row in rows))
