"""A phase's figures over seeds, for tables and pages alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from redense.arguments import Interval
from redense.metrics import clopper_pearson
from redense.metrics.spread import Spread
from redense.text import interval_text

Estimate = tuple[float, Interval | None]
"""A figure and its interval, in percent."""

if TYPE_CHECKING:
    from redense.experiment.results import Results, Row


def any_several(groups: Iterable[Sequence[object]]) -> bool:
    """Whether any phase of these has several seeds yet, which a run that is not finished owes to its recipe."""
    return any(len(group) > 1 for group in groups)


def over_seeds(groups: Iterable[Sequence[object]], several: str, one: str) -> str:
    """Say what the phases of these groups, an entry a seed, rest on: `several` seeds, `one`, or some this, some that.

    >>> over_seeds([(0, 1), (0, 1)], "over seeds", "over examples"), over_seeds([(0,)], "over seeds", "over examples")
    ('over seeds', 'over examples')
    >>> over_seeds([(0, 1), (0,)], "over seeds", "over examples")
    'over seeds; where a phase has one seed yet, over examples'
    """
    found = {len(group) > 1 for group in groups}
    if found == {True, False}:
        return f"{several}; where a phase has one seed yet, {one}"
    return several if True in found else one


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
    return spread_text(Spread.of(100 * getattr(row, name) for row in group), 2)


def spread_text(spread: Spread, digits: int) -> str:
    """Write a mean with its standard deviation, where it has one.

    >>> spread_text(Spread.of([1.0, 3.0]), 1)
    '2.0 ± 1.4'
    """
    return f"{spread.mean:.{digits}f}" + (f" ± {spread.deviation:.{digits}f}" if spread.deviation is not None else "")


def percent_interval(interval: Interval | None) -> str:
    """Write an interval of fractions in percent; a dash where there is none.

    >>> percent_interval((0.1, 0.25)), percent_interval(None)
    ('[10.00, 25.00]', '-')
    """
    return "-" if interval is None else interval_text(interval, 100, 2)


def tested_estimate(group: Sequence[Row], examples: int) -> Estimate:
    """Return the mean over seeds with Student's interval; of one seed, the exact interval over the test examples."""
    spread = Spread.of((row.test_accuracy for row in group), (0.0, 1.0))
    interval = spread.interval
    if len(group) == 1:
        interval = clopper_pearson(min(examples, round(spread.mean * examples)), examples)
    return in_percent(spread.mean, interval)


def inference_estimate(group: Sequence[Row]) -> Estimate:
    """Return the mean over seeds of the inference accuracy, with the interval that the table has."""
    return in_percent(mean_over_seeds(group, "inference_accuracy"), inference_interval(group))


def mean_over_seeds(group: Sequence[Row], name: str) -> float:
    """Return the mean of a figure of a phase's rows."""
    return statistics.fmean(getattr(row, name) for row in group)


def in_percent(figure: float, interval: Interval | None) -> Estimate:
    """Return a fraction and its interval in percent."""
    return 100 * figure, None if interval is None else (100 * interval[0], 100 * interval[1])


def best_group(results: Results) -> tuple[Row, ...] | None:
    """Return the rows, a seed each, of the last phase at the sparsity where its mean test accuracy is highest."""
    return max(last_groups(results), key=lambda group: mean_over_seeds(group, "test_accuracy"), default=None)


def last_groups(results: Results) -> list[tuple[Row, ...]]:
    """List the rows, a seed each, of the last phase at every sparsity."""
    return [group for group in results.groups() if results.recipe.is_final(group[0].phase)]
