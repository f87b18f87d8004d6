"""Data of one's own: an NPZ file, a folder of class folders, or a function."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from redense.data.dataset import Dataset, checked
from redense.errors import DataError
from redense.user_code import load_object

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]

TEST_SHARE = 0.2
SPLIT_SEED = 0


def from_npz(path: Path) -> Dataset:
    """Load ``x``, ``y`` and optionally ``x_test``, ``y_test`` from an NPZ file without objects.

    Without test arrays a random fifth of the examples (fixed seed) becomes the test split.
    """
    if not path.is_file():
        raise DataError(f"data {path}: no such file; expected an NPZ file with arrays x and y")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"data {path}: cannot be read ({error}); expected an NPZ file of plain numeric arrays, without objects"
        ) from None
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(f"data {path}: has {', '.join(arrays) or 'no arrays'}; expected arrays x and y")
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise DataError(f"data {path}: has one of x_test and y_test; expected both or neither")
    if "x_test" in arrays:
        return checked(path.name, (arrays["x"], arrays["y"]), (arrays["x_test"], arrays["y_test"]))
    return checked(path.name, *_split(path.name, arrays["x"], arrays["y"]))


def from_folder(path: Path) -> Dataset:
    """Load images from class folders; ``train`` and ``test`` subfolders, if there are any, give the split."""
    from torchvision.datasets import ImageFolder

    try:
        if (path / "train").is_dir() and (path / "test").is_dir():
            train, test = ImageFolder(str(path / "train")), ImageFolder(str(path / "test"))
            if train.classes != test.classes:
                raise DataError(
                    f"data {path}: train has the classes {train.classes}, test {test.classes}; expected the same"
                )
            return checked(path.name, _images(path, train), _images(path, test), len(train.classes))
        everything = ImageFolder(str(path))
        x, y = _images(path, everything)
        return checked(path.name, *_split(path.name, x, y), len(everything.classes))
    except (FileNotFoundError, OSError) as error:
        raise DataError(f"data {path}: {error}; expected folders named like the classes, with images in them") from None


def from_function(name: str) -> Dataset:
    """Call ``package.module:function``; it returns two data sets (train, test).

    Each is a pair of arrays (x, y), or anything with a length whose elements are pairs (input, label).
    """
    function = load_object(name, DataError, "data")
    try:
        result = function()
    except Exception as error:
        raise DataError(f"data {name}: the function raised {type(error).__name__}: {error}") from error
    if not (isinstance(result, (tuple, list)) and len(result) == 2):
        raise DataError(f"data {name}: got {type(result).__name__}; expected two data sets (train, test)")
    return checked(name, _pair(name, result[0]), _pair(name, result[1]))


def _pair(name: str, split: Any) -> Arrays:
    if isinstance(split, (tuple, list)) and len(split) == 2 and all(hasattr(part, "shape") for part in split):
        return np.asarray(split[0]), np.asarray(split[1])
    try:
        pairs = [split[index] for index in range(len(split))]
        return np.stack([np.asarray(x) for x, _ in pairs]), np.array([int(y) for _, y in pairs])
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"data {name}: a split could not be read ({error}); expected arrays (x, y) or a sequence of (input, label) "
            "whose inputs share one shape"
        ) from None


def _images(path: Path, folder: Any) -> Arrays:
    """Stack the images of a torchvision ImageFolder: uint8 [n, 3, height, width]."""
    images = [np.asarray(image) for image, _ in folder]
    for image, (file, _) in zip(images, folder.samples, strict=True):
        if image.shape != images[0].shape:
            raise DataError(
                f"data {path}: {file} is {image.shape[1]}x{image.shape[0]}, the first image "
                f"{images[0].shape[1]}x{images[0].shape[0]}; expected images of one size"
            )
    return np.stack(images).transpose(0, 3, 1, 2), np.array(folder.targets)


def _split(name: str, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[Arrays, Arrays]:
    if len(x) != len(y):
        raise DataError(f"data {name}: x has {len(x)} examples, y {len(y)}; expected as many")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(x))
    test, train = np.split(order, [round(TEST_SHARE * len(x))])
    return (x[train], y[train]), (x[test], y[test])
