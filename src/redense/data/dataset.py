"""A data set as every other part of redense sees it: checked arrays with a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from redense.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training (member) and test (non-member) examples with integer labels.

    `x_train` and `x_test` are [n, ...] arrays, uint8 (pixels 0..255, scaled to [0, 1] when a batch is made) or
    float32; `y_train` and `y_test` are int64 [n] in 0..num_classes-1.
    """

    name: str
    x_train: npt.NDArray[np.generic]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.generic]
    y_test: npt.NDArray[np.int64]
    num_classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) for images, (features,) for tables."""
        return self.x_train.shape[1:]

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The four arrays by name, in a fixed order."""
        return {
            "x_train": self.x_train,
            "y_train": self.y_train,
            "x_test": self.x_test,
            "y_test": self.y_test,
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents: names, types, shapes and bytes of all four arrays."""
        digest = hashlib.sha256(f"{self.num_classes}".encode())
        for name, array in self.arrays.items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def checked(
    name: str,
    train: tuple[npt.ArrayLike, npt.ArrayLike],
    test: tuple[npt.ArrayLike, npt.ArrayLike],
    num_classes: int | None = None,
) -> Dataset:
    """Build a `Dataset` from two (x, y) pairs, or raise `DataError` saying what is wrong with which part.

    Without `num_classes` there are as many classes as the largest training label says.

    >>> checked("toy", ([[0.0], [1.0]], [0, 1]), ([[0.5]], [1])).num_classes
    2
    """
    x_train, y_train = _inputs(name, "training", train[0]), _labels(name, "training", train[1])
    x_test, y_test = _inputs(name, "test", test[0]), _labels(name, "test", test[1])
    for split, x, y in (("training", x_train, y_train), ("test", x_test, y_test)):
        if len(x) != len(y):
            raise DataError(f"data {name}: the {split} split has {len(x)} inputs and {len(y)} labels; expected as many")
        if len(x) == 0:
            raise DataError(f"data {name}: the {split} split is empty; expected at least one example")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"data {name}: inputs of the wrong shape: training {x_train.shape[1:]}, test {x_test.shape[1:]}; "
            "expected the same shape"
        )
    if x_train.dtype != x_test.dtype:
        raise DataError(
            f"data {name}: training inputs are {x_train.dtype}, test inputs {x_test.dtype}; expected one type"
        )
    classes = num_classes if num_classes is not None else int(y_train.max()) + 1
    for split, y in (("training", y_train), ("test", y_test)):
        if y.min() < 0 or y.max() >= classes:
            wrong = int(y.min()) if y.min() < 0 else int(y.max())
            raise DataError(f"data {name}: {split} label {wrong} is out of range; expected 0 to {classes - 1}")
    if classes < 2:
        raise DataError(f"data {name}: got one class; expected at least two")
    return Dataset(name, x_train, y_train, x_test, y_test, classes)


def _inputs(name: str, split: str, values: npt.ArrayLike) -> npt.NDArray[np.generic]:
    array = np.asarray(values)
    if array.dtype != np.uint8:
        if array.dtype.kind not in "fiub":
            raise DataError(f"data {name}: {split} inputs are of type {array.dtype}; expected numbers")
        array = array.astype(np.float32)
        wrong = np.count_nonzero(~np.isfinite(array))
        if wrong:
            raise DataError(f"data {name}: {wrong} values of the {split} inputs are NaN or infinite; expected numbers")
    if array.ndim == 3:
        array = array[:, None]  # images without a channel axis
    if array.ndim not in (2, 4):
        raise DataError(
            f"data {name}: inputs of the wrong shape: {split} inputs are {array.shape}; expected "
            "[n, features], [n, height, width] or [n, channels, height, width]"
        )
    return np.ascontiguousarray(array)


def _labels(name: str, split: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DataError(
            f"data {name}: {split} labels are {array.dtype} {array.shape}; expected one integer class an example"
        )
    return array.astype(np.int64)
