"""Folders of images: one folder a class."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from redense.errors import DataError
from redense.files.reading import memory, open_plain
from redense.text import one_line

PIXELS = 2**26
"""Of an image at most, 200 MB once decoded; a small file may claim any number."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of what is decoded, whatever a file is called; of other formats some start programs."""
MISSED = 100_000
"""Files and folders of a class that may lie before its first image: else a wrong folder is walked through for hours."""


def split_folder(path: Path, what: str) -> tuple[Any, Any | None]:
    """Open the class folders in a folder as a data set of (uint8 [3, height, width], label) with its `classes`.

    Where there are subfolders ``train`` and ``test``, the training part and the test part come from these. Images are
    decoded when they are asked for. Raises `DataError` when a class has no images or the parts differ in classes.
    """
    if not all(os.path.isdir(path / part) for part in ("train", "test")):
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

    class Images(ImageFolder):  # type: ignore[misc]  # it comes without types
        def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
            names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not _hidden(entry.name))
            if not names:
                raise FileNotFoundError("no folder is in it")
            return names, {name: place for place, name in enumerate(names)}

        @staticmethod
        def make_dataset(
            directory: str | Path, class_to_idx: dict[str, int], *_args: Any, **_kwargs: Any
        ) -> list[tuple[str, int]]:
            """List all images, in ImageFolder's order; it would walk round in circles, and miss images at the end."""
            seen: dict[str, str] = {}
            folders = ((os.path.join(directory, name), place) for name, place in class_to_idx.items())
            return [(file, place) for folder, place in folders for file in _images_below(folder, seen, what)]

        def check_memory(self) -> None:
            """Raise `DataError` where all images, of the first one's size, are more than the machine's memory holds."""
            pixels, _ = self[0]
            needed = pixels.nbytes * len(self)
            if needed > memory():
                raise DataError(
                    f"{what} {path}: {len(self):,} images of {pixels.shape[2]}x{pixels.shape[1]} take {needed:,} "
                    f"bytes, more than memory holds ({memory():,}); expected smaller or fewer images"
                )

    try:
        return Images(str(path), loader=_Pixels(what))
    except OSError as error:
        raise DataError(
            f"{what} {path}: {error}; expected folders named like the classes, with images in them"
        ) from None


def _images_below(folder: str, seen: dict[str, str], what: str) -> list[str]:
    """List a class's images, sorted by folder, then by name; `seen` has the places of the classes before.

    Raises `DataError` where a link leads to a folder a second time, `FileNotFoundError` where there is no image.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    found: dict[str, list[str]] = {}
    passed = 0
    for place, _, names in os.walk(folder, followlinks=True):
        first = seen.setdefault(os.path.realpath(place), place)
        if first != place:
            raise DataError(f"{what} {place}: a link leads to {first}, whose images would be there twice; take it away")
        images = [name for name in names if not _hidden(name) and name.lower().endswith(IMG_EXTENSIONS)]
        if images:
            found[place] = sorted(images)
        passed += len(names) + 1
        if not found and passed > MISSED:
            break
    if not found:
        raise FileNotFoundError(f"no image is in {folder}")
    return [os.path.join(place, name) for place in sorted(found) for name in found[place]]


def _hidden(name: str) -> bool:
    """Tell whether a name is that of a system's or a program's own file or folder, such as ``.DS_Store``."""
    return name.startswith(".")


class _Pixels:
    """Decodes images, all of one size; uint8 [3, height, width]."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.size: tuple[int, int] | None = None

    def __call__(self, file: str) -> npt.NDArray[np.uint8]:
        from PIL import Image

        try:
            with warnings.catch_warnings(), open_plain(file) as opened:
                warnings.simplefilter("ignore")  # Pillow's, of sizes, which are checked here, and of what is no pixel
                with Image.open(opened, formats=FORMATS) as image:
                    self._check(file, image.size)  # before it is decoded
                    pixels = np.array(image.convert("RGB"))
        except DataError:
            raise
        except Exception as error:  # each format has kinds of its own
            reason = one_line(error) or type(error).__name__  # a MemoryError says nothing
            raise DataError(f"{self.what} {file}: cannot be read ({reason}); expected an image") from None
        return pixels.transpose(2, 0, 1)

    def _check(self, file: str, size: tuple[int, int]) -> None:
        width, height = size
        if width * height > PIXELS:
            raise DataError(f"{self.what} {file} is {width}x{height}; expected at most {PIXELS:,} pixels")
        self.size = self.size or size
        if self.size != size:
            raise DataError(
                f"{self.what} {file} is {width}x{height}, the first image {self.size[0]}x{self.size[1]}; expected "
                "images of one size"
            )
