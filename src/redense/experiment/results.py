"""Results: one row a phase, sparsity and seed; frozen, and written as JSON and CSV."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redense.experiment.comparison import QUANTITIES, Correct, Paired, compare_phases, t_interval
from redense.experiment.equal_accuracy import EqualAccuracy, Trace, compare_traces
from redense.experiment.recipe import Recipe
from redense.phases import Lineage, Phase, PhaseKind, Repeated, contrasts_by_seed
from redense.text import csv_text

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """One trained phase. Accuracies, sparsities and intervals are fractions in [0, 1].

    `beside` is, of a control, the phase of DSD that ends after as many epochs; `sparsity` what was asked for (None
    where dense and of controls), `measured_sparsity` the fraction of zeros among the weights that pruning applies to;
    `inference_accuracy` the best balanced accuracy of the confidence threshold, with its 95% interval; `history` holds
    (test accuracy, inference accuracy) after each epoch, the latter measured on the test examples and as many of the
    training examples; `checkpoint` is the job's key.
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
    beside: Repeated | None = None
    history: tuple[tuple[float, float], ...] = ()

    @property
    def described(self) -> Phase:
        """The phase that was trained; its rate, which the row does not record, is given as 1."""
        return Phase(self.phase, self.epochs, 1.0, self.sparsity, self.round, self.lineage, self.beside)


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds: mean, and standard deviation and 95% t-interval of the mean (None for one seed).

    The interval is None too where all seeds give the same value.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise one value a seed.

        >>> Spread.of([1.0, 3.0]).mean
        2.0
        """
        values = list(values)
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, t_interval(values))


@dataclass(frozen=True)
class Results:
    """What a run found: the recipe, the numbers of members and non-members, the rows in the table's order.

    `comparisons` tells which phase is better than which, and gives away more.
    """

    recipe: Recipe
    members: int
    nonmembers: int
    rows: tuple[Row, ...]
    comparisons: tuple[Paired, ...] = ()

    def groups(self) -> list[tuple[Row, ...]]:
        """Gather rows that differ in the seed alone: one group a line of the table."""
        groups: dict[Phase, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.described, []).append(row)
        return [tuple(rows) for rows in groups.values()]

    def compared(self, correct: Callable[[str], Correct] | None = None) -> Results:
        """Return the results with all comparisons that the rows allow.

        `correct` reads, by the checkpoint's key, which test examples its network classifies correctly; McNemar's test
        needs it where there is one seed.
        """
        keys = {(row.described, row.seed): row.checkpoint for row in self.rows}
        read = None if correct is None else lambda phase, seed: correct(keys[phase, seed])
        found: list[Paired] = []
        for quantity in QUANTITIES:
            values: dict[Phase, dict[int, float]] = {}
            for row in self.rows:
                values.setdefault(row.described, {})[row.seed] = getattr(row, quantity)
            found += compare_phases(values, quantity, read)
        return dataclasses.replace(self, comparisons=tuple(found))

    def at_equal_accuracy(self) -> list[EqualAccuracy]:
        """Compare what phases give away at epochs of equal test accuracy."""
        traces = {(row.described, row.seed): Trace(row.history, self.nonmembers) for row in self.rows if row.history}
        return [
            compare_traces(first.label, second.label, [(traces[first, seed], traces[second, seed]) for seed in seeds])
            for first, second, seeds in contrasts_by_seed(traces.keys())
        ]

    def to_json(self) -> str:
        """Write format, recipe, sample sizes and rows as JSON."""
        values = {
            "format": FORMAT,
            "recipe": self.recipe.to_mapping(),
            "members": self.members,
            "nonmembers": self.nonmembers,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "comparisons": [comparison.to_mapping() for comparison in self.comparisons],
            "at_equal_accuracy": [dataclasses.asdict(comparison) for comparison in self.at_equal_accuracy()],
        }
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Undo `to_json`."""
        values = json.loads(text)
        rows = tuple(_row(row) for row in values["rows"])
        recipe = Recipe.from_mapping(values["recipe"], source="results")
        comparisons = tuple(Paired.from_mapping(comparison) for comparison in values.get("comparisons", ()))
        return cls(recipe, values["members"], values["nonmembers"], rows, comparisons)

    def to_csv(self) -> str:
        """Write the rows as CSV, without their histories; the interval takes two columns."""
        return csv_text([_flat(row) for row in self.rows])

    def __str__(self) -> str:
        from redense.experiment.report.table import plain_table

        return plain_table(self)


def _row(values: Mapping[str, Any]) -> Row:
    history = tuple((test, inference) for test, inference in values.get("history", ()))
    return Row(**{**values, "inference_interval": tuple(values["inference_interval"]), "history": history})


def _flat(row: Row) -> dict[str, Any]:
    values = dataclasses.asdict(row)
    low, high = values.pop("inference_interval")
    del values["history"]
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat[name] = value
        if name == "inference_accuracy":
            flat |= {"inference_low": low, "inference_high": high}
    return flat
