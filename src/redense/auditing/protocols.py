"""Protocols of audits: where members and non-members come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProtocolName = Literal["all", "half", "given"]


@dataclass(frozen=True)
class Protocol:
    """Where members and non-members come from, as `says` says of the target, and `target` shortly, beside a phase.

    `of_runs` tells whether an audit of a run may follow it, `of_table` that its targets are the networks of the run's
    own table, and `drawn` that a fair coin, thrown for each example by itself, made it a member or not.
    """

    says: str
    target: str = ""
    of_runs: bool = False
    of_table: bool = False
    drawn: bool = False


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "all": Protocol(
        "trained on all training data, the test data being non-members",
        of_runs=True,
        of_table=True,
    ),
    "half": Protocol(
        "trained on a random half of all examples, the other half being non-members",
        "trained on a random half",
        of_runs=True,
        drawn=True,
    ),
    "given": Protocol("members and non-members as given"),
}
"""All protocols, in the order of tables."""
OF_RUNS = tuple(name for name, protocol in PROTOCOLS.items() if protocol.of_runs)
"""Those that an audit of a run may follow."""
FORMER: dict[str, ProtocolName] = {"reference": "all"}
"""What protocols were called before."""
