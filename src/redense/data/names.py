"""What data sets call their examples, and their classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader, Subset

from redense.data.order import in_order

LABELS = ("labels", "label", "y", "target")
"""Names under which a mapping holds the classes of its examples."""


def names_of(sources: Sequence[Any], lengths: Sequence[int]) -> list[str] | None:
    """Return what the examples of several sources, behind each other, are called; None where no source says.

    Images in class folders (torchvision's ``ImageFolder`` and parts of it, also behind a loader that does not shuffle)
    are called by their files, relative to the folder. Examples of a source that does not name its so many examples are
    called by their places in it, from 0.

    >>> names_of([[1, 2], [3]], [2, 1]) is None
    True
    """
    found = [_names(source) for source in sources]
    known = [names is not None and len(names) == length for names, length in zip(found, lengths, strict=True)]
    if not any(known):
        return None
    places = [[str(place) for place in range(length)] for length in lengths]
    return [
        name
        for names, known_here, instead in zip(found, known, places, strict=True)
        for name in (names if known_here and names is not None else instead)
    ]


def classes_of(source: Any) -> tuple[str, ...]:
    """Return what a data set calls its classes, by label from 0; nothing where it does not say.

    Those of class folders and torchvision have ``classes``, those of Hugging Face ``features``; parts of data sets and
    loaders say what the whole does.

    >>> classes_of([([0.0], 0)])
    ()
    """
    while isinstance(source, (DataLoader, Subset)):
        source = source.dataset
    found = getattr(source, "classes", None)
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        found = next((getattr(features[name], "names", None) for name in LABELS if name in features), None)
    return tuple(map(str, found)) if isinstance(found, (list, tuple)) else ()


def _names(source: Any) -> list[str] | None:
    if isinstance(source, DataLoader):
        return _names(source.dataset) if in_order(source) else None
    if isinstance(source, Subset):
        names = _names(source.dataset)
        return names and [names[index] for index in source.indices]
    root, samples = getattr(source, "root", None), getattr(source, "samples", None)
    if root is None or not isinstance(samples, list):
        return None
    return [os.path.relpath(path, root) for path, _ in samples]
