"""A phase of training, and the clock that tells which phase is running."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redense.errors import RecipeError
from redense.files.reading import field, fields
from redense.text import percent

PhaseKind = Literal["dense", "sparse", "redense", "control"]
NAMES: dict[PhaseKind, str] = {"dense": "dense", "sparse": "sparse", "redense": "re-dense", "control": "control"}
"""Kinds of phases in a person's words."""


@dataclass(frozen=True)
class Phase:
    """One phase of training.

    `kind` says what happens at its start and during it:

    - ``dense``: nothing is masked;
    - ``sparse``: the smallest weights are set to zero and stay zero to the end of the phase;
    - ``redense``: the mask is dropped; pruned weights start again from zero;
    - ``control``: training goes on as in the phase that it stands `beside`, without any mask.

    `epochs` is its length, in optimizer steps where `redense.DSD` counts these; `rate` the factor on the learning rate.
    `sparsity` is the fraction of zeros asked for (None in ``dense`` and ``control``; in ``redense``, that of the
    sparse phase before it), `round` 0 for the dense phase and 1, 2, ... for the phases that repeat. `lineage` is the
    chain that it belongs to: the method's name, or that of a control (the dense phase, which all chains share, counts
    as the method's). `beside` is, of a control, the phase of the method that ends after as many epochs.
    """

    kind: PhaseKind
    epochs: int
    rate: float
    sparsity: float | None
    round: int
    lineage: str = "dsd"
    beside: PhaseKind | None = None

    @property
    def label(self) -> str:
        """The phase in a person's words.

        >>> Phase("redense", epochs=10, rate=0.1, sparsity=0.3, round=1).label
        're-dense 30%'
        """
        rounds = f" (round {self.round})" if self.round > 1 else ""
        if self.beside is not None:
            return f"{self.lineage} beside {NAMES[self.beside]}{rounds}"
        if self.sparsity is None:
            return NAMES[self.kind]
        return f"{NAMES[self.kind]} {percent(self.sparsity)}{rounds}"

    @property
    def series(self) -> str:
        """What it is called together with its like of other sparsities and rounds."""
        return self.lineage if self.kind == "control" else NAMES[self.kind]

    def to_columns(self) -> dict[str, Any]:
        """Return the fields as the columns of a flat row, in which the kind is called ``phase``.

        >>> Phase("dense", 10, 1.0, None, 0).to_columns()["phase"]
        'dense'
        """
        values = dataclasses.asdict(self)
        return {name: values["kind" if name == "phase" else name] for name in COLUMNS}

    @classmethod
    def from_columns(cls, row: Mapping[str, Any]) -> Phase:
        """Undo `to_columns`; other columns of the row are left alone. Raises `redense.files.reading.Unfit`."""
        return fields(cls, {"kind" if name == "phase" else name: field(row, name) for name in COLUMNS})


COLUMNS = ("lineage", "phase", "sparsity", "rate", "beside", "round", "epochs")
"""What a phase is called in rows of JSON and CSV."""


def total(phases: Sequence[Phase]) -> int:
    """Return the epochs (or steps) of all phases together."""
    return sum(phase.epochs for phase in phases)


def check_fill(phases: Sequence[Phase], unit: str, planned: float | None, trainer: str) -> None:
    """Raise `RecipeError` unless the phases take as many epochs (or steps) as a framework's trainer makes.

    >>> check_fill([Phase("dense", 3, 1.0, None, 0)], "epochs", 3, "fit")
    """
    if total(phases) != planned:
        raise RecipeError(
            f"DSDCallback: the phases take {total(phases)} {unit}, {trainer} makes {planned}; make them equal"
        )


def running(phases: Sequence[Phase], progress: int) -> tuple[Phase, int]:
    """Return which phase is running after `progress` epochs (or steps) of all, and how many of its own are over.

    At the end it is the last phase, all of it over.

    >>> phase, since = running([Phase("dense", 2, 1.0, None, 0), Phase("sparse", 3, 1.0, 0.5, 1)], 3)
    >>> phase.label, since
    ('sparse 50%', 1)
    """
    since = progress
    for phase in phases:
        if since < phase.epochs:
            return phase, since
        since -= phase.epochs
    return phases[-1], phases[-1].epochs
