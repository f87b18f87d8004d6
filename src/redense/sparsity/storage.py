"""Files of sparse models: one bit for every weight, and the values of those that are not zero.

A safetensors file. A tensor ``name`` with zeros is kept as ``bitmask:name`` (uint8 [ceil(n / 8)], the first weight in
the highest bit, row-major order, 1 = not zero) and ``values:name`` (the weights that are not zero, in that order); its
shape stands in the file's metadata under ``shapes``. Every other tensor is kept as it is. Names that share one tensor
(tied weights) are listed in the metadata under ``aliases``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from redense.errors import ModelError
from redense.files.writing import write_whole
from redense.sparsity.bits import pack_bits, unpack_bits
from redense.sparsity.keys import INTEGER
from redense.sparsity.shards import is_sharded

FORMAT = "redense-bitmask-1"


def save_sparse(model: nn.Module | Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Write a model, or its state_dict, as bitmask and values.

    With a fraction s of zeros, a float32 tensor takes 1 - s + 1/32 of its dense size. Tensors that would not
    shrink are written as they are. Every bit comes back, but that a zero has no sign: -0.0 comes back as 0.0.

    Raises `ModelError` for a state that is not all tensors, or sharded, and `FolderError` when the
    path cannot be written; then there is no file, or the old one.

    >>> import tempfile
    >>> net = torch.nn.Linear(100, 100)
    >>> with torch.no_grad():
    ...     _ = net.weight.view(-1)[:9000].zero_()
    >>> path = Path(tempfile.mkdtemp()) / "sparse.safetensors"
    >>> save_sparse(net, path)
    >>> path.stat().st_size < 0.16 * 4 * 10100
    True
    >>> torch.equal(load_sparse(path)["weight"], net.weight)
    True
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    stored: dict[str, torch.Tensor] = {}
    shapes: dict[str, list[int]] = {}
    aliases: dict[str, str] = {}
    names: dict[tuple[Any, ...], str] = {}
    for name, tensor in state.items():
        _check_tensor(name, tensor)
        first = names.setdefault(_identity(tensor), name)
        if first != name:
            aliases[name] = first
            continue
        flat = tensor.detach().cpu().flatten()
        kept = flat != 0 if flat.dtype in INTEGER else torch.ones(flat.shape, dtype=torch.bool)
        count = int(kept.sum())
        if count * flat.element_size() + math.ceil(len(flat) / 8) < len(flat) * flat.element_size():
            stored[f"bitmask:{name}"], stored[f"values:{name}"] = pack_bits(kept), flat[kept]
            shapes[name] = list(tensor.shape)
        else:
            stored[name] = flat.view(tensor.shape).clone(memory_format=torch.contiguous_format)
    metadata = {"format": FORMAT, "shapes": json.dumps(shapes), "aliases": json.dumps(aliases)}
    write_whole(Path(path), save(stored, metadata))


def load_sparse(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a file of `save_sparse`: a state_dict with the same bits, for the model's own ``load_state_dict``.

    Raises `ModelError` when the file is missing, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); expected a file written by redense.save_sparse") from None
    if metadata.get("format") != FORMAT or not {"shapes", "aliases"} <= set(metadata):
        raise ModelError(
            f"{path}: got format {metadata.get('format')!r}; expected {FORMAT!r}, as save_sparse writes it"
        )
    state = {name: tensor for name, tensor in stored.items() if not name.startswith(("bitmask:", "values:"))}
    for name, shape in json.loads(metadata["shapes"]).items():
        values, bits = stored[f"values:{name}"], stored[f"bitmask:{name}"]
        flat = torch.zeros(math.prod(shape), dtype=values.dtype)
        kept = unpack_bits(bits, flat.shape) if len(bits) == math.ceil(len(flat) / 8) else None
        if kept is None or int(kept.sum()) != len(values):
            raise ModelError(
                f"{path}: {name} has {8 * len(bits)} bits and {len(values)} values for {len(flat)} weights; expected a "
                "bit for each and a value for each bit: the file is damaged"
            )
        flat[kept] = values
        state[name] = flat.view(shape)
    return state | {name: state[first] for name, first in json.loads(metadata["aliases"]).items()}


def _check_tensor(name: str, tensor: Any) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise ModelError(f"{name}: got {type(tensor).__name__}; expected a state_dict of tensors")
    if is_sharded(tensor):
        raise ModelError(
            f"{name}: got a sharded tensor; expected whole ones: gather them with get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True))"
        )


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Tell tensors apart that are not one and the same stretch of memory."""
    if tensor.numel() == 0:
        return (id(tensor),)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
