"""What to export of a run: which of its rows, in which format, to which file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redense.arguments import described, validated
from redense.errors import RecipeError
from redense.experiment.export_formats import FORMATS, Format
from redense.phases import PhaseKind
from redense.text import percent

if TYPE_CHECKING:
    from redense.experiment.results import Row


@validated(RecipeError)
@dataclass(frozen=True)
class ExportSettings:
    """What to export of a run. Raises `RecipeError` for an unknown format.

    >>> ExportSettings(phase="sparse", sparsity=0.5).format
    'safetensors'
    """

    phase: PhaseKind | None = None
    """Which phase, by default the last of its lineage."""
    lineage: str | None = None
    """Which lineage: the method, which is the default, or a control, such as control-longer."""
    sparsity: float | None = None
    """Which sparsity; not needed where the run has one, or for phases without any."""
    beside: PhaseKind | None = None
    """Of a control: the phase that it stands beside, by default the last."""
    seed: int | None = None
    """Which seed, by default the first."""
    round: int | None = None
    """Which round, by default the last."""
    format: Format = "safetensors"
    """A plain state_dict, bitmask and values (see redense.load_sparse), or ONNX (checked against PyTorch with ONNX
    Runtime; needs redense[onnx], and the run's data for the shape of its inputs)."""
    out: Path | None = None
    """The file, by default in the run's folder."""
    data_root: Path | None = None
    """For ONNX: a folder in which to look for named data first."""
    model: str | None = None
    """For ONNX: the run's own model named again, package.module:factory, which lets its code be run."""
    data: str | None = None
    """For ONNX: the run's own data named again, package.module:function, which lets its code be run."""
    trust: bool = False
    """For ONNX: run whatever code the folder names."""

    def row(self, rows: Sequence[Row]) -> Row:
        """Find the one row that the settings name among a run's, which are in the table's order.

        Raises `RecipeError`, which lists what there is, when there is none, or more than one and no default.
        """
        given: object = rows
        if not isinstance(given, list | tuple) or not all(hasattr(row, "phase") for row in given):
            raise RecipeError(f"rows: got {described(rows)}; expected the rows of a run's results")
        if not rows:
            raise RecipeError("export: got a run without a finished phase; run the recipe first")
        method = next((row.phase.lineage for row in rows if row.phase.kind != "control"), None)
        left = list(rows)
        for name, read in _READ.items():
            left = self._having(left, name, read)
        for name, pick in _DEFAULTS.items():
            values = [_READ[name](row) for row in left]
            if len(set(values)) > 1:
                chosen = method if name == "lineage" and method in values else pick(name, values)
                left = [row for row in left if _READ[name](row) == chosen]
        return left[0]

    def _having(self, rows: list[Row], name: str, read: Callable[[Row], Any]) -> list[Row]:
        """Keep the rows that have the value asked for; phases without any sparsity fit every one."""
        value = getattr(self, name)
        if value is None:
            return rows
        found = [read(row) for row in rows if read(row) is not None]
        having = [row for row in rows if read(row) == value or (name == "sparsity" and read(row) is None)]
        if not having or (found and value not in found):
            asked = f" for {self.phase}" if self.phase and name != "phase" else ""
            raise RecipeError(f"{name}: got {value}{asked}; expected {_listed(found) or 'another phase'}")
        return having


def file_name(row: Row, format: Format) -> str:
    """Name the file of an exported row; every row of a run has another."""
    phase = row.phase
    what = phase.kind if phase.beside is None else f"{phase.lineage}-beside-{phase.beside}"
    sparsity = f"-{percent(phase.sparsity).removesuffix('%')}" if phase.sparsity is not None else ""
    again = f"-round-{phase.round}" if phase.round > 1 else ""
    return f"{what}{sparsity}{again}-seed-{row.seed}{FORMATS[format].suffix}"


def _first(name: str, values: list[Any]) -> Any:
    return values[0]


def _last(name: str, values: list[Any]) -> Any:
    return values[-1]


def _none(name: str, values: list[Any]) -> Any:
    raise RecipeError(f"{name}: got none; expected one of {_listed(values)}")


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, dict.fromkeys(values)))


_READ: dict[str, Callable[[Row], Any]] = {
    "phase": lambda row: row.phase.kind,
    "lineage": lambda row: row.phase.lineage,
    "sparsity": lambda row: row.phase.sparsity,
    "beside": lambda row: row.phase.beside,
    "seed": lambda row: row.seed,
    "round": lambda row: row.phase.round,
}
"""Where a row has what the settings name."""
_DEFAULTS: dict[str, Callable[[str, list[Any]], Any]] = {
    "lineage": _none,
    "phase": _last,
    "beside": _last,
    "sparsity": _none,
    "round": _last,
    "seed": _first,
}
"""Which of the values of several rows is taken where none was asked for, in the order in which it is decided."""
