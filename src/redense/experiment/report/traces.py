"""Pictures of what phases give away at equal accuracy: inference against test accuracy, a point an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from redense.experiment.equal_accuracy import Trace, mean_points
from redense.experiment.report.figures import colour
from redense.files.writing import write_png
from redense.phases import Phase
from redense.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from redense.experiment.results import Results

PANELS_IN_A_ROW = 2
Points = npt.NDArray[np.float64]
"""(test accuracy, inference accuracy) in percent after each epoch, [epochs, 2]."""


def save_results_traces(results: Results, path: Path) -> None:
    """Draw a panel a sparsity, with the dense phase and the controls in each."""
    traces = [(row.phase, Trace(row.history, results.nonmembers)) for row in results.rows]
    panels = {
        f"sparsity {percent(sparsity)}": [
            (phase, trace) for phase, trace in traces if phase.sparsity is None or phase.sparsity == sparsity
        ]
        for sparsity in results.recipe.sparsities
    }
    save_traces_figure(panels, path)


def save_traces_figure(panels: Mapping[str, Sequence[tuple[Phase, Trace]]], path: Path) -> None:
    """Draw panels, by title, of phases with their traces, one for each seed."""
    from matplotlib.figure import Figure

    columns = min(PANELS_IN_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1 + 4.6 * columns, 0.4 + 4 * rows), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    for panel, (title, traces) in zip(axes, panels.items(), strict=False):
        _draw(panel, traces)
        panel.set_title(title, fontsize=11)
    axes[0].legend(frameon=False, fontsize=9)
    write_png(path, figure)


def _draw(axes: Axes, traces: Sequence[tuple[Phase, Trace]]) -> None:
    """Draw each phase's mean over seeds as a line, and every seed's epochs as faint points behind it."""
    by_phase: dict[Phase, list[Trace]] = {}
    for phase, trace in traces:
        by_phase.setdefault(phase, []).append(trace)
    labelled = set()
    for phase, seeds in by_phase.items():
        mean = 100 * mean_points(seeds)
        if len(seeds) > 1:
            every = _epochs_of(seeds)
            axes.scatter(every[:, 0], every[:, 1], color=colour(phase), s=5, alpha=0.25, linewidths=0)
        label = None if phase.series in labelled else phase.series
        labelled.add(phase.series)
        axes.plot(mean[:, 0], mean[:, 1], "o-", color=colour(phase), markersize=3.5, linewidth=1.0, label=label)
    later = [seeds for phase, seeds in by_phase.items() if phase.kind != "dense"]
    if later:  # the first epochs of all would take most of the room
        x, y = np.concatenate([_epochs_of(seeds) for seeds in later]).T
        axes.set_xlim(x.min() - 0.1 * np.ptp(x) - 0.05, x.max() + 0.05 * np.ptp(x) + 0.05)
        axes.set_ylim(y.min() - 0.2 * np.ptp(y) - 0.05, y.max() + 0.05 * np.ptp(y) + 0.05)
    axes.set_xlabel("test accuracy, %")
    axes.set_ylabel("inference accuracy, %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _epochs_of(seeds: Sequence[Trace]) -> Points:
    points: Points = 100 * np.concatenate([trace.points for trace in seeds])
    return points
