"""Which phases the settings of DSD ask for, and what these are counted in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from redense.dsd.loop import Unit
from redense.errors import RecipeError
from redense.methods import dsd
from redense.phases import Phase, chained


def three_phases(
    sparsity: float | None,
    epochs: Sequence[int] | None,
    steps: Sequence[int] | None,
    rates: tuple[float, ...],
    rounds: int,
    unit: Unit,
) -> tuple[tuple[Phase, ...], Unit]:
    """List the phases that the settings of dense, sparse and re-dense make, and what they are counted in."""
    if sparsity is None:
        raise RecipeError("got neither sparsity nor phases; expected sparsity=0.5, say, and epochs=(20, 10, 10)")
    if unit != "epochs":
        raise RecipeError(f"unit: got {unit!r} without phases; expected epochs=(...) or steps=(...), which say it")
    if (epochs is None) == (steps is None):
        raise RecipeError("got both or neither of epochs and steps; expected one: (dense, sparse, re-dense)")
    unit = "steps" if epochs is None else "epochs"
    lengths = tuple(epochs if epochs is not None else steps or ())
    return dsd(sparsity, lengths, rates, rounds, unit=unit), unit


def listed_phases(phases: Sequence[Phase], unit: Unit, three: Mapping[str, Any]) -> tuple[tuple[Phase, ...], Unit]:
    """Return a list of phases as they follow each other; raise for settings that have no place beside it."""
    plain = {"rounds": 1, "rates": (1.0, 1.0, 0.1)}
    beside = [name for name, value in three.items() if value != plain.get(name)]
    if beside:
        raise RecipeError(f"got phases and {', '.join(beside)}; expected phases alone, which say all of that")
    return chained(phases), unit


def told_plan(phases: Sequence[Phase], unit: Unit) -> str:
    """Tell phases apart for a state, rates included and without anybody's words."""
    return json.dumps({unit: [phase.to_columns() for phase in phases]})


def plan_in_words(phases: Sequence[Phase], unit: Unit) -> str:
    """List phases with their lengths.

    >>> plan_in_words(dsd(0.5, (2, 1, 1)), "epochs")
    'dense 2, sparse 50% 1, re-dense 50% 1 epochs'
    """
    return f"{', '.join(f'{phase.label} {phase.epochs}' for phase in phases)} {unit}"
