"""What tables and pictures of a protocol's audits have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redense.auditing.protocols import PROTOCOLS

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow


def lowest_rate(rows: Sequence[AuditRow]) -> float | None:
    """Return the lowest false-positive rate at which all of these audits tell a true-positive rate, if there is one.

    Targets of protocol `half` have their own numbers of non-members, and so may have other rates.
    """
    shown = [row.result.attacks[0].shown_rates.keys() for row in rows]
    return min(set.intersection(*map(set, shown)), default=None)


def primaries(rows: Sequence[AuditRow]) -> list[str]:
    """Name the attacks chosen beforehand: several where some phases lack the reference models of the best."""
    return list(dict.fromkeys(row.result.primary for row in rows))


def audited_name(row: AuditRow, rows: Sequence[AuditRow]) -> str:
    """Name an audited model among others: its phase, which target if not the table's, and of several seeds which."""
    target = PROTOCOLS[row.protocol].target
    seed = f", seed {row.seed}" if len({one.seed for one in rows}) > 1 else ""
    return f"{row.phase.label}{f', {target}' * bool(target)}{seed}"
