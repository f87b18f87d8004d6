"""ROC curves on logarithmic axes, where the low false-positive rates that matter can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from redense.auditing.attacks import PICTURED
from redense.files.writing import png_bytes, write_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from redense.auditing.result import AuditResult

COLOURS = ("#1b6ca8", "#d95f02", "#2a9d5c", "#7b3fa0", "#444444", "#b08900")
MOST = 6
"""Curves that a panel has room for."""


def save_roc_figure(results: Sequence[tuple[str, AuditResult]], path: Path) -> None:
    """Draw `roc_figure` as a PNG."""
    write_png(path, roc_figure(results))


def roc_png(results: Sequence[tuple[str, AuditResult]]) -> bytes:
    """Return `roc_figure` as a PNG."""
    return png_bytes(roc_figure(results))


def roc_figure(results: Sequence[tuple[str, AuditResult]]) -> Figure:
    """Draw a panel for each titled result, with the curves of up to six of its attacks; the diagonal is guessing."""
    from matplotlib.figure import Figure

    width = min(len(results), 3)
    height = -(-len(results) // width)
    figure = Figure(figsize=(1 + 4.4 * width, 0.4 + 4.2 * height), dpi=150, layout="constrained")
    panels = figure.subplots(height, width, squeeze=False).ravel()
    for axes in panels[len(results) :]:
        axes.set_visible(False)
    for axes, (title, result) in zip(panels, results, strict=False):
        least = 1 / result.nonmembers
        axes.plot([least, 1], [least, 1], color="#999999", linestyle=":", linewidth=1.2, label="guessing")
        names = [name for name in PICTURED if name in result.curves] or list(result.curves)
        for name, colour in zip(names[:MOST], COLOURS, strict=False):
            fpr, tpr = result.curves[name]
            steps = [(x, y) for x, y in zip(fpr, tpr, strict=True) if y > 0]
            x, y = [max(x, least) for x, _ in steps], [y for _, y in steps]
            axes.plot(x, y, color=colour, linewidth=1.5, drawstyle="steps-post", label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(least, 1)
        axes.set_ylim(least, 1)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")
        axes.set_title(title, fontsize=11)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    figure.legend(
        handles.values(), handles.keys(), frameon=False, loc="outside lower center", ncols=2 + 2 * (width > 1)
    )
    return figure
