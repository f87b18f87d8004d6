"""The table: a row a phase and sparsity, the published study's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from redense.experiment.report.columns import (
    INFERENCE_IS,
    PHASE,
    SAME,
    TERMINAL,
    TEST_INTERVAL_IS,
    TRAIN,
    Column,
    columns_of,
    guessing_text,
)
from redense.experiment.report.published import Accuracies, PhaseName, published
from redense.experiment.report.seeds import any_several, over_seeds
from redense.terminal import Fitting, below, plain, prose, table_of
from redense.text import percent, visible

if TYPE_CHECKING:
    from redense.experiment.results import Results, Row
    from redense.phases import Phase

_OVER_SEEDS = (
    f"Over seeds: mean ± standard deviation. Test, 95%: {TEST_INTERVAL_IS}; {SAME}. "
    "Inference, 95%: over seeds and examples, low end from thresholds judged on other examples than chose them"
)
_ONE_YET = "its figures, and the inference interval over examples"
_STUDY = ("published: train", "test", "inference")


def results_table(results: Results, model: str) -> RenderableType:
    """Draw the table in percent: mean ± standard deviation where there are several seeds, else the interval.

    Narrow, the published study's figures are left out; narrower, intervals stand below their figures, then the training
    accuracy is left out.
    """
    study = published(results.recipe, model)
    groups = results.shown()
    columns = columns_of(TERMINAL, any_several(groups))
    beside = [_study(group[0].phase, study) for group in groups] if study else None
    left_out = "the published study's figures" if beside else ""
    layouts = [(_wide(columns, groups, beside), "")] if beside else []
    layouts += [(_wide(columns, groups, None), left_out), (_narrow(columns, groups), left_out)]
    fewer = [column for column in columns if column is not TRAIN]
    layouts.append((_narrow(fewer, groups), ", ".join([*([left_out] if left_out else []), "train accuracy"])))
    return Group(Fitting(layouts), "", *_footnotes(results))


def _study(phase: Phase, study: Mapping[PhaseName, Accuracies]) -> list[str]:
    """Return the published figures of a phase: they are for one round of sparse and re-dense."""
    known = study.get((phase.kind, phase.sparsity)) if phase.round <= 1 else None
    return [f"{value:.2f}" for value in known] if known else ["-"] * 3


def _wide(columns: Sequence[Column], groups: Sequence[Sequence[Row]], study: Sequence[Sequence[str]] | None) -> Table:
    """Draw the columns side by side, the published study's after them."""
    table = table_of(*[column.head for column in columns], *(_STUDY if study else ()), text=[PHASE.head])
    for of_study in table.columns[len(columns) :]:
        of_study.style = "dim"
    for place, group in enumerate(groups):
        table.add_row(*[column.cell(group) for column in columns], *(study[place] if study else ()))
    return table


def _narrow(columns: Sequence[Column], groups: Sequence[Sequence[Row]]) -> Table:
    """Draw intervals below their figures."""
    names = [column.head for column in columns if not column.interval]
    table = table_of(*names, text=[PHASE.head], broken=[PHASE.head])
    for group in groups:
        cells: list[str] = []
        for column in columns:
            if column.interval:
                cells[-1] = below(cells[-1], column.cell(group))
            else:
                cells.append(column.cell(group))
        table.add_row(*cells)
    return table


def plain_table(results: Results) -> str:
    """Return the table as plain text, without the published study's numbers."""
    return plain(results_table(results, model=""))


def _footnotes(results: Results) -> list[RenderableType]:
    inference = (
        f"Inference = membership-inference accuracy: {INFERENCE_IS} ({results.members:,} and {results.nonmembers:,}, "
        f"weighted alike). {guessing_text(results.noise)}"
    )
    return [prose(note) for note in (inference, *notes(results))]


def notes(results: Results) -> list[str]:
    """Say what figures over seeds are, what is left out, which examples chose epochs, and what arithmetic differs."""
    several = [f"{over_seeds(results.shown(), _OVER_SEEDS, _ONE_YET)}."] if any_several(results.shown()) else []
    return [*several, *_left_out(results), *_validated(results), *map(visible, results.mixed)]


def _left_out(results: Results) -> list[str]:
    """Count the phases on the way to those that a method yields."""
    found, shown = len(results.groups()), len(results.shown())
    if found == shown:
        return []
    return [f"Of {found} phases the {shown} are shown that the method yields, and their controls; results.csv has all."]


def _validated(results: Results) -> list[str]:
    if not results.recipe.validation:
        return []
    kept = [
        f"{group[0].phase.label}: {_between([row.kept_epoch for row in group])} of {group[0].phase.epochs}"
        for group in results.shown()
        if group[0].phase.keeps is not None
    ]
    gradual = any(group[0].phase.masks == "gradual" for group in results.shown())
    once = " (where pruning is gradual, of those with all zeros)" if gradual else ""
    chosen = f" Epochs kept, the best by validation{once}: {'; '.join(kept)}." if kept else ""
    return [
        f"{percent(results.recipe.validation)} of the training examples validate: no model is trained on them or "
        f"audited with them.{chosen}"
    ]


def _between(values: Sequence[int | None]) -> str:
    known = sorted({value for value in values if value is not None})
    return " to ".join(str(value) for value in dict.fromkeys((known[0], known[-1]))) if known else "-"
