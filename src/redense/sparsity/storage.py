"""Files of sparse models: one bit for every weight, and the values of those that are not zero.

A safetensors file. A tensor ``name`` with zeros is kept as ``bitmask:name`` (uint8 [ceil(n / 8)], the first weight in
the highest bit, row-major order, 1 = not zero) and ``values:name`` (the weights that are not zero, in that order); its
shape stands in the file's metadata under ``shapes``. Every other tensor is kept as it is. Names that share one tensor
(tied weights) are listed in the metadata under ``aliases``. The metadata's ``sha256`` is that of the whole: what
`_digest` says; files of the first format have none.
"""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors.torch import save
from torch import nn

from redense.arguments import CHECKED, validated
from redense.errors import ModelError
from redense.files.reading import build, plain_bytes
from redense.files.tensors import METADATA, metadata_of, tensors_of
from redense.files.writing import write_whole
from redense.sparsity.bits import pack_bits, unpack_bits
from redense.sparsity.keys import INTEGER
from redense.sparsity.parameters import bare_state
from redense.sparsity.shards import is_sharded

FORMAT = "redense-bitmask-2"
PREFIXES = ("bitmask:", "values:")
FORMER = "redense-bitmask-1"
"""The same without a checksum."""
DIMENSIONS, LONGEST = 64, 2**63 - 1
"""What PyTorch's tensors may have."""


@validated(ModelError)
def save_sparse(model: nn.Module | Annotated[Mapping[str, torch.Tensor], CHECKED], path: str | Path) -> None:
    """Write a model, or its state_dict, as bitmask and values.

    With a fraction s of zeros, a float32 tensor takes 1 - s + 1/32 of its dense size. Tensors that would not
    shrink are written as they are. Every bit comes back, but that a zero has no sign: -0.0 comes back as 0.0. Names are
    those of the bare model, however it is wrapped (``torch.compile``, data parallelism, averages).

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
    state = bare_state(model) if isinstance(model, nn.Module) else model
    if not isinstance(state, Mapping):
        raise ModelError(f"model: got {type(state).__name__}; expected a model or its state_dict")
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
        flat = tensor.detach().cpu().resolve_conj().resolve_neg().flatten()
        kept = flat != 0 if flat.dtype in INTEGER else torch.ones(flat.shape, dtype=torch.bool)
        count = int(kept.sum())
        if count * flat.element_size() + math.ceil(len(flat) / 8) < len(flat) * flat.element_size():
            stored[f"bitmask:{name}"], stored[f"values:{name}"] = pack_bits(kept), flat[kept]
            shapes[name] = list(tensor.shape)
        else:
            stored[name] = flat.view(tensor.shape).clone(memory_format=torch.contiguous_format)
    metadata = {"format": FORMAT, "shapes": json.dumps(shapes), "aliases": json.dumps(aliases)}
    write_whole(Path(path), save(stored, {**metadata, "sha256": _digest(stored, metadata)}))


@validated(ModelError)
def load_sparse(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the file `path` of `save_sparse`: a state_dict with the same bits, for the model's ``load_state_dict``.

    Raises `ModelError` when the file is missing, damaged or of another kind.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "sparse.safetensors"
    >>> save_sparse({"weight": torch.eye(3)}, path)
    >>> load_sparse(path)["weight"].trace().item()
    3.0
    """
    stored, metadata = _read(Path(path))
    state = {name: tensor for name, tensor in stored.items() if not name.startswith(PREFIXES)}
    shapes = _of_metadata(path, metadata, "shapes", dict[str, list[int]])
    for name, shape in shapes.items():
        state[name] = _unpacked(path, name, shape, stored)
    for name in stored:
        if name not in state and name.partition(":")[2] not in shapes:
            raise ModelError(f"{path}: holds {name}, which belongs to no weight; {_DAMAGED}")
    for name, first in _of_metadata(path, metadata, "aliases", dict[str, str]).items():
        if name in state or first not in state:
            raise ModelError(f"{path}: {name} is to be {first}, which is not in the file; {_DAMAGED}")
        state[name] = state[first]
    return state


