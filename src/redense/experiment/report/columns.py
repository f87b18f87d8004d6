"""The columns of the table: what each is called and what it says of a phase, in the terminal and on the page alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redense.experiment.report.seeds import (
    accuracy_interval,
    inference_interval,
    percent_interval,
    percent_over_seeds,
    spread_text,
)
from redense.metrics.spread import Spread

if TYPE_CHECKING:
    from redense.experiment.results import Row


@dataclass(frozen=True)
class Column:
    """A column of the table: `cell` writes it of a phase's rows, a seed each.

    `interval` marks one that holds intervals, of the column before it; `over_seeds` one that there is only where there
    are several seeds.
    """

    head: str
    cell: Callable[[Sequence[Row]], str]
    interval: bool = False
    over_seeds: bool = False


def _percent(name: str) -> Callable[[Sequence[Row]], str]:
    return lambda group: percent_over_seeds(group, name)


def _zeros(group: Sequence[Row]) -> str:
    return spread_text(Spread.of(100 * row.measured_sparsity for row in group), 1)


INFERENCE_IS = "how often the best threshold on the model's confidence tells training from test examples"
"""What inference accuracy means, wherever a run shows it."""
TEST_INTERVAL_IS = "Student's interval of the mean over seeds, on these examples: few seeds make it wide"
"""What stands behind the test accuracy, wherever a run shows it."""
SAME = "a dash: the same in every seed"
"""Why some phases of several seeds have no interval."""


def guessing_text(noise: float) -> str:
    """Say what inference accuracies are held against; `noise` in [0, 1] is what the best threshold finds in none."""
    return (
        "50% is guessing; since the best threshold is chosen on these very examples, pure noise gives "
        f"{100 * noise:.2f}% here."
    )


PHASE = Column("phase", lambda group: group[0].phase.label)
TRAIN = Column("train %", _percent("train_accuracy"))
TEST = Column("test %", _percent("test_accuracy"))
TEST_INTERVAL = Column("test, 95%", lambda group: percent_interval(accuracy_interval(group)), True, over_seeds=True)
INFERENCE = Column("inference %", _percent("inference_accuracy"))
INFERENCE_INTERVAL = Column("inference, 95%", lambda group: percent_interval(inference_interval(group)), True)
ZEROS = Column("zeros %", _zeros)
SEEDS = Column("seeds", lambda group: str(len(group)))

TERMINAL = (PHASE, TRAIN, TEST, TEST_INTERVAL, INFERENCE, INFERENCE_INTERVAL)
"""Columns in the terminal, from the left; where it is too narrow, intervals stand below their figures."""
PAGE = (PHASE, TEST, TEST_INTERVAL, INFERENCE, INFERENCE_INTERVAL, TRAIN, ZEROS, SEEDS)
"""Columns on the page, from the left."""


def columns_of(columns: Sequence[Column], several: bool) -> list[Column]:
    """Choose the columns that say something of phases of which any has `several` seeds, or each has one."""
    return [column for column in columns if several or not column.over_seeds]
