"""Models as ONNX, compared with PyTorch before they are written; needs the extra ``redense[onnx]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from redense.arguments import described, validated
from redense.errors import FOREIGN, DataError, ModelError
from redense.files.writing import write_whole
from redense.models.evaluation import evaluating, evaluation_mode
from redense.sparsity.parameters import bare

TOLERANCE = 1e-4
"""How far ONNX Runtime's outputs may be from PyTorch's, in units of the largest."""


@validated(ModelError)
def export_onnx(model: nn.Module, example: Any, path: str | Path) -> float:
    """Write a model as ONNX, having compared it with PyTorch under ONNX Runtime; the number of examples stays free.

    The model is exported as it predicts (evaluation mode), without ``torch.compile``, data parallelism or the like
    around it, and stays as it is. Its zeros are written as zeros, as large as any other value. One input is called
    ``input``, several ``input_0``, ``input_1``, ... or as in the mapping; one output ``logits``.

    Args:
        model: any module.
        example: a batch of what it takes: a tensor [batch, ...], or a tuple of such for positional arguments, or a
            mapping for keyword arguments.
        path: the file.

    Returns the largest difference of the outputs, on other inputs and in another number than those it was traced with.
    Raises `ModelError`, and writes nothing, when it exceeds `TOLERANCE` of the largest output, when the model cannot be
    exported or ONNX Runtime does not compute it for another number of examples, or when the extra is missing;
    `DataError` for an example that is no batch of tensors.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(nn.Linear(4, 2), torch.zeros(1, 4), f"{folder}/model.onnx") < 1e-5
    True
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx needs it)
    except ImportError as error:
        raise ModelError(f"ONNX: {error.name} is not installed; pip install 'redense[onnx]'") from None
    model = bare(model)
    args, kwargs = _arguments(example)
    names = list(kwargs) or (["input"] if len(args) == 1 else [f"input_{number}" for number in range(len(args))])
    traced, other = _repeated((args, kwargs), 2), _noisy(_repeated((args, kwargs), 3))
    with evaluation_mode(model):
        expected = _outputs(model, *other)
        batch = torch.export.Dim("batch", min=1)
        try:
            program = torch.onnx.export(
                model,
                traced[0],
                kwargs=traced[1],
                dynamo=True,
                dynamic_shapes=tree_map(lambda _: {0: batch}, kwargs or args),
                input_names=names,
                output_names=["logits"] if len(expected) == 1 else None,
                verbose=False,
            )
        except FOREIGN as error:  # whatever stands in the way in a stranger's model
            raise ModelError(f"ONNX: {type(model).__name__} cannot be exported: {_first_line(error)}") from error
        assert program is not None
        content = program.model_proto.SerializeToString()
    inputs = [value.cpu().numpy() for value in (*other[0], *other[1].values())]
    try:
        onnx.checker.check_model(content)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        taken = {place.name for place in session.get_inputs()}  # what the model does not use is left out
        found = session.run(None, {name: value for name, value in zip(names, inputs, strict=True) if name in taken})
    except Exception as error:  # whatever the exporter has made of a stranger's model
        raise ModelError(
            f"ONNX: {type(model).__name__} was exported, and ONNX Runtime fails on {len(inputs[0])} examples "
            f"({_first_line(error)}); not written. If its code says len(x), which makes the number of examples a "
            "constant, write x.shape[0]; else torch.onnx.export(model, (example,), path, dynamo=True) writes it for "
            "one number"
        ) from error
    if len(found) != len(expected):
        raise ModelError(
            f"ONNX: the file has {len(found)} outputs, and {type(model).__name__} gives {len(expected)} tensors; not "
            "written: expected tensors alone, no numbers beside them"
        )
    differences = [_difference(*pair) for pair in zip(found, expected, strict=True)]
    largest = max(float(values.float().abs().max()) for values in expected)
    difference = max(differences)
    if not difference <= TOLERANCE * max(1.0, largest):
        raise ModelError(f"ONNX: the outputs differ from PyTorch's by {difference:g}; not written")
    write_whole(Path(path), content)
    return difference


def _arguments(example: Any) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Tell positional from keyword arguments."""
    kwargs = dict(example) if isinstance(example, Mapping) else {}
    args = () if kwargs else tuple(example) if isinstance(example, (tuple, list)) else (example,)
    values = [*args, *kwargs.values()]
    if not values or not all(map(_is_batch, values)):
        got = ", ".join(map(described, values)) or "nothing"
        raise DataError(f"example: got {got}; expected tensors [batch, ...], one, a tuple, or a mapping by name")
    try:
        _ = [value[:0].numpy(force=True) for value in values]
    except TypeError:  # of bfloat16 and its like, which NumPy does not know
        kinds = ", ".join(sorted({str(value.dtype) for value in values}))
        raise ModelError(f"ONNX: got inputs of {kinds}; expected a type of NumPy: export a float32 copy") from None
    if len({len(value) for value in values}) > 1:
        raise DataError(
            f"example: got batches of {', '.join(str(len(value)) for value in values)}; expected one number of examples"
        )
    return args, kwargs


def _is_batch(value: object) -> bool:
    """Tell whether it is a tensor [batch, ...] that has values."""
    if not isinstance(value, torch.Tensor) or isinstance(value, nn.UninitializedParameter):
        return False
    return (
        value.layout == torch.strided
        and not value.is_nested
        and not value.is_meta
        and value.dim() > 0
        and len(value) > 0
    )


def _repeated(arguments: Any, times: int) -> Any:
    """Repeat the batch: tracers take a batch of one for a constant."""
    return tree_map(lambda value: value.repeat(times, *[1] * (value.dim() - 1)), arguments)


def _noisy(arguments: Any) -> Any:
    """Make other inputs of numbers; integers and flags stay, since nobody knows which ones are allowed."""
    generator = torch.Generator().manual_seed(0)

    def moved(value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        return value + torch.randn(value.shape, generator=generator).to(value)

    return tree_map(moved, arguments)


def _outputs(
    model: nn.Module, args: tuple[torch.Tensor, ...], kwargs: Mapping[str, torch.Tensor]
) -> list[torch.Tensor]:
    try:
        with evaluating(model):
            leaves, _ = tree_flatten(model(*args, **kwargs))
    except FOREIGN as error:
        given = ", ".join(map(described, (*args, *kwargs.values())))
        raise ModelError(
            f"ONNX: got {given}, with which {type(model).__name__} raised {type(error).__name__} "
            f"({_first_line(error)}); expected a batch of what it takes as the example of "
            "redense.export_onnx(model, example, path)"
        ) from error
    outputs = [leaf.cpu() for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if not outputs:
        raise ModelError(f"ONNX: {type(model).__name__} gives no tensor; expected at least one")
    return outputs


def _difference(found: Any, expected: torch.Tensor) -> float:
    """Return the largest difference, nothing where neither is a number; infinite where shapes differ."""
    values = torch.from_numpy(found)
    if values.shape != expected.shape:
        return float("inf")
    apart = (values.float() - expected.float()).abs()
    return float(apart.masked_fill(values.isnan() & expected.isnan(), 0).max()) if apart.numel() else 0.0


def _first_line(error: BaseException) -> str:
    """Say what an error, or what it comes from, is, without a terminal's colours."""
    error = error.__cause__ or error
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return f"{type(error).__name__}: {next(iter(text.strip().splitlines()), '')[:300]}"
