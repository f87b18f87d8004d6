"""Arrays shared with worker processes: one nameless file, mapped by all, copied by none.

The file has no name, so nothing is left behind however the processes end, and unlike /dev/shm it has
no small fixed size.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from redense.data.dataset import Dataset
from redense.errors import FolderError

ALIGNMENT = 64


@dataclass(frozen=True)
class SharedDataset:
    """A data set in a nameless file; `description` (plain JSON) and the file's descriptor are all a worker needs."""

    file: IO[bytes]
    description: dict[str, Any]

    @classmethod
    def of(cls, dataset: Dataset) -> SharedDataset:
        """Write a data set's arrays to a nameless file."""
        try:
            return cls._write(dataset)
        except OSError as error:
            place = tempfile.tempdir or "a temporary file"  # None as long as no folder for these was found
            raise FolderError(
                f"the data ({dataset.nbytes / 1e6:.0f} MB) do not fit into {place} ({error.strerror}); "
                "set TMPDIR to a folder with more room, or use --workers 0"
            ) from None

    @classmethod
    def _write(cls, dataset: Dataset) -> SharedDataset:
        file = tempfile.TemporaryFile(prefix="redense-")  # noqa: SIM115 (lives as long as the workers)
        arrays: dict[str, dict[str, Any]] = {}
        for name, array in dataset.arrays.items():
            offset = -(-file.tell() // ALIGNMENT) * ALIGNMENT
            file.seek(offset)
            file.write(np.ascontiguousarray(array).data)
            arrays[name] = {"offset": offset, "dtype": array.dtype.str, "shape": list(array.shape)}
        file.flush()
        return cls(file, {"name": dataset.name, "num_classes": dataset.num_classes, "arrays": arrays})


def attach(descriptor: int, description: Mapping[str, Any]) -> Dataset:
    """Map a `SharedDataset` that another process has written; pages are shared until somebody writes to them."""
    mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    arrays: dict[str, Any] = {name: _view(mapped, **place) for name, place in description["arrays"].items()}
    return Dataset(name=description["name"], num_classes=description["num_classes"], **arrays)


def _view(mapped: mmap.mmap, offset: int, dtype: str, shape: list[int]) -> npt.NDArray[Any]:
    count = int(np.prod(shape))
    return np.frombuffer(mapped, dtype=dtype, count=count, offset=offset).reshape(shape)
