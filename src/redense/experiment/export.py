"""Take a trained phase out of a run: as a plain state_dict, as bitmask and values, or as ONNX."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from redense import data
from redense.arguments import validated
from redense.errors import FolderError, ModelError, RecipeError
from redense.experiment.checkpoints import Checkpoint, Store
from redense.experiment.export_settings import ExportSettings, file_name
from redense.experiment.folder import Trust, check_targets
from redense.experiment.recipe import Recipe
from redense.experiment.results import Results
from redense.files.writing import write_whole
from redense.models.evaluation import evaluation_mode
from redense.models.registry import rebuild, resolve
from redense.sparsity.storage import save_sparse

TOLERANCE = 1e-4
"""How far ONNX Runtime's logits may be from PyTorch's, in units of the largest."""


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


def to_onnx(model: nn.Module, example: torch.Tensor, path: str | Path) -> float:
    """Write a model as ONNX and compare it with PyTorch under ONNX Runtime; the first dimension stays free.

    Returns the largest difference of the outputs on random inputs, twice as many as in `example`. Raises
    `ModelError`, and writes nothing, when it exceeds `TOLERANCE` of the largest output or the extra
    ``redense[onnx]`` is missing.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx needs it)
    except ImportError as error:
        raise ModelError(f"ONNX: {error.name} is not installed; pip install 'redense[onnx]'") from None
    with evaluation_mode(model):
        batch = torch.export.Dim("batch", min=1)
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=["input"],
            output_names=["logits"],
            verbose=False,
        )
        assert program is not None
        content = program.model_proto.SerializeToString()
        onnx.checker.check_model(content)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        inputs = torch.randn(2 * len(example), *example.shape[1:], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = model(inputs)
        (found,) = session.run(None, {"input": inputs.numpy()})
    difference = float((torch.from_numpy(found) - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ModelError(f"ONNX: the outputs differ from PyTorch's by {difference:g}; not written")
    write_whole(Path(path), content)
    return difference


def _export_onnx(recipe: Recipe, seed: int, checkpoint: Checkpoint, target: Path, data_root: str | Path | None) -> None:
    dataset = data.load(recipe.data, data_root)
    name = resolve(recipe.model, dataset.input_shape)
    model = rebuild(name, dataset.input_shape, dataset.num_classes, checkpoint.model, seed)
    to_onnx(model, torch.zeros(2, *dataset.input_shape), target)
