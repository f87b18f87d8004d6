"""Results: one row a phase, sparsity and seed; frozen, and written as JSON and CSV."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from redense.arguments import SOME, NotNegative, Rate, Shares, validated
from redense.errors import FolderError, RecipeError
from redense.experiment.comparison import AT_EQUAL_ACCURACY, TESTED, Comparison, compare_phases, contrasts_by_seed
from redense.experiment.equal_accuracy import Trace, compare_traces
from redense.experiment.family import corrected
from redense.experiment.grouping import gathered
from redense.experiment.recipe import Recipe
from redense.experiment.wording import QuantityName
from redense.files.reading import Unread, Written, check, field, fields, mapping
from redense.methods.controls import check_control
from redense.metrics import balanced_accuracy_of_noise
from redense.metrics.roc import Members
from redense.metrics.spread import p_of_guessing
from redense.phases import OPTIONAL_COLUMNS as OPTIONAL_PHASE_COLUMNS
from redense.phases import Phase, PhaseKind
from redense.text import csv_text, data_frame, html_text, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 3
"""Of results.json. Format 1 did not record the rates of phases, format 2 no cross-fitted inference accuracy."""
FILE = "results.json"
ROW_COLUMNS = (
    *("lineage", "phase", "sparsity", "measured_sparsity", "rate", "beside", "round", "seed"),
    *("train_accuracy", "test_accuracy", "inference_accuracy", "inference_accuracy_cross_fitted"),
    "inference_interval",
    *("epochs", "seconds", "checkpoint", "history"),
)
"""What a row holds in JSON: its own fields and those of its phase."""
OPTIONAL_COLUMNS = ("kept_epoch", "validation_history")
"""What a row holds besides where it says something."""
CURVES = ("history", "validation_history")
"""What a flat row leaves out: a figure an epoch."""
COMPARED: dict[str, tuple[QuantityName, ...]] = {
    "comparisons": TESTED,
    "at_equal_accuracy": (AT_EQUAL_ACCURACY,),
    "audits": ("auc", "tpr", AT_EQUAL_ACCURACY),
}
"""What the comparisons are of, by the list that they stand in."""
WRITTEN = Written(
    "the results of a run",
    FORMAT,
    "the same `redense run` command with this version writes them anew, and trains nothing that is trained already",
)


@validated(RecipeError)
@dataclass(frozen=True)
class Row:
    """One trained phase. Accuracies, sparsities and intervals are fractions in [0, 1].

    `phase` is what was trained, of the recipe's seeds with `seed`, `train_accuracy` and `test_accuracy` the shares of
    examples that it classifies rightly, `measured_sparsity` the fraction of zeros among the weights that pruning
    applies to; `inference_accuracy` the best balanced accuracy of the confidence threshold, `inference_interval` its
    95% interval, and `inference_accuracy_cross_fitted` that of thresholds judged on other examples than chose them;
    `seconds` the time spent in training; `checkpoint` the job's key; `history` holds (test accuracy, inference
    accuracy) after each epoch, the latter measured on the test examples and as many of the training examples;
    `kept_epoch` is the epoch (from 1) whose weights the phase keeps, where that is its best by validation, and
    `validation_history` holds the accuracy on the validation examples after each epoch, where there are any.

    >>> from redense import Phase
    >>> row = Row(Phase("dense", 10, 1.0, None, 0), 0.0, 0, 0.99, 0.91, 0.56, 0.55, (0.55, 0.57), 42.0, "key")
    >>> row.phase.label, row.test_accuracy, Row.from_mapping(row.to_mapping()) == row
    ('dense', 0.91, True)
    """

    phase: Phase
    measured_sparsity: Rate
    seed: int
    train_accuracy: Rate
    test_accuracy: Rate
    inference_accuracy: Rate
    inference_accuracy_cross_fitted: Rate
    inference_interval: Shares
    seconds: NotNegative
    checkpoint: str
    history: tuple[tuple[Rate, Rate], ...] = ()
    kept_epoch: Annotated[int, SOME] | None = None
    validation_history: tuple[Rate, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """Return the row as plain JSON values, the phase being flat among them."""
        values = {**dataclasses.asdict(self), **self.phase.to_columns()}
        further = [name for name in (*OPTIONAL_PHASE_COLUMNS, *OPTIONAL_COLUMNS) if values.get(name) not in (None, ())]
        return {name: values[name] for name in (*ROW_COLUMNS, *further)}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Row:
        """Undo `to_mapping`, also after a passage through JSON; raise `Unread` for anything else."""
        phase, own = Phase.from_columns(mapping(values))
        check_control(phase)
        return fields(cls, own, phase=phase)


def p_without_leak(rows: Sequence[Row]) -> float:
    """Return a phase's p-value of giving nothing away, of its rows, one a seed."""
    cross_fitted = [row.inference_accuracy_cross_fitted for row in rows]
    reaches = [row.inference_accuracy_cross_fitted - row.inference_interval[0] for row in rows]
    return p_of_guessing(cross_fitted, reaches)


