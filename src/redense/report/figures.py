"""Pictures of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from redense.metrics import balanced_accuracy_of_noise
from redense.results import Results, Row, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"dense": "#444444", "sparse": "#d95f02", "redense": "#1b6ca8"}
NAMES = {"dense": "dense", "sparse": "sparse", "redense": "re-dense"}


def save_table_figure(results: Results, path: Path) -> None:
    """Draw test and inference accuracy against sparsity, sparse and re-dense as points, dense as a line.

    Bars are standard deviations over seeds; with one seed, inference accuracy has its 95% interval and test
    accuracy none. Of several rounds the last is drawn.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, results, "test_accuracy", "test accuracy, %")
    _panel(right, results, "inference_accuracy", "membership-inference accuracy, %")
    noise = 100 * balanced_accuracy_of_noise(results.members, results.nonmembers)
    right.axhline(noise, color="#999999", linestyle=":", linewidth=1.2, label="pure noise")
    left.legend(frameon=False, fontsize=9)
    right.legend(handles=[right.lines[-1]], frameon=False, fontsize=9)
    seeds = len(results.recipe.seeds)
    bars = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed, bars: 95% interval"
    figure.suptitle(f"{results.recipe.data}: {bars}", fontsize=11)
    save_png(figure, path)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure so that the file is either the old or the new one, whole."""
    temporary = path.with_name(f".writing-{path.name}")
    figure.savefig(temporary, format="png")
    temporary.replace(path)


def _panel(axes: Axes, results: Results, name: str, label: str) -> None:
    for phase in ("dense", "sparse", "redense"):
        groups = [group for group in results.groups() if group[0].phase == phase]
        if not groups:
            continue
        if phase == "dense":
            _dense_line(axes, groups[0], name)
            continue
        latest = {group[0].sparsity or 0.0: group for group in sorted(groups, key=lambda group: group[0].round)}
        shift = {"sparse": -0.4, "redense": 0.4}[phase]
        points = [(100 * sparsity + shift, *_estimate(group, name)) for sparsity, group in sorted(latest.items())]
        x, y, below, above = zip(*points, strict=True)
        axes.errorbar(
            x,
            y,
            yerr=[below, above],
            fmt="o-",
            color=COLOURS[phase],
            capsize=3,
            linewidth=1.5,
            label=NAMES[phase],
        )
    axes.set_xlabel("sparsity, %")
    axes.set_ylabel(label)
    axes.set_xticks([100 * sparsity for sparsity in results.recipe.sparsities])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _dense_line(axes: Axes, group: Sequence[Row], name: str) -> None:
    value, below, above = _estimate(group, name)
    axes.axhline(value, color=COLOURS["dense"], linestyle="--", linewidth=1.2, label=NAMES["dense"])
    if below or above:
        axes.axhspan(value - below, value + above, color=COLOURS["dense"], alpha=0.1, linewidth=0)


def _estimate(group: Sequence[Row], name: str) -> tuple[float, float, float]:
    """Return a group's value in percent and how far its bar reaches below and above."""
    spread = Spread.of(100 * getattr(row, name) for row in group)
    if spread.deviation is not None:
        return spread.mean, spread.deviation, spread.deviation
    if name != "inference_accuracy":
        return spread.mean, 0.0, 0.0
    low, high = (100 * end for end in group[0].inference_interval)
    return spread.mean, spread.mean - low, high - spread.mean
