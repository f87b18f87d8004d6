"""Pictures of what phases give away at equal accuracy: inference against test accuracy, a point an epoch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from redense.experiment.equal_accuracy import Trace, mean_points
from redense.experiment.grouping import gathered
from redense.experiment.report.figures import style
from redense.experiment.report.looks import begin_outside, in_view
from redense.files.writing import picture
from redense.methods import control_of
from redense.phases import NAMES, Phase
from redense.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from redense.experiment.results import Results

PANELS_IN_A_ROW = 2
MOST_POINTS = 12
"""Epochs of a trace that are drawn, the first and the last among them: with more, noise hides the way."""
LEAST_APART = 0.07
"""Of the height of a panel, between labels."""
PALER = 0.35
"""How visible all rounds but the last are."""
Points = npt.NDArray[np.float64]
"""(test accuracy, inference accuracy) in percent after each epoch, [epochs, 2]."""


def results_traces(results: Results) -> Figure:
    """Draw a panel a sparsity, with the dense phase and the controls in each."""
    traces = results.traces().items()
    panels = {
        f"sparsity {percent(sparsity)}": [(phase, trace) for (phase, _), trace in traces if phase.is_at(sparsity)]
        for sparsity in results.recipe.sparsities
    }
    return traces_figure(panels)


def traces_figure(panels: Mapping[str, Sequence[tuple[Phase, Trace]]]) -> Figure:
    """Draw panels, by title, of phases with their traces, one for each seed."""
    columns = min(PANELS_IN_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    figure = picture(figsize=(1 + 5 * columns, 0.7 + 4 * rows), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    hidden: dict[str, None] = {}
    for panel, (title, traces) in zip(axes, panels.items(), strict=False):
        hidden |= dict.fromkeys(_draw(panel, traces))
        panel.set_title(title, fontsize=11)
    several = any(len(traces) > len({phase for phase, _ in traces}) for traces in panels.values())
    points = "A point an epoch, the mean over seeds; small dots: where each ends." if several else "A point an epoch."
    rounds = any(phase.round > 1 for traces in panels.values() for phase, _ in traces)
    says = [
        f"{points} Open: the first epoch. Filled: the last. Higher gives more away.",
        *(["Paler: earlier rounds; the last is named."] if rounds else []),
        *([f"First epoch outside the picture: {', '.join(hidden)}."] if hidden else []),
        "Measured on the test examples and as many training examples; the table measures on all.",
    ]
    wide = 70 * columns
    figure.supxlabel("\n".join(line for one in says for line in textwrap.wrap(one, wide)), fontsize=9)
    return figure


def thinned_trace(points: Points) -> Points:
    """Keep at most `MOST_POINTS` epochs, evenly spaced, the first and the last among them.

    >>> thinned_trace(np.arange(200.0).reshape(100, 2))[[0, -1], 0].tolist()
    [0.0, 198.0]
    """
    kept = np.unique(np.linspace(0, len(points) - 1, min(MOST_POINTS, len(points))).round().astype(int))
    found: Points = points[kept]
    return found


def _draw(axes: Axes, traces: Sequence[tuple[Phase, Trace]]) -> list[str]:
    """Draw each phase's mean over seeds as a line with its start, direction and end, and where every seed ends.

    Returns the phases whose first epoch the picture has no room for.
    """
    seeds = gathered(traces)
    means = {phase: thinned_trace(100 * mean_points(found)) for phase, found in seeds.items()}
    last = _latest(means)
    for phase, mean in means.items():
        colour, line, marker = style(phase)
        alpha = 1 if phase in last else PALER
        axes.plot(mean[:, 0], mean[:, 1], linestyle=line, color=colour, linewidth=1.3, label=phase.series, alpha=alpha)
        if len(mean) > 1:
            x, y = mean[0]
            axes.scatter(x, y, marker=marker, s=36, facecolor="white", edgecolor=colour, alpha=alpha, zorder=3)
            _arrow(axes, mean, colour, alpha)
        axes.scatter(mean[-1, 0], mean[-1, 1], marker=marker, s=48, color=colour, alpha=alpha, zorder=4)
        if len(seeds[phase]) > 1:
            x, y = 100 * np.array([seed.points[-1] for seed in seeds[phase]]).T
            axes.scatter(x, y, color=colour, s=5, alpha=0.5, linewidths=0)
    axes.set_xlabel("test accuracy, %")
    axes.set_ylabel("inference accuracy, %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if means:
        _room(axes, means)
        _labels(axes, means)
    ends = axes.get_xlim(), axes.get_ylim()
    return begin_outside({_name(phase): mean for phase, mean in means.items() if phase in last}, ends)


def _latest(means: Mapping[Phase, Points]) -> list[Phase]:
    """Choose of several rounds of a phase the last, in an order that no chance decides."""
    return list({(phase.series, phase.beside): phase for phase in sorted(means, key=lambda one: one.round)}.values())


def _arrow(axes: Axes, mean: Points, colour: str, alpha: float) -> None:
    """Show the direction in the longest step."""
    step = int(np.abs(np.diff(mean, axis=0)).sum(1).argmax())
    start, end = mean[step], mean[step + 1]
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 0, "mutation_scale": 11, "alpha": alpha}
    axes.annotate("", start + 0.62 * (end - start), start + 0.38 * (end - start), arrowprops=arrow)


def _room(axes: Axes, means: Mapping[Phase, Points]) -> None:
    """Leave room for what has to be seen, and for the names beside it."""
    x, y = in_view(means).T
    across, up = np.ptp(x) + 0.2, np.ptp(y) + 0.2
    axes.set_xlim(x.min() - 0.08 * across, x.max() + 0.45 * across)
    axes.set_ylim(y.min() - 0.12 * up, y.max() + 0.1 * up)
    # the room for names lies beyond what an accuracy can be
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value <= 100 else "")


def _labels(axes: Axes, means: Mapping[Phase, Points]) -> None:
    """Name each phase beside its end, in a column where no two names cover each other; of several rounds the last."""
    low, high = axes.get_ylim()
    ends = sorted(
        ((float((means[phase][-1, 1] - low) / (high - low)), phase) for phase in _latest(means)),
        key=lambda end: end[0],
    )
    heights = spread_apart([height for height, _ in ends], LEAST_APART)
    for height, (_, phase) in zip(heights, ends, strict=True):
        colour = style(phase).colour
        axes.annotate(
            _name(phase),
            means[phase][-1],
            (0.73, height),
            textcoords="axes fraction",
            fontsize=8,
            color=colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "alpha": 0.5, "shrinkB": 4},
        )


def _name(phase: Phase) -> str:
    return f"{control_of(phase).name} beside {NAMES[phase.beside]}" if phase.beside else phase.series


def spread_apart(heights: Sequence[float], apart: float) -> list[float]:
    """Move ascending heights in [0, 1] apart, as little as need be.

    >>> [round(height, 2) for height in spread_apart([0.5, 0.51, 0.9], 0.1)]
    [0.46, 0.56, 0.9]
    """
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _starts(groups[-1], apart) < _starts(groups[-2], apart) + apart * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_starts(group, apart) + apart * place for group in groups for place in range(len(group))]


def _starts(group: Sequence[float], apart: float) -> float:
    middle = sum(group) / len(group)
    half = apart * (len(group) - 1) / 2
    return min(max(middle - half, 0.02), 0.98 - 2 * half)
