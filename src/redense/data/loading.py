"""Find the data that a recipe names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from redense.arguments import described, validated
from redense.data.dataset import Dataset, checked
from redense.data.examples import NAMES, are_columns, are_parts, arrays, parts_of_path
from redense.data.folders import check_classes
from redense.data.layout import Layout, refuse_layout
from redense.data.named import NAMED, load_named
from redense.data.names import classes_of
from redense.data.npz import KERAS, TEST, USUAL, parts_by_name
from redense.errors import DataError
from redense.text import did_you_mean
from redense.user_code import call, is_object_name, load_object

TEST_SHARE = 0.2
SPLIT_SEED = 0


@validated(DataError)
def load(
    name: str | Path, root: str | Path | None = None, layout: Layout = "auto", *, integers: bool = False
) -> Dataset:
    """Load data with a training and a test part, as `redense run` does.

    Args:
        name: a named data set (`redense data` lists them); FILE.npz with arrays ``x, y`` and, if there are any,
            ``x_test, y_test``, or Keras's ``x_train, y_train, x_test, y_test``; a folder of class folders of images,
            or of two such folders ``train`` and ``test``; or ``package.module:function``, which returns two sets of
            examples (train, test), or a mapping with these two, each as in `redense.audit`, a mapping of arrays that
            are called as in an NPZ file, or a name of these. Where the second names data with a test part, it is that
            part.
        root: a folder in which to look for named data first, and to which they are downloaded.
        layout: ``channels-first`` or ``channels-last``, of images in an NPZ file whose shape does not tell. It tells
            where only the last of four dimensions is 1, 3 or 4, or only the second.
        integers: whether integers stay int64, as models that begin with an embedding take them; else they become
            float32 (bytes are uint8 either way, and are for `Dataset.as_integers` to make int64).

    Files, folders and mappings of arrays without a test part give a random fifth of their examples (fixed seed) to the
    test. Raises `DataError` when there are no such data, or they are damaged or do not fit each other.

    >>> import redense
    >>> digits = redense.data.load("digits")
    >>> digits.x_train.shape, digits.y_test.shape, digits.num_classes
    ((1000, 1, 28, 28), (797,), 10)
    """
    name = str(name)
    if name in NAMED:
        refuse_layout(layout, f"data {name}")
        return load_named(name, Path(root) if root is not None else None)
    if is_object_name(name):
        result = _returned(name, "data")
        if isinstance(result, (str, Path)):
            return load(result, root, layout, integers=integers)
        return checked(name, *_of_function(result, name, root, layout), integers=integers)
    path = _path(name, "data")
    train, test = parts_of_path(path, "data", layout)
    classes = len(train.classes) if os.path.isdir(path) else None
    if test is not None:
        return checked(path.name, train, test, classes, integers=integers)
    data = checked(path.name, *_parted(*arrays(train, f"data {name}")), classes, integers=integers)
    return replace(data, classes=classes_of(train))


def sides(
    members: Any,
    nonmembers: Any,
    names: tuple[str, str] = ("members", "nonmembers"),
    root: str | Path | None = None,
    layout: Layout = "auto",
) -> tuple[Any, Any]:
    """Open examples that a model was trained on and examples that it was not.

    Each is a source as in `redense.data.examples.batches`, or a name as in `parts`. Where a source has a training and a
    test part, members are the training part, non-members the test part; named twice, it is read once. `names` stand in
    errors, `root` and `layout` are as in `load`. Raises `DataError` when sources that are named tell different classes
    apart.
    """
    named = all(isinstance(source, (str, Path)) for source in (members, nonmembers))
    first = parts(members, names[0], root, layout)
    shared = named and members == nonmembers and first[1] is not None
    training, test = first if shared else parts(nonmembers, names[1], root, layout)
    found = first[0], training if test is None else test
    if named:
        check_classes(*found, names)
    return found


def parts(source: Any, what: str, root: str | Path | None = None, layout: Layout = "auto") -> tuple[Any, Any | None]:
    """Open the examples that a source names, and their test part, None where there is none.

    It names a data set of redense, looked for in the folder `root` first, FILE.npz, a folder of class folders, or a
    function ``package.module:function``, which is called without arguments and returns examples, a name of these, or a
    training and a test part, opened as `sides` does. A mapping whose arrays are called as in an NPZ file has their
    parts; any other source that is no name is returned as it is.
    """
    if isinstance(source, type):
        raise DataError(f"{what}: got {described(source)}; expected examples, or a name of some")
    if not isinstance(source, (str, Path)):
        refuse_layout(layout, what)
        return _of_mapping(source, what) if _is_named_as_in_files(source) else (source, None)
    name = str(source)
    if name in NAMED:
        refuse_layout(layout, f"{what} {name}")
        data = load_named(name, Path(root) if root is not None else None)
        return (data.x_train, data.y_train), (data.x_test, data.y_test)
    if is_object_name(name):
        result = _returned(name, what)
        if are_parts(result):
            return _two_parts(result, f"{what} {name}", root, layout)
        return parts(result, what, root, layout)
    return parts_of_path(_path(name, what), what, layout)


def _path(name: str, what: str) -> Path:
    """Take a name for that of a file or folder; a file that is not there is refused where it is opened."""
    if not name.endswith(".npz") and not os.path.exists(name):
        raise DataError(
            f"unknown {what} {name!r}; expected one of {', '.join(NAMED)}, {NAMES}{did_you_mean(name, NAMED)}"
        )
    return Path(name)


def _two_parts(pair: Any, called: str, root: str | Path | None, layout: Layout) -> tuple[Any, Any]:
    """Open the pair (training, test) that a function returned, by the rule of `sides`; `called` stands in errors."""
    training, test = pair
    return sides(training, test, (f"{called}, training", f"{called}, test"), root, layout)


def _returned(name: str, what: str) -> Any:
    """Call ``package.module:function`` and return what it returns; this runs the user's code."""
    result = call(load_object(name, DataError, what), f"{what} {name}: the function", DataError)
    if isinstance(result, Mapping) and {"train", "test"} <= set(result):  # as Hugging Face's DatasetDict
        result = result["train"], result["test"]
    if any(isinstance(one, str) and one == name for one in (result if isinstance(result, (tuple, list)) else [result])):
        raise DataError(f"{what} {name}: the function returns its own name; expected examples or the name of others")
    return result


