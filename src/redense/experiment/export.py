"""Take a trained phase out of a run: as a plain state_dict, as bitmask and values, or as ONNX."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import nn

from redense import data
from redense.errors import FolderError, ModelError, RecipeError
from redense.experiment.checkpoints import Checkpoint, Store
from redense.experiment.recipe import Recipe
from redense.experiment.results import Results, Row
from redense.files import write_whole
from redense.models.evaluation import evaluation_mode
from redense.models.registry import rebuild, resolve
from redense.phases import PhaseKind
from redense.sparsity.storage import save_sparse
from redense.text import percent

Format = Literal["safetensors", "bitmask", "onnx"]
SUFFIXES = {"safetensors": ".safetensors", "bitmask": ".bitmask.safetensors", "onnx": ".onnx"}
TOLERANCE = 1e-4
"""How far ONNX Runtime's logits may be from PyTorch's, in units of the largest."""


def export(
    run: str | Path,
    *,
    phase: PhaseKind = "redense",
    sparsity: float | None = None,
    seed: int | None = None,
    round: int | None = None,
    format: Format = "safetensors",
    out: str | Path | None = None,
    data_root: str | Path | None = None,
) -> Path:
    """Write the model of one phase of a finished run to a file and return its path.

    Args:
        run: the run's folder.
        phase: ``dense``, ``sparse`` or ``redense``.
        sparsity: which of the run's sparsities; not needed where there is one, or for ``dense``.
        seed: which of the run's seeds, by default the first.
        round: which round, by default the last.
        format: ``safetensors`` (a state_dict), ``bitmask`` (`save_sparse`) or ``onnx`` (checked against PyTorch with
            ONNX Runtime; needs the extra ``redense[onnx]``, and the run's data for the shape of its inputs).
        out: the file, by default beside the run's results.
        data_root: a folder in which to look for named data first.

    Raises `FolderError` when the folder is no finished run, `RecipeError` when it has no such phase.
    """
    folder = Path(run)
    results = Results.load(folder)
    row = _chosen(results, phase, sparsity, seed, round)
    checkpoint = Store(folder).load(row.checkpoint)
    if checkpoint is None:
        raise FolderError(f"{folder}: the checkpoint {row.checkpoint} is missing or damaged; run the recipe again")
    target = Path(out) if out is not None else folder / f"{_name(row)}{SUFFIXES[format]}"
    if not target.parent.is_dir():
        raise FolderError(f"{target}: its folder does not exist; expected a file in an existing folder")
    if format == "bitmask":
        save_sparse(checkpoint.model, target)
    elif format == "safetensors":
        write_whole(target, save(checkpoint.model))
    else:
        _export_onnx(results.recipe, row.seed, checkpoint, target, data_root)
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


def _chosen(results: Results, phase: str, sparsity: float | None, seed: int | None, round: int | None) -> Row:
    """Find the one row that the arguments name."""
    rows = [row for row in results.rows if row.phase.kind == phase and row.phase.lineage == results.recipe.method]
    if phase != "dense" and sparsity is None and len({row.phase.sparsity for row in rows}) > 1:
        raise RecipeError(f"sparsity: got none; expected one of {_listed({row.phase.sparsity for row in rows})}")
    wanted: dict[str, tuple[Any, Callable[[Row], Any]]] = {
        "sparsity": (sparsity if phase != "dense" else None, lambda row: row.phase.sparsity),
        "seed": (seed, lambda row: row.seed),
        "round": (round, lambda row: row.phase.round),
    }
    for name, (value, read) in wanted.items():
        found = {read(row) for row in rows}
        if value is not None:
            rows = [row for row in rows if read(row) == value]
        if not rows:
            raise RecipeError(f"{name}: got {value} for {phase}; expected {_listed(found) or 'another phase'}")
    last = max(row.phase.round for row in rows)
    return next(row for row in rows if row.phase.round == last)


def _listed(values: set[Any]) -> str:
    return ", ".join(json.dumps(value) for value in sorted(values))


def _name(row: Row) -> str:
    phase = row.phase
    sparsity = f"-{percent(phase.sparsity).removesuffix('%')}" if phase.sparsity is not None else ""
    again = f"-round-{phase.round}" if phase.round > 1 else ""
    return f"{phase.kind}{sparsity}{again}-seed-{row.seed}"
