"""Results: one row a phase, sparsity and seed; frozen, and written as JSON and CSV."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from redense.checkpoints import Checkpoint
from redense.config import Recipe
from redense.csv_text import csv_text
from redense.metrics import balanced_accuracy, balanced_accuracy_interval
from redense.phases import Lineage, PhaseKind
from redense.plan import Job

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """One trained phase. Accuracies, sparsities and intervals are fractions in [0, 1].

    `sparsity` is what was asked for (None where dense), `measured_sparsity` the fraction of zeros among the weights
    that pruning applies to; `inference_accuracy` the best balanced accuracy of the confidence threshold, with its 95%
    interval; `checkpoint` the job's key.
    """

    lineage: Lineage
    phase: PhaseKind
    sparsity: float | None
    measured_sparsity: float
    round: int
    seed: int
    train_accuracy: float
    test_accuracy: float
    inference_accuracy: float
    inference_interval: tuple[float, float]
    epochs: int
    seconds: float
    checkpoint: str


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds: mean, and standard deviation (None for one seed)."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise one value a seed.

        >>> Spread.of([1.0, 3.0]).mean
        2.0
        """
        values = list(values)
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Results:
    """What a run found: the recipe, the numbers of members and non-members, and the rows in the table's order."""

    recipe: Recipe
    members: int
    nonmembers: int
    rows: tuple[Row, ...]

    def groups(self) -> list[tuple[Row, ...]]:
        """Gather rows that differ in the seed alone: one group a line of the table."""
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.sparsity is not None, row.sparsity, row.round, row.phase), []).append(row)
        return [tuple(rows) for rows in groups.values()]

    def to_json(self) -> str:
        """Write format, recipe, sample sizes and rows as JSON."""
        values = {
            "format": FORMAT,
            "recipe": self.recipe.to_mapping(),
            "members": self.members,
            "nonmembers": self.nonmembers,
            "rows": [dataclasses.asdict(row) for row in self.rows],
        }
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Undo `to_json`."""
        values = json.loads(text)
        rows = [Row(**{**row, "inference_interval": tuple(row["inference_interval"])}) for row in values["rows"]]
        recipe = Recipe.from_mapping(values["recipe"], source="results")
        return cls(recipe, values["members"], values["nonmembers"], tuple(rows))

    def to_csv(self) -> str:
        """Write the rows as CSV; the interval takes two columns."""
        return csv_text([_flat(row) for row in self.rows])

    def __str__(self) -> str:
        from redense.report.table import plain_table

        return plain_table(self)


def row_of(job: Job, checkpoint: Checkpoint, measured_sparsity: float) -> Row:
    """Measure one trained phase: the attack's scores are the scaled logits of all members and non-members."""
    scores = np.concatenate([checkpoint.train.phi, checkpoint.test.phi])
    members = np.arange(len(scores)) < len(checkpoint.train.phi)
    return Row(
        lineage=job.phase.lineage,
        phase=job.phase.kind,
        sparsity=job.phase.sparsity,
        measured_sparsity=measured_sparsity,
        round=job.phase.round,
        seed=job.seed,
        train_accuracy=float(checkpoint.train.correct.mean()),
        test_accuracy=float(checkpoint.test.correct.mean()),
        inference_accuracy=balanced_accuracy(scores, members),
        inference_interval=balanced_accuracy_interval(scores, members),
        epochs=job.phase.epochs,
        seconds=round(checkpoint.seconds, 3),
        checkpoint=job.key,
    )


def _flat(row: Row) -> dict[str, Any]:
    values = dataclasses.asdict(row)
    low, high = values.pop("inference_interval")
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat[name] = value
        if name == "inference_accuracy":
            flat |= {"inference_low": low, "inference_high": high}
    return flat
