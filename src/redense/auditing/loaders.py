"""Do anybody's examples stay the same from one reading to the next?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset

from redense.auditing.answers import digests
from redense.data.examples import batches
from redense.data.order import first_places, shuffles
from redense.seeding import chance_kept

BATCHES = 2
LOOKED_AT = 64
"""Examples that are read twice, of each batch."""


def read_twice(source: Any, what: str) -> list[str]:
    """Read the first two batches of a data set or loader twice, and warn where they are not the same.

    Nothing is read of arrays, which stay as they are, and of what can be read only once. A loader's workers are not
    started, and all generators of random numbers are afterwards where they were.
    """
    if isinstance(source, DataLoader):
        return [] if isinstance(source.dataset, IterableDataset) else _of_loader(source, what)
    if isinstance(source, (Mapping, tuple, IterableDataset)) or not hasattr(source, "__getitem__"):
        return []
    if isinstance(source, (list, np.ndarray, np.generic, torch.Tensor)) or not len(source):
        return []
    with chance_kept():
        first = Subset(source, range(min(len(source), LOOKED_AT)))
        return _contents([batches(first, what, LOOKED_AT) for _ in range(2)], what)


def _of_loader(loader: DataLoader[Any], what: str) -> list[str]:
    warnings = []
    if shuffles(loader):
        warnings.append(
            f"{what}: the loader gives its examples in a random order, so that places among the most exposed and of "
            "risks are those of one reading, not of the data set; load without shuffling"
        )
    places = first_places(loader, BATCHES)
    if places and loader.worker_init_fn is None:  # else its data set may be readable in workers alone
        with chance_kept(loader):
            warnings += _contents([batches(_again(loader, places), what, LOOKED_AT) for _ in range(2)], what)
    return warnings


def _again(loader: DataLoader[Any], places: list[Any]) -> DataLoader[Any]:
    """Load the same places as the loader does, in this process."""
    if loader.batch_sampler is None:
        return DataLoader(loader.dataset, sampler=places, batch_size=None, collate_fn=loader.collate_fn)
    some = [batch[:LOOKED_AT] for batch in places]
    return DataLoader(loader.dataset, batch_sampler=some, collate_fn=loader.collate_fn)


def _contents(readings: list[Iterator[tuple[Any, Any]]], what: str) -> list[str]:
    first, second = ([(digests(x).tolist(), y.tolist()) for x, y in reading] for reading in readings)
    if first == second:
        return []
    return [
        f"{what}: the data give other contents each time they are read, as random augmentation does: the model is "
        "asked about other inputs than it was trained on; give them without augmentation"
    ]
