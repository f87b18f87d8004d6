"""Protocols of audits: where members and non-members come from."""

from __future__ import annotations

from typing import Literal

Protocol = Literal["all", "half", "given"]
PROTOCOLS: dict[Protocol, str] = {
    "all": "trained on all training data, the test data being non-members",
    "half": "trained on a random half of all examples, the other half being non-members",
    "given": "members and non-members as given",
}
"""What each says of the target."""
OF_RUNS: tuple[Protocol, ...] = ("all", "half")
"""Those that an audit of a run may follow."""
FORMER: dict[str, Protocol] = {"reference": "all"}
"""What protocols were called before."""
