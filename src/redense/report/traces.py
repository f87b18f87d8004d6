"""Pictures of what phases give away at equal accuracy: inference against test accuracy, a point an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from redense.equal_accuracy import Trace
from redense.phases import NAMES, Phase, percent
from redense.report.figures import colour, save_png
from redense.results import Results

PANELS_IN_A_ROW = 2


def save_results_traces(results: Results, path: Path) -> None:
    """Draw a panel a sparsity, with the dense phase and the controls in each."""
    traces = [(row.described, Trace(row.history, results.nonmembers)) for row in results.rows]
    panels = {
        f"sparsity {percent(sparsity)}": [
            (phase, trace) for phase, trace in traces if phase.sparsity is None or phase.sparsity == sparsity
        ]
        for sparsity in results.recipe.sparsities
    }
    save_traces_figure(panels, path)


def save_traces_figure(panels: Mapping[str, Sequence[tuple[Phase, Trace]]], path: Path) -> None:
    """Draw panels, by title, of phases with their traces; seeds share a colour."""
    from matplotlib.figure import Figure

    columns = min(PANELS_IN_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1 + 4.6 * columns, 0.4 + 4 * rows), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    for panel, (title, traces) in zip(axes, panels.items(), strict=False):
        labelled = set()
        for phase, trace in traces:
            x, y = ([100 * point[side] for point in trace.points] for side in (0, 1))
            name = phase.lineage if phase.kind == "control" else NAMES[phase.kind]
            label = None if name in labelled else name
            panel.plot(x, y, "o-", color=colour(phase), markersize=3.5, linewidth=0.8, alpha=0.8, label=label)
            labelled.add(name)
        panel.set_xlabel("test accuracy, %")
        panel.set_ylabel("inference accuracy, %")
        panel.set_title(title, fontsize=11)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9)
    save_png(figure, path)
