"""Protocols of audits: where members and non-members come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from redense.data.members import Role

ProtocolName = Literal["all", "half", "given"]


@dataclass(frozen=True)
class Protocol:
    """Where members and non-members come from, as `says` says of the target, and `target` shortly, beside a phase.

    `of_runs` tells whether an audit of a run, whose reference models are drawn without regard to targets, may follow
    it; the targets are trained on member sets of `role`, or without any are the networks of the run's own table.
    `drawn` tells that a fair coin, thrown for each example by itself, made it a member or not.
    """

    says: str
    target: str = ""
    of_runs: bool = False
    role: Role | None = None
    drawn: bool = False

    @property
    def of_table(self) -> bool:
        """Whether its targets are the networks of a run's own table."""
        return self.of_runs and self.role is None


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "all": Protocol(
        "trained on all training data, the test data being non-members",
        of_runs=True,
    ),
    "half": Protocol(
        "trained on a random half of all examples, the other half being non-members",
        "trained on a random half",
        of_runs=True,
        role="target",
        drawn=True,
    ),
    "given": Protocol("members and non-members as given"),
}
"""All protocols, in the order of tables."""
OF_RUNS = tuple(name for name, protocol in PROTOCOLS.items() if protocol.of_runs)
"""Those that an audit of a run may follow."""
OF_TABLE = tuple(name for name in OF_RUNS if PROTOCOLS[name].of_table)
"""Those of them whose targets are the networks of the run's own table."""
AS_REFERENCES = next(name for name in OF_RUNS if PROTOCOLS[name].drawn)
"""The one whose targets are trained as reference models are: on what a fair coin drew for them."""
FORMER: dict[str, ProtocolName] = {"reference": "all"}
"""What protocols were called before."""


def of_role(role: Role | None) -> ProtocolName | None:
    """Return the protocol of runs whose targets have member sets of a role (None: no member set), if there is one.

    >>> of_role(None), of_role("target"), of_role("reference")
    ('all', 'half', None)
    """
    return next((name for name in OF_RUNS if PROTOCOLS[name].role == role), None)
