"""A phase's figures over seeds, for tables and pages alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redense.metrics.spread import Spread

Interval = tuple[float, float]

if TYPE_CHECKING:
    from redense.experiment.results import Row


def inference_interval(group: Sequence[Row]) -> Interval | None:
    """Return the 95% interval of a phase's inference accuracy, in [0, 1]: over seeds, or over examples of one."""
    if len(group) == 1:
        return group[0].inference_interval
    return Spread.of_best_accuracy(
        [row.inference_accuracy for row in group],
        [row.inference_accuracy_cross_fitted for row in group],
        [row.inference_interval for row in group],
    ).interval


def accuracy_interval(group: Sequence[Row]) -> Interval | None:
    """Return the 95% interval of a phase's test accuracy over seeds, in [0, 1]; None for a single one."""
    return Spread.of((row.test_accuracy for row in group), (0.0, 1.0)).interval


def percent_over_seeds(group: Sequence[Row], name: str) -> str:
    """Write a figure of a phase's rows in percent: mean ± standard deviation over seeds, or that of the only one."""
    spread = Spread.of(100 * getattr(row, name) for row in group)
    return f"{spread.mean:.2f}" + (f" ± {spread.deviation:.2f}" if spread.deviation is not None else "")
