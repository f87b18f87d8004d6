"""Charts of weights: their histograms through the phases, and how many each tensor keeps."""

from __future__ import annotations

import numpy as np

from redense.experiment.report.looks import LOOKS
from redense.experiment.shown import Shown, State, Weights
from redense.page.chart import Axis, Chart, Series, View
from redense.phases import NAMES
from redense.text import percent

ALL = "all prunable weights"
PRUNED = 4
"""The look of a dense network's weights that a mask has just been laid on."""


def weight_charts(shown: Shown) -> list[Chart]:
    """Draw the histograms of every tensor, a view a tensor and sparsity, and the share of weights kept."""
    states = shown.weights[0].states if shown.weights else ()
    sparsities = sorted({state.phase.sparsity for state in states if state.phase.sparsity is not None})
    if not sparsities:  # nothing is pruned, or damaged checkpoints end every chain before that
        return []
    views = [_histograms(weights, sparsity) for sparsity in sparsities for weights in shown.weights]
    caption = (
        f"How many weights have which value, seed {shown.seed}. {_story(shown)}Weights that are exactly zero are "
        "counted in the legend, not drawn. Where a line leaves the picture, the table has its height."
    )
    # bars that stand beside each other differ by sparsity alone
    looks = range(len(sparsities)) if len(sparsities) > 1 else [LOOKS["sparse"]]
    kept = View("", tuple(_kept(shown, sparsity, look) for sparsity, look in zip(sparsities, looks, strict=True)))
    ticks = tuple((float(place), one.name or "all") for place, one in enumerate(shown.weights))
    return [
        Chart(
            "weights",
            "Weights through the phases",
            caption,
            Axis("weight"),
            Axis("weights in a bin"),
            tuple(views),
            "show",
        ),
        Chart(
            "kept",
            "Weights kept in each layer",
            f"The share of each layer's weights that a sparse phase keeps, seed {shown.seed}; "
            "outside sparse phases no mask holds any.",
            Axis("tensor", ticks=ticks),
            Axis("weights kept, %"),
            (kept,),
        ),
    ]


def _story(shown: Shown) -> str:
    """Say what the phases that are drawn do to the weights, in their order."""
    kinds = [state.phase.kind for state in shown.weights[0].states]
    told = []
    if "sparse" in kinds:
        whose = "the dense network's" if kinds[0] == "dense" else "the first weights"
        told += [f"Pruning takes weights out of {whose}", "a sparse phase trains what is left"]
    if "redense" in kinds:
        told.append("in a re-dense phase the gap fills again from zero")
    return f"{'; '.join(told)}. " if told else ""


def _histograms(weights: Weights, sparsity: float) -> View:
    chosen = [state for state in weights.states if state.phase.is_at(sparsity)]
    title = f"{weights.name or ALL}, sparsity {percent(sparsity)}"
    # what has come back lies so near zero that its bin would leave no height for the others
    height = max(max(state.counts) for state in chosen if state.phase.kind != "redense")
    ends = (-weights.reach, weights.reach), (0.0, 1.25 * height)
    return View(title, tuple(_outline(weights, state) for state in chosen), ends=ends)


def _outline(weights: Weights, state: State) -> Series:
    bins = len(state.counts)
    edges = np.linspace(-weights.reach, weights.reach, bins + 1)
    rounds = f", round {state.phase.round}" if state.phase.round > 1 else ""
    name = "pruned" if state.moment == "pruned" else NAMES[state.phase.kind]
    counted = f" ({state.zeros:,} zeros)" if state.zeros else ""
    return Series(
        f"{name}{rounds}{counted}",
        ((edges[:-1] + edges[1:]) / 2).tolist(),
        state.counts,
        PRUNED if state.moment == "pruned" else LOOKS[state.phase.kind],
        "steps",
    )


def _kept(shown: Shown, sparsity: float, look: int) -> Series:
    found = [
        (place, weights.name or "all", state.kept / weights.size)
        for place, weights in enumerate(shown.weights)
        for state in weights.states
        if (state.phase.kind, state.moment, state.phase.sparsity, state.phase.round) == ("sparse", "end", sparsity, 1)
    ]
    x, places, kept = zip(*found, strict=True) if found else ((), (), ())
    values = [100 * share for share in kept]
    return Series(f"sparse {percent(sparsity)}", [float(place) for place in x], values, look, "bars", places=places)
