"""Take a trained phase out of a run: as a plain state_dict, as bitmask and values, or as ONNX."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors.torch import save

from redense import data
from redense.arguments import validated
from redense.data.batches import examples_to_try
from redense.errors import FolderError, RecipeError
from redense.experiment.checkpoints import Checkpoint, Store
from redense.experiment.export_settings import ExportSettings, file_name
from redense.experiment.folder import Trust, check_targets
from redense.experiment.prepare import fitting_model
from redense.experiment.recipe import Recipe
from redense.experiment.results import Results
from redense.files.writing import check_inside, write_whole
from redense.models.registry import rebuild
from redense.onnx import export_onnx
from redense.sparsity.storage import save_sparse


@validated(RecipeError)
def export(run: str | Path, **settings: Any) -> Path:
    """Write the model of one phase of a finished run to a file and return its path.

    Args:
        run: the run's folder.
        settings: which phase, in which format and where to, by the names that `redense.ExportSettings` has.

    Raises `FolderError` when the folder is no finished run, or ONNX needs code that the folder names and the settings
    do not; `RecipeError` when it has no such phase.

    >>> import tempfile
    >>> from redense import Recipe, run
    >>> recipe = Recipe(model="mlp", sparsities=(0.5,), epochs=(1, 1, 1), batch_size=256)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = run(recipe, folder, workers=0)
    ...     export(folder, phase="sparse", format="bitmask").name
    'sparse-50-seed-0.bitmask.safetensors'
    """
    asked = ExportSettings(**settings)
    folder = Path(run)
    results = Results.load(folder)
    row = asked.row(results.rows)
    checkpoint = Store(folder, reads_only=True).load(row.checkpoint)
    if checkpoint is None:
        raise FolderError(f"{folder}: the checkpoint {row.checkpoint} is missing or damaged; run the recipe again")
    check_targets(folder)
    target = Path(asked.out) if asked.out is not None else folder / file_name(row, asked.format)
    if asked.out is None:
        check_inside(folder, target)
    if not os.path.isdir(target.parent):
        raise FolderError(f"{target}: its folder does not exist; expected a file in an existing folder")
    if asked.format == "bitmask":
        save_sparse(checkpoint.model, target)
    elif asked.format == "safetensors":
        write_whole(target, save(checkpoint.model))
    else:
        Trust(asked.model, asked.data, asked.trust).check(results.recipe, folder)
        _export_onnx(results.recipe, row.seed, checkpoint, target, asked.data_root)
    return target


def _export_onnx(recipe: Recipe, seed: int, checkpoint: Checkpoint, target: Path, data_root: str | Path | None) -> None:
    name, _, dataset = fitting_model(recipe.model, data.load(recipe.data, data_root, recipe.layout, integers=True))
    model = rebuild(name, dataset.input_shape, dataset.num_classes, checkpoint.model, seed)
    export_onnx(model, examples_to_try(dataset), target)
