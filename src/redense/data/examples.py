"""The one way in for examples: data sets, loaders, arrays, mappings, NPZ files, folders of images, functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sized
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from redense.data.folders import split_folder
from redense.data.layout import Layout, refuse_layout
from redense.data.names import LABELS
from redense.data.npz import split_npz
from redense.errors import FOREIGN, DataError, RedenseError

Labels = npt.NDArray[np.int64]
REAL = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
SIGNED = (torch.int8, torch.int16, torch.int32, torch.int64)
TYPES = {*REAL, *SIGNED, torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64}
"""The types of inputs: those of NumPy, and bfloat16."""
NAMES = "FILE.npz with arrays x and y, a folder of class folders or package.module:function"


def batches(source: Any, what: str, batch_size: int) -> Iterator[tuple[Any, Labels]]:
    """Yield anybody's examples as (inputs, labels), a batch at a time.

    Args:
        source: a data set whose elements are (input, label); a loader of batches (inputs, labels), which keep their
            size; arrays (x [n, ...], y [n]); an iterator of (input, label), which can be read once; any of these with
            mappings that hold ``labels``, ``label``, ``y`` or ``target`` in place of pairs; or FILE.npz or a folder
            of class folders, whose training part is taken.
        what: stands in errors, before the colon.
        batch_size: examples at once.

    Inputs are a tensor [b, ...] of finite numbers as they were stored, or a mapping of such for all but the labels;
    labels are int64 [b]; a column of them, [b, 1], is taken for [b]. Raises `DataError` when there are no examples or
    they cannot be read.

    >>> [(tuple(x.shape), y.tolist()) for x, y in batches(([[0.0], [1.0], [2.0]], [0, 1, 0]), "members", 2)]
    [((2, 1), [0, 1]), ((1, 1), [0])]
    """
    source = parts_of_path(Path(source), what)[0] if isinstance(source, (str, Path)) else source
    total = 0
    try:
        for batch in _stored(source, what, batch_size):
            inputs, labels = _parted(batch, what)
            total += len(labels)
            yield inputs, labels
    except RedenseError:
        raise
    except FOREIGN as error:
        raise DataError(
            f"{what}: reading the examples raised {type(error).__name__}: {' '.join(str(error).split())}; expected "
            "pairs (input, label) whose inputs share one shape"
        ) from error
    if not total:
        raise DataError(f"{what}: got no examples; expected at least one")


def arrays(source: Any, what: str) -> tuple[npt.NDArray[Any], Labels]:
    """Read all examples into memory: inputs [n, ...] of the type in which they are stored, labels int64 [n].

    `source` and `what` are as in `batches`; of mappings, those with one array beside the labels will do.

    >>> arrays({"pixels": [[0.0], [1.0]], "label": [0, 1]}, "data")[0].shape
    (2, 1)
    """
    if hasattr(source, "check_memory"):
        source.check_memory()
    parts = [(_array(inputs, what), labels) for inputs, labels in batches(source, what, sys.maxsize)]
    shapes = sorted({x.shape[1:] for x, _ in parts})
    if len(shapes) > 1:
        raise DataError(f"{what}: inputs are of the shapes {shapes[0]} and {shapes[1]}; expected one shape")
    x, y = zip(*parts, strict=True)
    return (x[0], y[0]) if len(parts) == 1 else (np.concatenate(x), np.concatenate(y))


def rereadable(source: Any, what: str, batch_size: int) -> Any:
    """Return a source that can be read as often as needed: itself, or its batches in memory where it may end.

    >>> stream = rereadable(iter([([0.0], 0), ([1.0], 1)]), "members", 500)
    >>> [len(labels) for _ in range(2) for _, labels in batches(stream, "members", 500)]
    [2, 2]
    """
    stored = source.dataset if isinstance(source, DataLoader) else source
    if not isinstance(stored, (Iterator, IterableDataset)):
        return source
    return DataLoader(list(batches(source, what, batch_size)), batch_size=None)  # type: ignore[arg-type]


def parts_of_path(path: Path, what: str, layout: Layout = "auto") -> tuple[Any, Any | None]:
    """Open the training part of a file or folder and its test part, if there is one.

    `layout` is that of a file's images whose shape does not tell.
    """
    if os.path.isdir(path):
        refuse_layout(layout, f"{what} {path}")
        return split_folder(path, what)
    if not os.path.exists(path):
        raise DataError(f"{what} {path}: no such file or folder; expected {NAMES}")
    return split_npz(path, what, layout)


def _stored(source: Any, what: str, batch_size: int) -> Iterator[Any]:
    """Yield batches as the source holds them: pairs or mappings."""
    if isinstance(source, DataLoader):
        yield from source
    elif isinstance(source, Mapping):
        label = _label_name(source, what)
        names = sorted(source, key=lambda name: name != label)  # labels first
        columns = _whole([source[name] for name in names], what)
        for slices in _slices(columns, batch_size):
            yield dict(zip(names, slices, strict=True))
    elif _is_pair(source):
        y, x = _whole((source[1], source[0]), what)
        for labels, inputs in _slices([y, x], batch_size):
            yield inputs, labels
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        yield from _collated((source[index] for index in range(len(source))), what, batch_size)
    elif isinstance(source, (Iterator, IterableDataset)):
        yield from _collated(iter(source), what, batch_size)
    else:
        raise DataError(
            f"{what}: got {type(source).__name__}; expected a data set, a loader of batches, or arrays (x, y), or the "
            f"name of {NAMES}"
        )


def _is_pair(source: Any) -> bool:
    """Tell whether a source is arrays (x, y) rather than a sequence of examples."""
    if not isinstance(source, (tuple, list)) or len(source) != 2:
        return False
    arrays = all(map(_has_axes, source))
    sized = all(hasattr(part, "__len__") and not isinstance(part, Mapping) for part in source)
    return arrays or (isinstance(source, tuple) and sized)


def are_parts(source: Any) -> bool:
    """Tell whether a pair is two sets of examples (training, test) rather than one, (x, y) or two examples."""
    return isinstance(source, (tuple, list)) and len(source) == 2 and all(map(_is_set, source))


def _is_set(part: Any) -> bool:
    """Tell whether something holds examples with their labels, by its kind and, of sequences, the first element."""
    if isinstance(part, Mapping):
        return any(np.ndim(part[name]) for name in LABELS if name in part)
    if isinstance(part, (tuple, list)):
        if _is_pair(part) and np.ndim(part[1]):
            return True
        return bool(part) and (isinstance(part[0], Mapping) or (isinstance(part[0], tuple) and len(part[0]) == 2))
    if isinstance(part, (str, Path, DataLoader, Dataset, Iterator)):
        return True
    return not _has_axes(part) and hasattr(part, "__getitem__") and isinstance(part, Sized)


def are_columns(source: Any) -> bool:
    """Tell whether a pair is inputs and labels (x, y), for one of them is an array or a list of numbers."""
    return _is_pair(source) and not are_parts(source) and any(map(_is_column, source))


def _is_column(part: Any) -> bool:
    return _has_axes(part) or (isinstance(part, list) and bool(part) and isinstance(part[0], (int, np.integer)))


def _has_axes(part: Any) -> bool:
    """Tell whether something is an array of some library; a data set may have a shape, but cannot become an array."""
    return hasattr(part, "shape") and hasattr(part, "__array__")


def _whole(columns: Any, what: str) -> list[Any]:
    """Make columns arrays, labels first, and check that they belong to the same examples."""
    found = [column if isinstance(column, torch.Tensor) else np.asarray(column) for column in columns]
    for column in found:
        if column.ndim == 0:
            raise DataError(f"{what}: got an array without axes; expected inputs [n, ...] and labels [n]")
        _check_lengths(column, found[0], what)
    return found


def _check_lengths(inputs: Any, labels: Any, what: str) -> None:
    if len(inputs) != len(labels):
        raise DataError(f"{what}: got {len(inputs)} inputs and {len(labels)} labels; expected as many")


def _slices(columns: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(columns[0]), size):
        yield [column[start : start + size] for column in columns]


def _collated(examples: Iterator[Any], what: str, size: int) -> Iterator[Any]:
    while batch := [_tensors(example, what) for example in islice(examples, size)]:
        yield default_collate(batch)


def _tensors(example: Any, what: str) -> Any:
    """Make inputs tensors, also where they are images or lists; leave all else to PyTorch."""
    if isinstance(example, Mapping):
        return {
            name: _tensor(value, what) if name not in LABELS and _is_array(value) else value
            for name, value in example.items()
        }
    if isinstance(example, (tuple, list)) and len(example) == 2 and not isinstance(example[0], Mapping):
        return _tensor(example[0], what), example[1]
    return example


def _is_array(value: Any) -> bool:
    """Tell whether a value is a list of numbers or an image, as the library PIL has them."""
    return isinstance(value, list) or (hasattr(value, "__array_interface__") and not isinstance(value, np.generic))


def _parted(batch: Any, what: str) -> tuple[Any, Labels]:
    """Part a batch into inputs and labels, and check both."""
    inputs: Any
    if isinstance(batch, Mapping):
        name = _label_name(batch, what)
        inputs, labels = {other: value for other, value in batch.items() if other != name}, batch[name]
    elif isinstance(batch, (tuple, list)) and len(batch) == 2:
        inputs, labels = batch
    else:
        raise DataError(f"{what}: got batches of {type(batch).__name__}; expected (inputs, labels) or a mapping")
    classes = np.asarray(labels.cpu() if isinstance(labels, torch.Tensor) else labels)
    if classes.ndim == 2 and classes.shape[1] == 1:  # a column, as Keras's data sets have it
        classes = classes[:, 0]
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise DataError(
            f"{what}: labels are {classes.dtype} {classes.shape}; expected one integer class an example, [n], such as "
            "labels.long()"
        )
    if isinstance(inputs, Mapping):
        inputs = {name: _inputs(values, classes, f"{what}: {name}") for name, values in inputs.items()}
    else:
        inputs = _inputs(inputs, classes, what)
    return inputs, int64(classes, what)


def int64(classes: npt.NDArray[np.integer[Any]], what: str) -> Labels:
    """Return integer labels as int64; raise `DataError` for one that is too large, which would become negative.

    >>> int64(np.array([7], np.uint64), "members")
    array([7])
    """
    largest = int(classes.max(initial=0))
    if largest > np.iinfo(np.int64).max:
        raise DataError(f"{what}: label {largest} is out of range; expected the number of a class, from 0 on")
    return classes.astype(np.int64)


def _label_name(mapping: Mapping[str, Any], what: str) -> str:
    name = next((name for name in LABELS if name in mapping), None)
    if name is None:
        held = ", ".join(map(str, mapping)) or "nothing"
        raise DataError(f"{what}: batches hold {held}; expected labels under one of {', '.join(LABELS)}")
    return name


def _inputs(values: Any, labels: npt.NDArray[Any], what: str) -> torch.Tensor:
    tensor = _tensor(values, what)
    if tensor.ndim == 0:
        raise DataError(f"{what}: got an array without axes; expected inputs [n, ...] and labels [n]")
    _check_lengths(tensor, labels, what)
    wrong = int((~tensor.float().isfinite()).sum()) if tensor.is_floating_point() else 0
    if wrong:
        raise DataError(f"{what}: {wrong} values of the inputs are NaN or infinite in float32; expected numbers")
    return tensor


def _tensor(values: Any, what: str) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return _of_numbers(values.detach(), what)
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what}: inputs are of type {array.dtype}; expected numbers")
    # PyTorch takes no foreign byte order, no long double, no backward stride and nothing that must not be written to
    known = np.dtype(np.float32) if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, known, ["C", "W"]))


def _of_numbers(tensor: torch.Tensor, what: str) -> torch.Tensor:
    """Return a tensor of a type that all later arithmetic has; raise `DataError` for any other."""
    if tensor.dtype not in TYPES:
        raise DataError(
            f"{what}: inputs are of type {tensor.dtype}; expected numbers, real ones of 16 bits or more or integers "
            "that are not quantized"
        )
    if tensor.layout != torch.strided:
        raise DataError(f"{what}: inputs are a tensor of the layout {tensor.layout}; expected a dense one: to_dense()")
    return tensor


def _array(inputs: Any, what: str) -> npt.NDArray[Any]:
    """Make a batch of inputs an array."""
    if isinstance(inputs, Mapping):
        if len(inputs) != 1:
            raise DataError(
                f"{what}: inputs are mappings of {', '.join(map(str, inputs)) or 'nothing'}; expected one array of "
                "inputs, [n, ...]"
            )
        (inputs,) = inputs.values()
        return _array(inputs, what)
    tensor = inputs.float() if inputs.dtype == torch.bfloat16 else inputs  # NumPy has no bfloat16
    found: npt.NDArray[Any] = tensor.cpu().numpy()
    return found