def _is_named_as_in_files(source: Any) -> bool:
    """Tell whether a source is a mapping whose arrays all have names of an NPZ file; x and y alone are any examples."""
    names = set(source) if isinstance(source, Mapping) else set()
    return not names <= set(USUAL) and names <= {*USUAL, *KERAS, *TEST}


def _of_mapping(arrays: Mapping[str, Any], what: str) -> tuple[Any, Any | None]:
    training, *test = ((arrays[x], arrays[y]) for x, y in parts_by_name(arrays, what))
    return training, test[0] if test else None


def _of_function(result: Any, name: str, root: str | Path | None, layout: Layout) -> tuple[Any, Any]:
    """Tell the training and the test part of what a function returned."""
    called = f"data {name}"
    if isinstance(result, Mapping) and result and set(result) <= {*USUAL, *KERAS, *TEST}:
        refuse_layout(layout, called)
        training, test = _of_mapping(result, called)
        return _parted(*arrays(training, called)) if test is None else (training, test)
    if not (isinstance(result, (tuple, list)) and len(result) == 2) or are_columns(result):
        raise DataError(
            f"{called}: the function returns {_kind(result)}; expected a training and a test part: two sets of "
            "examples (train, test), such as ((x, y), (x_test, y_test)), or a mapping of arrays x, y, x_test and "
            "y_test; of one of x and y alone a fifth becomes the test part"
        )
    return _two_parts(result, called, root, layout)


def _kind(result: Any) -> str:
    """Say what a function returned that is no training and test part."""
    if are_columns(result):
        x, y = result
        return f"arrays (x, y), {len(x):,} inputs and {len(y):,} labels, which are one set of examples"
    if isinstance(result, Mapping):
        return f"a mapping with {', '.join(map(str, result)) or 'nothing'}"
    if isinstance(result, (tuple, list)):
        return f"a {type(result).__name__} of {len(result):,}"
    many = f" of {len(result):,} examples" if isinstance(result, Sized) and not hasattr(result, "__array__") else ""
    return f"a {type(result).__name__}{many}, which is one set" if many else described(result)


def _parted(x: npt.NDArray[Any], y: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(x))
    test, train = np.split(order, [round(TEST_SHARE * len(x))])
    return (x[train], y[train]), (x[test], y[test])
