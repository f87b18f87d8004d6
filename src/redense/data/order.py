"""In which order a loader gives the examples of its data set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from redense.seeding import chance_kept

RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def shuffles(source: Any) -> bool:
    """Tell whether a source is a loader that draws its examples in a random order.

    It does where its sampler, or the one behind its batch sampler, is a random one of PyTorch's or says that it
    shuffles, and where the first two batches are of other places when they are drawn again. All generators of random
    numbers are afterwards where they were.

    >>> examples = [([0.0], 0), ([1.0], 1)]
    >>> shuffles(DataLoader(examples, shuffle=True)), shuffles(DataLoader(examples)), shuffles(examples)
    (True, False, False)
    """
    if not isinstance(source, DataLoader):
        return False
    sampler = _sampler(source)
    says_so = getattr(sampler, "shuffle", False) is True  # as torch's DistributedSampler does
    if says_so or isinstance(sampler, RANDOM):
        return True
    with _chance_kept(source):
        return _drawn(source, 2) != _drawn(source, 2)


def in_order(loader: DataLoader[Any]) -> bool:
    """Tell whether a loader surely gives all examples as they lie in its data set.

    >>> examples = [([0.0], 0), ([1.0], 1)]
    >>> in_order(DataLoader(examples)), in_order(DataLoader(examples, shuffle=True))
    (True, False)
    """
    known = loader.batch_sampler is None or type(loader.batch_sampler) is BatchSampler
    return known and isinstance(_sampler(loader), SequentialSampler)


def draws_in_order(loader: DataLoader[Any]) -> bool:
    """Tell whether the places that a loader draws are those of its data set, one after the other, all that it draws.

    All of them are drawn, and no example is read. A sampler that is an iterator cannot be asked, and a data set that is
    one has no places: both are in no known order. All generators of random numbers are afterwards where they were.

    >>> examples = [([0.0], 0), ([1.0], 1)]
    >>> [draws_in_order(DataLoader(examples, sampler=places)) for places in ([0, 1], [1, 0])]
    [True, False]
    """
    if isinstance(loader.dataset, IterableDataset):
        return False
    if in_order(loader):
        return True
    with _chance_kept(loader):
        drawn = _drawn(loader, None)
    places = drawn if loader.batch_sampler is None else [place for batch in drawn for place in batch]
    return bool(places) and places == list(range(len(places)))


def first_places(loader: DataLoader[Any], batches: int) -> list[Any]:
    """Draw the places of a loader's first batches, lists; where it makes no batches, each is that of one element.

    None are drawn where the loader's sampler is an iterator, whose places come but once. All generators of random
    numbers are afterwards where they were.

    >>> first_places(DataLoader([([0.0], 0)] * 5, batch_size=2), 2)
    [[0, 1], [2, 3]]
    """
    with _chance_kept(loader):
        return _drawn(loader, batches)


def _drawn(loader: DataLoader[Any], batches: int | None) -> list[Any]:
    drawn: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    if any(isinstance(one, Iterator) for one in (drawn, _sampler(loader))):
        return []
    places = islice(drawn, batches)
    return list(places if loader.batch_sampler is None else map(list, places))


def _chance_kept(loader: DataLoader[Any]) -> AbstractContextManager[None]:
    return chance_kept(loader, loader.batch_sampler, _sampler(loader))


def _sampler(loader: DataLoader[Any]) -> Any:
    """Return what draws single places; of a batch sampler that does not say, the batch sampler itself."""
    if loader.batch_sampler is None:
        return loader.sampler
    return getattr(loader.batch_sampler, "sampler", loader.batch_sampler)
