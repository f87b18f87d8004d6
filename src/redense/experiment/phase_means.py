"""What a run's reference models give away, each the target in turn: means over models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redense.arguments import Count, Interval, Rate, validated
from redense.auditing.attack_result import FPRS
from redense.errors import FolderError
from redense.experiment.grouping import gathered
from redense.files.reading import Written, build, check, field, fields, mapping
from redense.files.writing import write_whole
from redense.methods.controls import check_control
from redense.phases import Phase
from redense.text import percent, visible

FILE = "replicates.json"
FORMAT = 1
WRITTEN = Written("what replicates found", FORMAT, "`redense audit` of this folder writes it anew")
RATES = {f"tpr_at_{fpr:g}": fpr for fpr in FPRS}
"""The false-positive rates of figures that are true-positive rates, highest first."""


@validated(FolderError)
@dataclass(frozen=True)
class PhaseMean:
    """The mean of a figure of an attack over the reference models of a phase.

    The others are those of `redense.metrics.jackknife.ReplicatedMean`, but for the p-value, which is about differences:
    a mean of 0 is no question about one phase.
    """

    phase: Phase
    attack: str
    figure: str
    replicates: Count
    mean: Rate
    interval: Interval | None
    prediction: Interval | None

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain JSON values, the phase being flat among them."""
        own = {name: value for name, value in dataclasses.asdict(self).items() if name != "phase"}
        return {**self.phase.to_columns(), **own}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> PhaseMean:
        """Undo `to_mapping`, also after a passage through JSON; raise `Unread` for anything else."""
        phase, own = Phase.from_columns(mapping(values))
        check_control(phase)
        return fields(cls, own, phase=phase)


def figure_name(figure: str) -> str:
    """Write a figure's name for people.

    >>> figure_name("auc"), figure_name("tpr_at_0.001")
    ('AUC', 'TPR at 0.1% FPR')
    """
    return f"TPR at {percent(RATES[figure])} FPR" if figure in RATES else {"auc": "AUC"}.get(figure, figure)


def compared_figures(figures: Sequence[str]) -> tuple[str, ...]:
    """Return the figures that phases are compared by: ``auc``, and the true-positive rate at the lowest rate there is.

    >>> compared_figures(["accuracy", "auc", "tpr_at_0.01", "tpr_at_0.1"])
    ('auc', 'tpr_at_0.01')
    """
    rates = [name for name in RATES if name in figures]
    return ("auc", *rates[-1:])


def write_means(means: Sequence[PhaseMean], folder: Path) -> None:
    """Write means into a run's folder."""
    values = {"format": FORMAT, "means": [one.to_mapping() for one in means]}
    write_whole(folder / FILE, json.dumps(values) + "\n", inside=folder)


def read_means(folder: Path) -> list[PhaseMean]:
    """Return what `write_means` wrote; raise `FolderError` where nothing was, or in another format."""
    return WRITTEN.read(folder / FILE, _of_values)


def _of_values(values: Mapping[str, Any]) -> list[PhaseMean]:
    means: list[PhaseMean] = build(list[PhaseMean], field(values, "means"), "means")
    for phase, figures in gathered((one.phase, one.figure) for one in means).items():
        expected = f"auc among those of {visible(phase.label)}, each once"
        check("auc" in figures and len(figures) == len(set(figures)), figures, "means: figure", expected)
    return means
