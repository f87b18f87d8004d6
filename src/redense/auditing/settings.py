"""The settings of an audit, once for Python and for the command line.

Command-line help reads them, so what checks them is imported where that is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_args

from typing_extensions import Doc

from redense.arguments import Delta, SharedConfidence, validated
from redense.auditing.attacks import FAMILIES
from redense.errors import RecipeError
from redense.text import did_you_mean

Families = Annotated[
    tuple[str, ...],
    Doc(f"Which families of attacks to make, of {', '.join(FAMILIES)}; by default all. Those that lack what they need "
        "are left out. Of a run, by default those that it was asked for."),
]  # fmt: skip
SHRUNK = "shrunk"


@validated(RecipeError)
@dataclass(frozen=True)
class AuditSettings:
    """What an audit attacks with, and what its figures are about; `attacks` are families, by default all.

    Raises `RecipeError` for attacks that do not exist and for values out of range.

    >>> AuditSettings(attacks=("lira",), confidence=0.9).families
    ('lira',)
    >>> AuditSettings().families == FAMILIES
    True
    """

    attacks: Families = ()
    confidence: SharedConfidence = 0.95
    """Of all intervals."""
    delta: Delta = 0.0
    """Delta of the differential privacy that an epsilon is about."""
    randomized: bool = False
    """An independent fair coin put each of all these examples into the training data or not: then the audit's primary
    attack has an epsilon that this one training proves. Nobody but you knows: a training and a test set that somebody
    else drew, or halves of exactly the same size, are not randomized. Of a run, the halves of the protocol half are
    known to be drawn so."""
    variance: str = SHRUNK
    """How LiRA estimates variances: example, shared or shrunk."""

    def __post_init__(self) -> None:
        for name in self.attacks:
            if name not in FAMILIES:
                raise RecipeError(
                    f"attacks: got {name!r}{did_you_mean(name, FAMILIES)}; expected some of {', '.join(FAMILIES)}"
                )
        if self.variance != SHRUNK:  # the attacks' module is heavy, and the default needs no check
            from redense.attacks.lira import Variance

            if self.variance not in get_args(Variance):
                known = ", ".join(get_args(Variance))
                raise RecipeError(f"variance: got {self.variance!r}; expected one of {known}")

    @property
    def families(self) -> tuple[str, ...]:
        """The families of attacks to make: those asked for, else all."""
        return self.attacks or FAMILIES
