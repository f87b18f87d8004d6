"""NPZ files: plain arrays by name, and examples among them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from redense.data.layout import Layout, images_of_file
from redense.errors import DataError
from redense.files.reading import open_plain

SMALL, SWELLING = 2**30, 200
"""An archive may take up to 1 GiB in memory, or so many times its size on disk."""
USUAL, KERAS, TEST = ("x", "y"), ("x_train", "y_train"), ("x_test", "y_test")
"""Names of inputs and labels: of a training part, of one as Keras calls it, of a test part."""
Array = npt.NDArray[Any]
Pair = tuple[Array, Array]


def read_npz(path: Path, what: str, needed: tuple[str, ...] = ()) -> dict[str, Array]:
    """Read all arrays of an NPZ file, by name; nothing is unpickled.

    Raises `DataError`, which begins with `what` and the path, when it is no such file or lacks one of those `needed`.
    """
    try:
        with open_plain(path) as file:
            _check_size(file)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib, NumPy and the system each have kinds of their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{what} {path}: cannot be read as NPZ ({reason}); expected plain arrays, without objects"
        ) from None
    odd = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if odd:
        raise DataError(f"{what} {path}: holds {', '.join(odd)}, which are no arrays; expected NPZ with arrays alone")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(f"{what} {path}: holds {held(arrays)}; expected {', '.join(missing)}, too")
    return arrays


def _check_size(file: BinaryIO) -> None:
    """Raise `ValueError` for what is no archive or would swell beyond measure, which an archive says beforehand."""
    with zipfile.ZipFile(file) as archive:
        sizes = [(info.file_size, info.compress_size) for info in archive.infolist()]
    swollen, packed = (sum(column) for column in zip((0, 0), *sizes, strict=True))
    if swollen > max(SMALL, SWELLING * packed):
        raise ValueError(
            f"{packed:,} bytes that would become {swollen:,}; expected at most {SWELLING} times as many: write it with "
            "numpy.savez, which does not compress"
        )
    file.seek(0)


def split_npz(path: Path, what: str, layout: Layout = "auto") -> tuple[Pair, Pair | None]:
    """Read the training part (x, y) of an NPZ file and its test part, if there is one.

    They are called ``x, y, x_test, y_test``, or ``x_train, y_train, x_test, y_test`` as in Keras. Images [n, h, w] and
    [n, h, w, c] become [n, c, h, w]; `layout` is that of images whose shape does not tell.
    """
    arrays = read_npz(path, what)
    found = parts_by_name(arrays, f"{what} {path}")
    training, *test = (
        (images_of_file(arrays[inputs], f"{what} {path}: {inputs}", layout), arrays[labels]) for inputs, labels in found
    )
    return training, test[0] if test else None


def parts_by_name(arrays: Mapping[str, Any], what: str) -> list[tuple[str, str]]:
    """Return the names of inputs and labels of the training part and, if there is one, of the test part.

    >>> parts_by_name({"x": 0, "y": 0, "x_test": 0, "y_test": 0}, "data")
    [('x', 'y'), ('x_test', 'y_test')]
    """
    training = KERAS if "x" not in arrays and "x_train" in arrays else USUAL
    if not set(training) <= set(arrays):
        raise DataError(
            f"{what}: holds {held(arrays)}; expected arrays x and y, or x_train and y_train, and of a test part "
            "x_test and y_test"
        )
    pairs = [name[2:] for name in arrays if name.startswith("x_") and f"y_{name[2:]}" in arrays]
    unread = [pair for pair in pairs if pair != "test" and f"x_{pair}" != training[0]]
    if unread:
        named = ", ".join(f"x_{pair}, y_{pair}" for pair in unread)
        raise DataError(
            f"{what}: holds {named} beside {', '.join(training)}, and nothing would read them; expected one training "
            "and one test part: take them out, or join them to one of the two (--validation takes its share of the "
            "training part itself)"
        )
    if len(set(TEST) & set(arrays)) == 1:
        raise DataError(f"{what}: holds one of x_test and y_test; expected both or neither")
    return [training, TEST] if TEST[0] in arrays else [training]


def held(arrays: Mapping[str, Any]) -> str:
    """Name the arrays of a file, for a message."""
    return ", ".join(arrays) or "nothing"
