"""A data set as every other part of redense sees it: checked arrays with a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from redense.arguments import SOME, Numbers, Sparsity, validated
from redense.data.layout import images, is_grey, one_channel
from redense.errors import DataError
from redense.seeding import derive

WHOLE = "iu"
"""Kinds of NumPy's types that are integers."""
EXACT = 2**24
"""Integers up to so much are float32 numbers."""
BYTES_BEGIN = 100
"""Numbers from 0 to more than so much are taken for pixels that were integers once: bytes, where none is above 255."""
MOST_CLASSES = 2**24
"""A network has an output for each; more are a mistake, such as numbers of examples or of customers for classes."""


@validated(DataError)
@dataclass(frozen=True, eq=False)
class Dataset:
    """Training (member) and test (non-member) examples with integer labels.

    `x_train` and `x_test` are [n, ...] arrays: uint8 (pixels 0..255, scaled to [0, 1] when a batch is made), float32
    or, where `redense.data.load` is asked for them, int64 (tokens, which reach the model as they are). `y_train` and
    `y_test` are int64 [n] in 0..num_classes-1. `x_validation` and `y_validation`, where there are any, are taken out of
    the training data by `parted`; `train_places` [n] says where in those the others stood. `classes` is what the
    classes are called, by label, empty where nobody says. `name` and `classes` do not determine results.
    """

    name: str
    x_train: Annotated[npt.NDArray[np.generic], Numbers("[n, ...]", kept=True)]
    y_train: Annotated[npt.NDArray[np.int64], Numbers("[n], classes", (1,), integers=True)]
    x_test: Annotated[npt.NDArray[np.generic], Numbers("[n, ...]", kept=True)]
    y_test: Annotated[npt.NDArray[np.int64], Numbers("[n], classes", (1,), integers=True)]
    num_classes: Annotated[int, SOME]
    x_validation: Annotated[npt.NDArray[np.generic], Numbers("[n, ...]", kept=True)] | None = None
    y_validation: Annotated[npt.NDArray[np.int64], Numbers("[n], classes", (1,), integers=True)] | None = None
    train_places: Annotated[npt.NDArray[np.int64], Numbers("[n], places", (1,), integers=True)] | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        validation = (self.x_validation, self.y_validation)
        for x, y in ((self.x_train, self.y_train), (self.x_test, self.y_test), validation):
            if x is None and y is None:
                continue
            if x is None or y is None:
                raise DataError("data: got one of x_validation and y_validation; expected both or none")
            if x.ndim < 2 or len(x) != len(y):
                raise DataError(f"data: got inputs {x.shape} and labels {y.shape}; expected [n, ...] and [n]")
        if self.train_places is not None and len(self.train_places) != len(self.y_train):
            raise DataError(
                f"train_places: got {len(self.train_places)} of {len(self.y_train)} training examples; expected all"
            )

    def __repr__(self) -> str:
        """Say what there is, in one line."""
        parts = {"train": self.x_train, "validation": self.x_validation, "test": self.x_test}
        sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items() if part is not None and len(part))
        shape = "x".join(map(str, self.input_shape))
        return f"Dataset({self.name!r}: {sizes} examples of {shape}, {self.x_train.dtype}; {self.num_classes} classes)"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (channels, height, width) for images, (features,) for tables."""
        return self.x_train.shape[1:]

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays take together.

        >>> checked("toy", ([[0.0], [1.0]], [0, 1]), ([[0.5]], [1])).nbytes
        36
        """
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def original_places(self) -> npt.NDArray[np.int64]:
        """Where the training examples stood before any were taken out for validation, int64 [n]."""
        return np.arange(len(self.y_train)) if self.train_places is None else self.train_places

    @property
    def warning(self) -> str:
        """What should be known before training starts, or nothing.

        That the test data are of one class, or that pixels lie in 0 to 255, or to more, and will not be scaled.

        >>> data = checked("mine.npz", (254 * np.eye(4)[[0, 1], None], [0, 1]), (np.zeros((1, 1, 4)), [0]))
        >>> data.warning  # doctest: +ELLIPSIS
        'data mine.npz: images have values from 0 to 254, and reach the network so; store them as uint8, which ...'
        """
        if len(self.y_test) > 1 and (self.y_test == self.y_test[0]).all():
            return (
                f"data {self.name}: all test examples are of class {self.y_test[0]}, so that a network which knows no "
                "other has a test accuracy of 100%; take some of all classes"
            )
        x = self.x_train
        if len(self.input_shape) != 3 or x.dtype == np.uint8 or x.min() < 0 or x.max() <= BYTES_BEGIN:
            return ""
        if x.max() <= 255:
            remedy = "store them as uint8, which is scaled to [0, 1], or divide them by 255"
        else:
            remedy = "divide them by the largest value that they may have, such as 65535 for 16 bits"
        return (
            f"data {self.name}: images have values from {x.min():g} to {x.max():g}, and reach the network so; {remedy}"
        )

    @cached_property
    def is_grey(self) -> bool:
        """Whether all images have three equal channels, as those of grey files have."""
        return is_grey(self.x_train) and is_grey(self.x_test)

    def grey(self) -> Dataset:
        """Return grey images with one channel; raise `DataError` when some are in colour."""
        return self._with_inputs(lambda x: np.ascontiguousarray(one_channel(x)))

    def as_integers(self) -> Dataset | None:
        """Return the data with inputs int64, as models that begin with an embedding take them; None for real ones."""
        whole = all(x.dtype.kind in WHOLE for x in self.inputs.values())
        return self._with_inputs(lambda x: x.astype(np.int64)) if whole else None

    def as_numbers(self) -> Dataset:
        """Return the data with inputs uint8 or float32, as all other models take them.

        >>> tokens = checked("toy", ([[3], [4]], [0, 1]), ([[5]], [1]), integers=True)
        >>> tokens.x_train.dtype, tokens.as_numbers().x_train.dtype
        (dtype('int64'), dtype('float32'))
        >>> tokens.fingerprint == tokens.as_numbers().fingerprint
        True
        """
        if self.x_train.dtype != np.int64:
            return self
        return self._with_inputs(lambda x: _stored(x, f"data {self.name}"))

    def _with_inputs(self, change: Callable[[npt.NDArray[Any]], npt.NDArray[np.generic]]) -> Dataset:
        changed: dict[str, Any] = {name: change(x) for name, x in self.inputs.items()}
        return replace(self, **changed)

    @property
    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        """Those of `arrays` that are inputs."""
        return {name: array for name, array in self.arrays.items() if name.startswith("x_")}

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The examples' four arrays by name, in a fixed order, or six where some are for validation."""
        validation = {"x_validation": self.x_validation, "y_validation": self.y_validation}
        return {
            "x_train": self.x_train,
            "y_train": self.y_train,
            "x_test": self.x_test,
            "y_test": self.y_test,
            **{name: array for name, array in validation.items() if array is not None},
        }

    @validated(DataError)
    def parted(self, share: Sparsity) -> Dataset:
        """Take a share of the training examples out for validation: at random, but always the same of the same data.

        Raises `DataError` where that leaves no example on one of the sides.

        >>> toy = checked("toy", ([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]), ([[0.5]], [1]))
        >>> len(toy.parted(0.25).x_train), len(toy.parted(0.25).x_validation)
        (3, 1)
        """
        if share == 0:
            return self
        count = len(self.y_train)
        taken = round(share * count)
        if not 0 < taken < count:
            raise DataError(
                f"data {self.name}: a share of {share:g} of {count} training examples is {taken}; expected at least "
                "one for validation, and at least one that is left"
            )
        order = np.random.default_rng(derive(0, "validation", self.fingerprint)).permutation(count)
        validation, left = np.sort(order[:taken]), np.sort(order[taken:])
        return replace(
            self,
            x_train=self.x_train[left],
            y_train=self.y_train[left],
            x_validation=self.x_train[validation],
            y_validation=self.y_train[validation],
            train_places=left,
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents: names, types, shapes and bytes of all arrays.

        Integers count as the float32 numbers that they are, so that nothing is another one for being read either way.
        """
        digest = hashlib.sha256(f"{self.num_classes}".encode())
        for name, array in {**self.arrays, **{name: _counted(x) for name, x in self.inputs.items()}}.items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def checked(name: str, train: Any, test: Any, num_classes: int | None = None, *, integers: bool = False) -> Dataset:
    """Build a `Dataset` from two sources of examples, or raise `DataError` saying what is wrong with which part.

    Each source is one of those that `redense.data.examples.batches` takes, such as arrays (x, y). Without `num_classes`
    there are as many classes as the largest training label says. With `integers`, inputs that are integers in both, but
    no bytes, stay so and as they lie; else they become float32.

    >>> checked("toy", ([[0.0], [1.0]], [0, 1]), ([[0.5]], [1])).num_classes
    2
    """
    from redense.data.examples import arrays  # with PyTorch, which takes seconds and which a list of names needs not
    from redense.data.names import classes_of

    named = classes_of(train)

    x_train, y_train = arrays(train, f"data {name}, training")
    x_test, y_test = arrays(test, f"data {name}, test")
    if integers and all(x.dtype.kind in WHOLE and x.dtype != np.uint8 for x in (x_train, x_test)):
        x_train, x_test = x_train.astype(np.int64), x_test.astype(np.int64)
    else:
        x_train, x_test = _stored(x_train, f"data {name}, training"), _stored(x_test, f"data {name}, test")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"data {name}: inputs of the wrong shape: training {x_train.shape[1:]}, test {x_test.shape[1:]}; "
            "expected the same shape"
        )
    check_types(x_train.dtype, x_test.dtype, (f"data {name}: training", "test"))
    if not x_train[0].size:
        raise DataError(
            f"data {name}: inputs of shape {x_train.shape} hold no numbers; expected one or more an example"
        )
    classes = num_classes if num_classes is not None else int(y_train.max()) + 1
    if classes > MOST_CLASSES:
        raise DataError(
            f"data {name}, training: label {classes - 1} is out of range; expected the number of a class, from 0 to "
            f"{MOST_CLASSES - 1:,}"
        )
    for split, y in (("training", y_train), ("test", y_test)):
        if y.min() < 0 or y.max() >= classes:
            wrong = int(y.min()) if y.min() < 0 else int(y.max())
            raise DataError(f"data {name}, {split}: label {wrong} is out of range; expected 0 to {classes - 1}")
    if classes < 2:
        raise DataError(f"data {name}: got one class; expected at least two")
    names = named if len(named) >= classes else ()
    return Dataset(name, x_train, y_train, x_test, y_test, classes, classes=names)


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


def _counted(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what a fingerprint takes inputs for: integers as training would store them, unless that rounds them."""
    exact = x.dtype == np.int64 and x.min() >= -EXACT and x.max() <= EXACT
    return images(x).astype(np.float32) if exact else x


def _stored(x: npt.NDArray[Any], what: str) -> npt.NDArray[np.generic]:
    """Make inputs what training keeps of them: uint8 or float32, images [n, channels, height, width]."""
    array = images(x if x.dtype == np.uint8 else x.astype(np.float32))
    if array.ndim not in (2, 4):
        raise DataError(
            f"{what}: inputs of the wrong shape: {array.shape}; expected [n, features], [n, height, width], "
            "[n, channels, height, width] or [n, height, width, channels]"
        )
    return np.ascontiguousarray(array)
