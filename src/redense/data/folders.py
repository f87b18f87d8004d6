"""Folders of images: one folder a class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from redense.errors import DataError


def split_folder(path: Path, what: str) -> tuple[Any, Any | None]:
    """Open the class folders in a folder as a data set of (uint8 [3, height, width], label) with its `classes`.

    Where there are subfolders ``train`` and ``test``, the training part and the test part come from these. Images are
    decoded when they are asked for. Raises `DataError` when a class has no images or the parts differ in classes.
    """
    if not all((path / part).is_dir() for part in ("train", "test")):
        return _images(path, what), None
    train, test = (_images(path / part, what) for part in ("train", "test"))
    check_classes(train, test, ("train", "test"), f"{what} {path}: ")
    return train, test


def check_classes(first: Any, second: Any, names: tuple[str, str], what: str = "") -> None:
    """Raise `DataError` when two data sets name their classes and differ: the same label would mean two things."""
    ours, theirs = (getattr(side, "classes", None) for side in (first, second))
    if isinstance(ours, list) and isinstance(theirs, list) and ours != theirs:
        raise DataError(
            f"{what}{names[0]} has the classes {ours}, {names[1]} {theirs}; expected the same: one folder a class in "
            "both"
        )


def _images(path: Path, what: str) -> Any:
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS

    try:
        # ImageFolder misses images only after a walk through everything; the first class without any ends this one
        for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
            files = (file for _, _, files in os.walk(folder, followlinks=True) for file in files)
            if not any(file.lower().endswith(IMG_EXTENSIONS) for file in files):
                raise FileNotFoundError(f"no image is in {folder}")
        return ImageFolder(str(path), loader=_Pixels(what))
    except OSError as error:
        raise DataError(
            f"{what} {path}: {error}; expected folders named like the classes, with images in them"
        ) from None


class _Pixels:
    """Decodes images, all of one size; uint8 [3, height, width]."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.size: tuple[int, int] | None = None

    def __call__(self, file: str) -> npt.NDArray[np.uint8]:
        from PIL import Image

        try:
            with Image.open(file) as image:
                pixels = np.array(image.convert("RGB"))
        except Exception as error:  # each format has kinds of its own
            raise DataError(f"{self.what} {file}: cannot be read ({error}); expected an image") from None
        height, width, _ = pixels.shape
        self.size = self.size or (width, height)
        if self.size != (width, height):
            raise DataError(
                f"{self.what} {file} is {width}x{height}, the first image {self.size[0]}x{self.size[1]}; expected "
                "images of one size"
            )
        return pixels.transpose(2, 0, 1)
