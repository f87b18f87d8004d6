"""What pictures show of a run, and how each phase looks in all of them, those of the page and PNGs alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from redense.methods import CONTROLS, control_of
from redense.metrics.roc import Array
from redense.phases import Phase, PhaseKind

if TYPE_CHECKING:
    from redense.experiment.recipe import Recipe
    from redense.experiment.results import Results

SPARSITY, AND_NONE = "sparsity", "sparsity (at the right: never sparse)"
"""What pictures call an axis of sparsities, where phases without one stand beside them."""
LOOKS = {"dense": 0, "sparse": 1, "redense": 2}
ON_THE_WAY = len(LOOKS) + len(CONTROLS)
"""The look of a control's phase beside a sparse one, which for most methods another phase of it follows."""


def look(phase: Phase) -> int:
    """Return the look of a phase, colour, line and marker together: the same in every chart, and no other phase's.

    Only sparsities and rounds share one.
    """
    if phase.kind != "control":
        return LOOKS[phase.kind]
    control = control_of(phase)
    if control.beside_each and phase.beside == "sparse":
        return ON_THE_WAY
    return len(LOOKS) + list(CONTROLS.values()).index(control)


def of_all_rounds(phase: Phase) -> str:
    """Call a phase as it is called in all of its rounds, which share an entry of a chart's legend."""
    return replace(phase, round=0).label


def drawn(phases: Iterable[Phase], recipe: Recipe) -> tuple[dict[PhaseKind, list[Phase]], list[Phase]]:
    """Choose what pictures against sparsity show: what is pruned, by kind, and what has no sparsity.

    Of several rounds at a sparsity that is the last, in the order of sparsities; of controls the end of their budget.
    """
    known = list(phases)
    pruned: dict[PhaseKind, list[Phase]] = {}
    for kind in dict.fromkeys(phase.kind for phase in known if phase.sparsity is not None):
        in_order = sorted((phase for phase in known if phase.kind == kind), key=lambda phase: phase.round)
        latest = {phase.sparsity or 0.0: phase for phase in in_order}
        pruned[kind] = [latest[sparsity] for sparsity in sorted(latest)]
    return pruned, [phase for phase in known if phase.kind == "dense" or recipe.is_beside_final(phase)]


def marker(phase: Phase, results: Results) -> int:
    """Return the marker of a phase where all sparsities are in one picture: its own, of several the sparsity's."""
    sparsities = results.recipe.sparsities
    if phase.sparsity is None or len(sparsities) == 1:
        return look(phase)
    return 1 + sparsities.index(phase.sparsity)


def begin_outside(points: Mapping[str, Array], ends: tuple[tuple[float, float], tuple[float, float]]) -> list[str]:
    """Name the lines, [epochs, 2] each, whose first epoch lies outside a picture with these ends."""
    (left, right), (low, high) = ends
    return [name for name, found in points.items() if not (left <= found[0, 0] <= right and low <= found[0, 1] <= high)]


def in_view(points: Mapping[Phase, Array]) -> Array:
    """Choose which of the phases' epochs, [epochs, 2] each, a picture has to have room for: [n, 2].

    The dense phase's would take most of it: of these the last is enough, where there are other phases.
    """
    later = [found for phase, found in points.items() if phase.kind != "dense"]
    first = [found[-1:] for phase, found in points.items() if phase.kind == "dense"]
    return np.concatenate([*later, *first] if later else list(points.values()))
