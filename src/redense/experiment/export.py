"""Take a trained phase out of a run, in one of the formats of the table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from redense.arguments import validated
from redense.errors import FolderError, RecipeError
from redense.experiment.checkpoints import Store
from redense.experiment.export_formats import FORMATS, Exported
from redense.experiment.export_settings import ExportSettings, file_name
from redense.experiment.folder import check_targets
from redense.experiment.results import Results
from redense.files.writing import check_inside


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
    exported = Exported(checkpoint, row.seed, results.recipe, folder, asked)
    FORMATS[asked.format].write(exported, target)
    return target
