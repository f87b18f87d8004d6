"""Pictures of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from redense.files.writing import write_png
from redense.methods import CONTROLS, control_of
from redense.metrics import balanced_accuracy_of_noise
from redense.metrics.spread import Spread
from redense.phases import NAMES, Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from redense.experiment.results import Results, Row

COLOURS = {"dense": "#444444", "sparse": "#d95f02", "redense": "#1b6ca8"}
"""By kind of phase, but for controls."""
CONTROL_COLOURS = ("#2a9d5c", "#9b59b6", "#a0522d", "#008b8b")
"""Of controls, in the order of their table."""


def colour(phase: Phase) -> str:
    """Return the colour in which a phase is drawn in all pictures."""
    if phase.kind != "control":
        return COLOURS[phase.kind]
    return CONTROL_COLOURS[list(CONTROLS.values()).index(control_of(phase)) % len(CONTROL_COLOURS)]


def save_table_figure(results: Results, path: Path) -> None:
    """Draw test and inference accuracy against sparsity, sparse and re-dense as points, dense and controls as lines.

    Bars are standard deviations over seeds; with one seed, inference accuracy has its 95% interval and test
    accuracy none. Of several rounds the last is drawn.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, results, "test_accuracy", "test accuracy, %")
    _panel(right, results, "inference_accuracy", "membership-inference accuracy, %")
    noise = 100 * balanced_accuracy_of_noise(results.members, results.nonmembers)
    right.axhline(noise, color="#999999", linestyle=":", linewidth=1.2)
    along = right.get_yaxis_transform()
    right.text(0.99, noise, "pure noise", transform=along, ha="right", va="bottom", fontsize=9, color="#777777")
    left.legend(frameon=False, fontsize=9)
    seeds = len(results.recipe.seeds)
    bars = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed, bars: 95% interval"
    figure.suptitle(f"{results.recipe.data}: {bars}", fontsize=11)
    write_png(path, figure)


def _panel(axes: Axes, results: Results, name: str, label: str) -> None:
    groups = results.shown()
    for group in groups:
        # of a control, the end of its budget: what the last phase is to be compared with
        phase = group[0].phase
        if phase.kind == "dense" or results.recipe.is_beside_final(phase):
            _line(axes, group, name)
    pruned = dict.fromkeys(group[0].phase.kind for group in groups if group[0].phase.sparsity is not None)
    for place, kind in enumerate(pruned):
        shift = 0.8 * place - 0.4 * (len(pruned) - 1)  # beside each other, so that bars do not cover each other
        of_kind = [group for group in groups if group[0].phase.kind == kind]
        in_order = sorted(of_kind, key=lambda group: group[0].phase.round)
        latest = {group[0].phase.sparsity or 0.0: group for group in in_order}
        points = [(100 * sparsity + shift, *_estimate(group, name)) for sparsity, group in sorted(latest.items())]
        x, y, below, above = zip(*points, strict=True)
        axes.errorbar(
            x,
            y,
            yerr=[below, above],
            fmt="o-",
            color=COLOURS[kind],
            capsize=3,
            linewidth=1.5,
            label=NAMES[kind],
        )
    axes.set_xlabel("sparsity, %")
    axes.set_ylabel(label)
    axes.set_xticks([100 * sparsity for sparsity in results.recipe.sparsities])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Axes, group: Sequence[Row], name: str) -> None:
    value, below, above = _estimate(group, name)
    phase = group[0].phase
    linestyle = "--" if phase.kind == "dense" else "-."
    axes.axhline(value, color=colour(phase), linestyle=linestyle, linewidth=1.2, label=phase.series)
    if phase.kind == "dense" and (below or above):  # more bands than one would hide each other
        axes.axhspan(value - below, value + above, color=colour(phase), alpha=0.1, linewidth=0)


def _estimate(group: Sequence[Row], name: str) -> tuple[float, float, float]:
    """Return a group's value in percent and how far its bar reaches below and above."""
    spread = Spread.of(100 * getattr(row, name) for row in group)
    if spread.deviation is not None:
        return spread.mean, spread.deviation, spread.deviation
    if name != "inference_accuracy":
        return spread.mean, 0.0, 0.0
    low, high = (100 * end for end in group[0].inference_interval)
    return spread.mean, spread.mean - low, high - spread.mean