@validated(RecipeError)
@dataclass(frozen=True, repr=False)
class Results:
    """What a run found: its `recipe`, the numbers of `members` and `nonmembers`, the `rows` in the table's order.

    `comparisons` tells which phase is better than which and gives away more, `at_equal_accuracy` what phases give away
    at equal test accuracy, `audits` what the run's audits say about that. What these claim over seeds is one family,
    whose p-values are corrected together. `mixed` says so where phases were trained under different arithmetic.

    >>> from redense import Phase
    >>> row = Row(Phase("dense", 10, 1.0, None, 0), 0.0, 0, 0.99, 0.91, 0.56, 0.55, (0.55, 0.57), 42.0, "key")
    >>> results = Results(Recipe(epochs=(10, 10, 10)), members=60_000, nonmembers=10_000, rows=(row,))
    >>> Results.from_json(results.to_json()) == results
    True
    """

    recipe: Recipe
    members: int
    nonmembers: int
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    at_equal_accuracy: tuple[Comparison, ...] = ()
    audits: tuple[Comparison, ...] = ()
    mixed: tuple[str, ...] = ()

    def groups(self) -> list[tuple[Row, ...]]:
        """Gather rows that differ in the seed alone: one group a line of the table."""
        return [tuple(rows) for rows in gathered((row.phase, row) for row in self.rows).values()]

    def shown(self) -> list[tuple[Row, ...]]:
        """Return the groups that the table shows: all, or those of the networks that an alternating method yields."""
        chosen = self.recipe.chosen_method.shown(row.phase for row in self.rows)
        return [group for group in self.groups() if group[0].phase in chosen]

    @property
    def noise(self) -> float:
        """The inference accuracy that pure noise would give on so many examples, in [0.5, 1]."""
        return balanced_accuracy_of_noise(self.members, self.nonmembers)

    def traces(self) -> dict[tuple[Phase, int], Trace]:
        """Return, by phase and seed, what each row measured after every epoch; rows without a history are left out."""
        return {(row.phase, row.seed): Trace(row.history, self.nonmembers) for row in self.rows if row.history}

    def opponent(self) -> PhaseKind | None:
        """Return the kind of phase that the run's last phase has to beat: see `redense.methods.Method.opponent`."""
        lineages = self.recipe.lineages()
        return self.recipe.chosen_method.opponent(phase for phases in lineages for phase in phases)

    @validated(RecipeError)
    def compared(self, correct: Callable[[str], Members] | None = None) -> Results:
        """Return the results with all comparisons that the rows allow, corrected together with those of audits.

        `correct` reads, by the checkpoint's key, which test examples its network classifies correctly, bool [n];
        McNemar's test needs it where there is one seed.
        """
        method = self.recipe.chosen_method
        keys = {(row.phase, row.seed): row.checkpoint for row in self.rows}
        read = None if correct is None else lambda phase, seed: correct(keys[phase, seed])
        without_leak = {
            phase: p_without_leak(rows) for phase, rows in gathered((row.phase, row) for row in self.rows).items()
        }
        found: list[Comparison] = []
        for quantity in TESTED:
            by_seed = gathered((row.phase, (row.seed, getattr(row, quantity))) for row in self.rows)
            values = {phase: dict(found) for phase, found in by_seed.items()}
            found += compare_phases(
                values, quantity, method, read, without_leak if quantity == "inference_accuracy" else None
            )
        traces = self.traces()
        equal = [
            compare_traces(
                first,
                second,
                [(traces[first, seed], traces[second, seed]) for seed in seeds],
                without_leak=(without_leak[first], without_leak[second]),
            )
            for first, second, seeds in contrasts_by_seed(traces.keys(), method)
        ]
        compared = dataclasses.replace(self, comparisons=tuple(found), at_equal_accuracy=tuple(equal))
        return compared.joined(self.audits)

    @validated(RecipeError)
    def joined(self, audits: Sequence[Comparison]) -> Results:
        """Return the results with these comparisons of audits, all p-values being corrected anew.

        Those about phases that the results do not have are left out.
        """
        phases = {row.phase for row in self.rows}
        kept = [one for one in audits if {one.first, one.second} <= phases]
        parts = (self.comparisons, self.at_equal_accuracy, kept)
        family = iter(corrected([comparison for part in parts for comparison in part]))
        comparisons, equal, audited = (tuple(itertools.islice(family, len(part))) for part in parts)
        return dataclasses.replace(self, comparisons=comparisons, at_equal_accuracy=equal, audits=audited)

    def to_json(self) -> str:
        """Write format, recipe, sample sizes, rows, comparisons and, where arithmetic was mixed, that, as JSON."""
        values = {
            "format": FORMAT,
            "recipe": self.recipe.to_mapping(),
            "members": self.members,
            "nonmembers": self.nonmembers,
            "rows": [row.to_mapping() for row in self.rows],
            "comparisons": [comparison.to_mapping() for comparison in self.comparisons],
            "at_equal_accuracy": [comparison.to_mapping() for comparison in self.at_equal_accuracy],
            "audits": [comparison.to_mapping() for comparison in self.audits],
            **({"mixed": list(self.mixed)} if self.mixed else {}),
        }
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    @validated(FolderError)
    def from_json(cls, text: str, source: str = FILE) -> Results:
        """Undo `to_json`; `source` is named in errors.

        Raises `FolderError` for what is no JSON of results and for results of another format.
        """
        return WRITTEN.parse(text, source, cls._from_values)

    @classmethod
    @validated(FolderError)
    def load(cls, folder: str | Path) -> Results:
        """Read the results of a run from its folder.

        Raises `FolderError` where there are none, or of another format.
        """
        return WRITTEN.read(Path(folder) / FILE, cls._from_values)

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> Results:
        own = {name: value for name, value in values.items() if name != "recipe"}
        results = fields(cls, own, recipe=Recipe.from_written(field(values, "recipe")))
        results._check_rows()
        results._check_comparisons()
        return results

    def _check_rows(self) -> None:
        """Raise `Unread` for rows that no run of the recipe has: of other phases or seeds, twice, of no examples."""
        places = {_place(phase) for phases in self.recipe.lineages() for phase in phases}
        seeds, known = {*self.recipe.seeds}, set[tuple[Phase, int]]()
        for number, row in enumerate(self.rows):
            got, place = f"rows: {number}: got {visible(row.phase.label)}, seed {row.seed}", _place(row.phase)
            if row.seed not in seeds or place not in places:
                raise Unread(f"{got}; expected a phase of the recipe")
            if (place, row.seed) in known:
                raise Unread(f"{got}, twice; expected a row for each phase and seed")
            known.add((place, row.seed))
        if self.rows and min(self.members, self.nonmembers) < 1:
            raise Unread(f"members, nonmembers: got {self.members} and {self.nonmembers}; expected at least 1 of each")

    def _check_comparisons(self) -> None:
        """Raise `Unread` for comparisons of phases without a row, and for those that belong into another list."""
        phases = {row.phase for row in self.rows}
        for name, quantities in COMPARED.items():
            for place, one in enumerate(getattr(self, name)):
                check(one.quantity in quantities, one.quantity, f"{name}: {place}: quantity", " or ".join(quantities))
                for phase in (one.first, one.second):
                    check(phase in phases, phase.label, f"{name}: {place}", "a phase that has a row")

    def to_csv(self) -> str:
        """Write the rows as CSV, without their curves; the interval takes two columns."""
        return csv_text([_flat(row) for row in self.rows])

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame, as `to_csv` has them, accuracies being fractions in [0, 1].

        Raises `RedenseError` where pandas is not installed, which the extra ``redense[pandas]`` brings.
        """
        return data_frame([_flat(row) for row in self.rows])

    def figure(self) -> Figure:
        """Draw test and inference accuracy against sparsity, as ``table.png`` has them; a figure of matplotlib."""
        from redense.experiment.report.figures import table_figure

        return table_figure(self)

    def leakage_figure(self) -> Figure:
        """Draw inference against test accuracy, epoch by epoch, as ``accuracy-leakage.png`` has them."""
        from redense.experiment.report.traces import results_traces

        return results_traces(self)

    def __str__(self) -> str:
        from redense.experiment.report.table import plain_table

        return plain_table(self)

    def __repr__(self) -> str:
        recipe = self.recipe
        return f"<Results of {recipe.method} on {recipe.data}: {len(self.rows)} rows, seeds {list(recipe.seeds)}>"

    def _repr_html_(self) -> str:
        return html_text(str(self))


def _place(phase: Phase) -> Phase:
    """Return a phase but for its rates, in whose last digits the cosines of machines may differ."""
    return dataclasses.replace(phase, rate=0.0, rate_end=None)


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.to_mapping().items():
        if name == "inference_interval":
            flat["inference_low"], flat["inference_high"] = value
        elif name not in CURVES:
            flat[name] = value
    return flat
