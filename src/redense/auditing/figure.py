"""ROC curves on logarithmic axes, where the low false-positive rates that matter can be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from redense.auditing.curves import least_rate, on_log_axes, pictured
from redense.files.writing import picture, write_png
from redense.text import percent, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from redense.auditing.result import AuditResult

COLOURS = ("#1b6ca8", "#d95f02", "#2a9d5c", "#7b3fa0", "#444444", "#b08900", "#c0397b", "#5b8a8a")
DASHES = ((0, (9, 3)), (0, (5, 2, 1, 2)), (0, (3, 3)), (0, (9, 2, 1, 2, 1, 2)), (0, (4, 1.2)), (0, (6, 2, 2, 2)))
LINES: tuple[Any, ...] = ("-", *DASHES, (0, (1, 2, 4, 2)))
MARKERS = ("o", "s", "D", "^", "P", "X", "*", "v")
"""Beside colours: they tell attacks apart where colours look alike."""
MARKS = 5
"""Markers on a curve."""


class Panel(NamedTuple):
    """An audit's curves: by attack, false- and true-positive rates."""

    title: str
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    nonmembers: int
    strongest: str | None
    """The attack that the verdict names."""

    @property
    def attacks(self) -> list[str]:
        """The attacks that are drawn."""
        return pictured(self.curves, self.strongest)


def save_roc_figure(results: Sequence[tuple[str, AuditResult]], path: Path) -> None:
    """Draw `roc_figure` as a PNG."""
    write_png(path, roc_figure(results))


def roc_figure(results: Sequence[tuple[str, AuditResult]]) -> Figure:
    """Draw a panel for each titled result, as `roc_panels` does."""
    return roc_panels([Panel(title, one.curves, one.nonmembers, one.verdict.attack) for title, one in results])


def roc_panels(panels: Sequence[Panel]) -> Figure:
    """Draw the curves of up to six attacks of each panel; the diagonal is guessing.

    Equal scores are diagonals: their examples are found in random order.

    The strongest attack, which the verdict names, is always among them and drawn thick.
    """
    width = min(len(panels), 3)
    height = -(-len(panels) // width)
    figure = picture(figsize=(1 + 4.4 * width, 0.4 + 4.2 * height), dpi=150, layout="constrained")
    looks = _looks(panels)
    places = {name: (place + 0.5) / len(looks) for place, name in enumerate(looks)}
    parts = figure.subplots(height, width, squeeze=False).ravel()
    for axes in parts[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(parts, panels, strict=False):
        least = least_rate(panel.nonmembers)
        axes.plot([least, 1], [least, 1], color="#888888", linestyle=":", linewidth=1.2, label="guessing")
        for name in panel.attacks:
            x, y = on_log_axes(*panel.curves[name], least)
            colour, line, marker = looks[name]
            axes.plot(
                x,
                y,
                color=colour,
                linestyle=line,
                linewidth=3 if name == panel.strongest else 1.4,
                marker=marker,
                markersize=10 if name == panel.strongest else 8,
                markeredgecolor="white",
                markeredgewidth=0.6,
                markevery=_apart(x, y, places[name]),
                label=visible(name),
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda share, _: percent(share))
        axes.set_xlim(least, 1)
        axes.set_ylim(least, 1)
        axes.set_xlabel("non-members wrongly accused (false-positive rate)")
        axes.set_ylabel("members found (true-positive rate)")
        thick = f"thick: {panel.strongest}, the strongest" if panel.strongest else ""
        drawn, every = len(panel.attacks), len(panel.curves)
        some = f"{drawn} of {every} attacks are drawn" if drawn < every else ""
        lines = [visible(line) for line in (panel.title, thick, some) if line]
        axes.set_title("\n".join(lines), fontsize=11, parse_math=False)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles = {line.get_label(): line for axes in parts for line in axes.get_lines()}
    legend = figure.legend(
        handles.values(),
        handles.keys(),
        frameon=False,
        loc="outside lower center",
        ncols=2 + 2 * (width > 1),
        handlelength=4.5,
    )
    for text in legend.get_texts():  # names are no formulas, whatever is in them
        text.set_parse_math(False)
    for line in legend.get_lines():  # an attack may be thick in some panels only
        line.set_linewidth(1.5)
        line.set_markersize(8)
    return figure


def _looks(panels: Sequence[Panel]) -> dict[str, tuple[str, Any, str]]:
    """Give every attack that is drawn the same colour, line and marker in all panels."""
    names = dict.fromkeys(name for panel in panels for name in panel.attacks)
    return dict(zip(names, cycle(zip(COLOURS, LINES, MARKERS, strict=True))))  # as many as there are attacks


def _apart(x: Sequence[float], y: Sequence[float], share: float) -> list[int]:
    """Choose the points of a curve that bear markers: `MARKS`, as far from each other on logarithmic axes.

    `share` of a step lies before the first, so that the markers of curves that lie on each other do not.
    """
    way = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(np.log(x)), np.diff(np.log(y))))])
    wanted = way[-1] * (np.arange(MARKS) + share) / MARKS
    return sorted({int(np.abs(way - one).argmin()) for one in wanted})
