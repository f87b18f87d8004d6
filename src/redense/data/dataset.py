"""A data set as every other part of redense sees it: checked arrays with a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from redense.arguments import SOME, Numbers, validated
from redense.data.layout import images, is_grey, one_channel
from redense.errors import DataError


@validated(DataError)
@dataclass(frozen=True, eq=False)
class Dataset:
    """Training (member) and test (non-member) examples with integer labels.

    `x_train` and `x_test` are [n, ...] arrays, uint8 (pixels 0..255, scaled to [0, 1] when a batch is made) or
    float32; `y_train` and `y_test` are int64 [n] in 0..num_classes-1.
    """

    name: str
    x_train: Annotated[npt.NDArray[np.generic], Numbers("[n, ...]")]
    y_train: Annotated[npt.NDArray[np.int64], Numbers("[n], classes", (1,), integers=True)]
    x_test: Annotated[npt.NDArray[np.generic], Numbers("[n, ...]")]
    y_test: Annotated[npt.NDArray[np.int64], Numbers("[n], classes", (1,), integers=True)]
    num_classes: Annotated[int, SOME]

    def __post_init__(self) -> None:
        for x, y in ((self.x_train, self.y_train), (self.x_test, self.y_test)):
            if x.ndim < 2 or len(x) != len(y):
                raise DataError(f"data: got inputs {x.shape} and labels {y.shape}; expected [n, ...] and [n]")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) for images, (features,) for tables."""
        return self.x_train.shape[1:]

    @cached_property
    def is_grey(self) -> bool:
        """Whether all images have three equal channels, as those of grey files have."""
        return is_grey(self.x_train) and is_grey(self.x_test)

    def grey(self) -> Dataset:
        """Return grey images with one channel; raise `DataError` when some are in colour."""
        train, test = (np.ascontiguousarray(one_channel(x)) for x in (self.x_train, self.x_test))
        return replace(self, x_train=train, x_test=test)

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


def checked(name: str, train: Any, test: Any, num_classes: int | None = None) -> Dataset:
    """Build a `Dataset` from two sources of examples, or raise `DataError` saying what is wrong with which part.

    Each source is one of those that `redense.data.examples.batches` takes, such as arrays (x, y). Without `num_classes`
    there are as many classes as the largest training label says.

    >>> checked("toy", ([[0.0], [1.0]], [0, 1]), ([[0.5]], [1])).num_classes
    2
    """
    from redense.data.examples import arrays  # with PyTorch, which takes seconds and which a list of names needs not

    x_train, y_train = arrays(train, f"data {name}, training")
    x_test, y_test = arrays(test, f"data {name}, test")
    x_train, x_test = _stored(x_train, f"data {name}, training"), _stored(x_test, f"data {name}, test")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"data {name}: inputs of the wrong shape: training {x_train.shape[1:]}, test {x_test.shape[1:]}; "
            "expected the same shape"
        )
    check_types(x_train.dtype, x_test.dtype, (f"data {name}: training", "test"))
    classes = num_classes if num_classes is not None else int(y_train.max()) + 1
    for split, y in (("training", y_train), ("test", y_test)):
        if y.min() < 0 or y.max() >= classes:
            wrong = int(y.min()) if y.min() < 0 else int(y.max())
            raise DataError(f"data {name}, {split}: label {wrong} is out of range; expected 0 to {classes - 1}")
    if classes < 2:
        raise DataError(f"data {name}: got one class; expected at least two")
    return Dataset(name, x_train, y_train, x_test, y_test, classes)


def check_types(first: object, second: object, names: tuple[str, str]) -> None:
    """Raise `DataError` where only one of two dtypes, NumPy's or PyTorch's, is uint8: that one alone would be scaled.

    >>> check_types(np.dtype(np.uint8), np.dtype(np.float32), ("training", "test"))
    Traceback (most recent call last):
    ...
    redense.errors.DataError: training inputs are uint8, test inputs float32; expected one type
    """
    ours, theirs = (str(one).removeprefix("torch.") for one in (first, second))
    if (ours == "uint8") != (theirs == "uint8"):
        raise DataError(f"{names[0]} inputs are {ours}, {names[1]} inputs {theirs}; expected one type")


def _stored(x: npt.NDArray[Any], what: str) -> npt.NDArray[np.generic]:
    """Make inputs what training keeps of them: uint8 or float32, images [n, channels, height, width]."""
    array = images(x if x.dtype == np.uint8 else x.astype(np.float32))
    if array.ndim not in (2, 4):
        raise DataError(
            f"{what}: inputs of the wrong shape: {array.shape}; expected [n, features], [n, height, width], "
            "[n, channels, height, width] or [n, height, width, channels]"
        )
    return np.ascontiguousarray(array)
