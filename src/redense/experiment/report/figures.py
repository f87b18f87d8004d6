"""Pictures of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from redense.experiment.report.looks import AND_NONE, SPARSITY, drawn, look
from redense.experiment.report.seeds import Estimate, inference_estimate, tested_estimate
from redense.files.writing import picture
from redense.phases import NAMES, Phase
from redense.text import percent, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from redense.experiment.results import Results, Row


class Style(NamedTuple):
    """How a phase is drawn in all pictures: told by line and marker too, not by colour alone."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]
    marker: str


STYLES = (
    Style("#444444", "--", "o"),  # dense
    Style("#b34a00", ":", "s"),  # sparse
    Style("#0a5fa8", "-", "D"),  # re-dense
    Style("#00735c", "-.", "^"),  # controls, in the order of their table
    Style("#8a3d84", (0, (8, 2)), "P"),
    Style("#7a5c00", (0, (8, 2, 2, 2)), "X"),
    Style("#b0235f", (0, (4, 1, 1, 1, 1, 1)), "*"),  # a control beside a sparse phase
)
"""By look, as ``page/static/page.js`` has them."""
LEAST_SPAN = 2.0
"""Points of accuracy that an axis shows at least: less would make noise look like a difference."""
GAP = 10.0
"""Between sparsities, in percent, where there is one alone."""


def style(phase: Phase) -> Style:
    """Return the style in which a phase is drawn in all pictures."""
    return STYLES[look(phase) % len(STYLES)]


def table_figure(results: Results) -> Figure:
    """Draw test and inference accuracy, all with 95% intervals, against sparsity.

    Sparse and re-dense are points beside each other at their sparsity; the dense phase and controls, which have none,
    stand to the right, with a line to compare with.
    """
    groups = results.shown()
    figure = picture(figsize=(9, 3.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    tested = {group[0].phase: tested_estimate(group, results.nonmembers) for group in groups}
    _panel(left, results, tested, "test accuracy, %")
    _panel(right, results, {group[0].phase: inference_estimate(group) for group in groups}, "inference accuracy, %")
    noise = 100 * results.noise
    right.axhline(noise, color="#777777", linestyle=(0, (1, 1)), linewidth=1.2)
    along = right.get_yaxis_transform()
    right.text(0.01, noise, "pure noise", transform=along, ha="left", va="bottom", fontsize=8, color="#555555")
    _span(left, [])
    _span(right, [noise])
    if left.get_legend_handles_labels()[0]:  # nothing has a sparsity where only dense phases are finished
        left.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{visible(results.recipe.data)}: {_rests_on(groups)}", fontsize=11, parse_math=False)
    return figure


def _rests_on(groups: Sequence[Sequence[Row]]) -> str:
    """Say over how many seeds figures and bars are; of a run that is not finished some phases have fewer."""
    fewest, most = (chosen(map(len, groups), default=1) for chosen in (min, max))
    if most == 1:
        return "one seed, bars: 95% interval"
    span = f"{fewest} to {most}" if fewest < most else f"{most}"
    alone = "; of one seed, over examples" if fewest == 1 else ""
    return f"mean over {span} seeds, bars: its 95% interval{alone}"


def _panel(axes: Axes, results: Results, estimates: Mapping[Phase, Estimate], label: str) -> None:
    """Draw the phases that have a sparsity where they belong, the others as columns to the right."""
    sparsities = sorted(100 * sparsity for sparsity in results.recipe.sparsities)
    gap = min((second - first for first, second in pairwise(sparsities)), default=GAP)
    pruned, levels = drawn(estimates, results.recipe)
    for place, (kind, chosen) in enumerate(pruned.items()):
        shift = min(gap, 2 * GAP) / 6 * (place - (len(pruned) - 1) / 2)  # so that no bar covers another
        at = [100 * (phase.sparsity or 0.0) + shift for phase in chosen]
        _points(axes, at, [estimates[phase] for phase in chosen], style(chosen[0]), NAMES[kind], joined=True)
    column = max(sparsities[-1] - sparsities[0], 2 * GAP) / 4
    ticks = {sparsity: percent(sparsity / 100) for sparsity in sparsities}
    for place, phase in enumerate(levels, 1):
        x = sparsities[-1] + place * column
        ticks[x] = phase.series.replace("-", "-\n", 1)
        own = style(phase)
        value = float(estimates[phase][0])
        axes.plot(
            [sparsities[0] - gap / 4, x],
            [value, value],
            color=own.colour,
            linestyle=own.line,
            linewidth=1,
            alpha=0.6,
        )
        _points(axes, [x], [estimates[phase]], own, "")
    axes.set_xticks(list(ticks), list(ticks.values()), fontsize=7.5)
    axes.set_xlim(sparsities[0] - max(gap, column) / 2, max(ticks) + column / 2)
    axes.set_xlabel(AND_NONE if levels else SPARSITY)
    axes.set_ylabel(label)
    axes.grid(alpha=0.25, axis="y")
    axes.spines[["top", "right"]].set_visible(False)


def _points(axes: Axes, x: list[float], points: list[Estimate], own: Style, label: str, joined: bool = False) -> None:
    """Draw figures with their intervals, where they have one."""
    values = [value for value, _ in points]
    ends = [interval or (value, value) for value, interval in points]
    bars = (
        [value - low for value, (low, _) in zip(values, ends, strict=True)],
        [high - value for value, (_, high) in zip(values, ends, strict=True)],
    )
    axes.errorbar(
        x,
        values,
        # the best accuracy of all may lie outside an interval for the mean
        yerr=[[max(0.0, reach) for reach in side] for side in bars],
        marker=own.marker,
        linestyle=own.line if joined else "none",
        color=own.colour,
        markersize=5,
        capsize=3,
        linewidth=1.4,
        label=label or "_nolegend_",
    )


def _span(axes: Axes, also: list[float]) -> None:
    """Show at least so many points, and what has to be seen beside the data."""
    low, high = axes.get_ylim()
    low, high = min([low, *(value - 0.1 for value in also)]), max([high, *also])
    room = max(0.0, LEAST_SPAN - (high - low)) / 2
    axes.set_ylim(low - room, min(high + room, 100.4))
