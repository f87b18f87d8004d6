"""The table of formats that a run's models are exported in: how each is written, and what its files end in.

Help reads it, so it is light to import: what writes is imported where that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from redense.experiment.export_settings import ExportSettings
    from redense.experiment.recipe import Recipe
    from redense.experiment.trained import Checkpoint

Format = Literal["safetensors", "bitmask", "onnx"]


@dataclass(frozen=True)
class Exported:
    """What is written: a phase's `checkpoint` and `seed`, of the run of `recipe` in `folder`, as `asked`."""

    checkpoint: Checkpoint
    seed: int
    recipe: Recipe
    folder: Path
    asked: ExportSettings


@dataclass(frozen=True)
class FileFormat:
    """One format: what its files end in, and what writes one."""

    suffix: str
    write: Callable[[Exported, Path], None]


def _safetensors(one: Exported, target: Path) -> None:
    from safetensors.torch import save

    from redense.files.writing import write_whole

    write_whole(target, save(one.checkpoint.model))


def _bitmask(one: Exported, target: Path) -> None:
    from redense.sparsity.storage import save_sparse

    save_sparse(one.checkpoint.model, target)


def _onnx(one: Exported, target: Path) -> None:
    from redense import data
    from redense.data.batches import examples_to_try
    from redense.experiment.folder import Trust
    from redense.experiment.prepare import fitting_model
    from redense.models.registry import rebuild
    from redense.onnx import export_onnx

    asked, recipe = one.asked, one.recipe
    Trust(asked.model, asked.data, asked.trust).check(recipe, one.folder)
    stored = data.load(recipe.data, asked.data_root, recipe.layout, integers=True)
    name, _, dataset = fitting_model(recipe.model, stored)
    model = rebuild(name, dataset.input_shape, dataset.num_classes, one.checkpoint.model, one.seed)
    export_onnx(model, examples_to_try(dataset), target)


FORMATS: dict[Format, FileFormat] = {
    "safetensors": FileFormat(".safetensors", _safetensors),
    "bitmask": FileFormat(".bitmask.safetensors", _bitmask),
    "onnx": FileFormat(".onnx", _onnx),
}