_DAMAGED = "the file is damaged: write it again with redense.save_sparse"


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file of ours, its checksum compared."""
    try:
        content = plain_bytes(path)
        stored, metadata = tensors_of(content), metadata_of(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: cannot be read ({reason}); expected a file written by redense.save_sparse") from None
    found = metadata.get("format")
    if found not in (FORMAT, FORMER) or not {"shapes", "aliases"} <= set(metadata):
        raise ModelError(f"{path}: got format {found!r}; expected {FORMAT!r}, as save_sparse writes it")
    checksum = metadata.pop("sha256", None)
    if (found == FORMAT or checksum is not None) and checksum != _digest(stored, metadata):
        raise ModelError(f"{path}: does not match its checksum; {_DAMAGED}")
    return stored, metadata


def _digest(stored: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata as JSON and, by name, every tensor: name, type, shape, bytes in row-major order."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(stored):
        tensor = stored[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def _of_metadata(path: str | Path, metadata: Mapping[str, str], name: str, kind: Any) -> Any:
    try:
        return build(kind, json.loads(metadata[name]), name)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: {name} cannot be read ({error}); {_DAMAGED}") from None


def _unpacked(path: str | Path, name: str, shape: list[int], stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return a weight from its bits and values; raise `ModelError` unless they fit each other and its shape."""
    values, bits = stored.get(f"values:{name}"), stored.get(f"bitmask:{name}")
    if len(shape) > DIMENSIONS or not all(1 <= length <= LONGEST for length in shape):
        raise ModelError(f"{path}: {name} is {reprlib.repr(shape)}; expected the shape of a tensor; {_DAMAGED}")
    if values is None or bits is None or name in stored:
        raise ModelError(f"{path}: {name} {shape} has no bits, no values or both and a tensor; {_DAMAGED}")
    size = math.prod(shape)
    kept = None
    if bits.dtype == torch.uint8 and bits.dim() == values.dim() == 1 and len(bits) == -(-size // 8):
        kept = unpack_bits(bits, (size,))
    if kept is None or int(kept.sum()) != len(values):
        raise ModelError(
            f"{path}: {name} has {8 * bits.numel()} bits and {values.numel()} values for {size} weights; expected a "
            f"bit for each and a value for each bit; {_DAMAGED}"
        )
    flat = torch.zeros(size, dtype=values.dtype)
    flat[kept] = values
    return flat.view(shape)


def _check_tensor(name: Any, tensor: Any) -> None:
    if not isinstance(name, str) or name.startswith(PREFIXES) or name == METADATA:
        raise ModelError(
            f"state: got the name {name!r}; expected a string that begins with none of {PREFIXES} and is not {METADATA}"
        )
    if not name.isascii() and name != name.encode(errors="ignore").decode():
        raise ModelError(f"state: got the name {name!r}; expected characters that a file can hold")
    if not isinstance(tensor, torch.Tensor):
        raise ModelError(f"{name}: got {type(tensor).__name__}; expected a state_dict of tensors")
    if (
        isinstance(tensor, (nn.UninitializedParameter, nn.UninitializedBuffer))
        or tensor.is_meta
        or tensor.layout != torch.strided
        or tensor.is_quantized
        or tensor.is_nested
    ):
        raise ModelError(f"{name}: got a tensor without plain values; expected dense ones on a device that holds them")
    if is_sharded(tensor):
        raise ModelError(
            f"{name}: got a sharded tensor; expected whole ones: gather them with get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True))"
        )


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Tell tensors apart that are not one and the same stretch of memory."""
    if tensor.numel() == 0:
        return (id(tensor),)
    values = (tensor.dtype, tensor.is_conj(), tensor.is_neg())
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), *values)
