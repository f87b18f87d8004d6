"""Is a loader's order random? Asked of every way in which PyTorch can be told to shuffle."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from redense.auditing.answers import refuse_disorder
from redense.auditing.loaders import read_twice
from redense.data.order import first_places, in_order, shuffles
from redense.errors import DataError

DATA = TensorDataset(torch.arange(60.0)[:, None], torch.zeros(60, dtype=torch.long))
WHOLE_BATCHES = TensorDataset(torch.arange(60.0).reshape(12, 5, 1), torch.zeros(12, 5, dtype=torch.long))
PLACES = range(60)


class Own(Sampler):
    """Draws by another library, and as whole batches or not."""

    def __init__(self, draw, size=None):
        self.draw, self.size = draw, size

    def __iter__(self):
        places = list(PLACES)
        self.draw(places)
        return iter(places if self.size is None else np.array_split(places, len(places) // self.size))

    def __len__(self):
        return 60


class Endless(IterableDataset):
    def __iter__(self):
        return iter([(torch.zeros(1), 0)])


def one_of_two(shuffle):
    return DistributedSampler(DATA, num_replicas=2, rank=0, shuffle=shuffle)


RANDOM = {
    "shuffle": lambda: DataLoader(DATA, shuffle=True),
    "a generator": lambda: DataLoader(DATA, batch_size=7, shuffle=True, generator=torch.Generator()),
    "some of them": lambda: DataLoader(DATA, sampler=SubsetRandomSampler(PLACES)),
    "by weight": lambda: DataLoader(DATA, batch_size=7, sampler=WeightedRandomSampler([1.0] * 60, 60)),
    "in batches": lambda: DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 7, False)),
    "for a rank": lambda: DataLoader(DATA, batch_size=7, sampler=one_of_two(True)),
    "for a rank, in batches": lambda: DataLoader(DATA, batch_sampler=BatchSampler(one_of_two(True), 7, False)),
    "without batches": lambda: DataLoader(WHOLE_BATCHES, batch_size=None, sampler=RandomSampler(range(12))),
    "by Python": lambda: DataLoader(DATA, sampler=Own(random.shuffle)),
    "by NumPy, in batches": lambda: DataLoader(DATA, batch_sampler=Own(np.random.shuffle, 7)),
}
FIXED = {
    "in order": lambda: DataLoader(DATA, batch_size=7),
    "in batches": lambda: DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 7, False)),
    "for a rank": lambda: DataLoader(DATA, batch_size=7, sampler=one_of_two(False)),
    "without batches": lambda: DataLoader(WHOLE_BATCHES, batch_size=None),
    "backwards": lambda: DataLoader(DATA, sampler=Own(list.reverse)),
    "a stream": lambda: DataLoader(Endless()),
}


def chance():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.parametrize("case", RANDOM)
def test_a_random_order_is_known_however_it_is_asked_for_and_alike_in_warnings_and_refusals(case):
    loader, before = RANDOM[case](), chance()
    assert shuffles(loader)
    assert not in_order(loader)
    warnings = read_twice(loader, "members")
    assert [warning for warning in warnings if "random order" in warning] == warnings
    assert len(warnings) == 1
    with pytest.raises(DataError, match="got a loader that shuffles"):
        refuse_disorder(loader, "members")
    assert chance() == before
    if loader.generator is not None:
        assert torch.equal(loader.generator.get_state(), torch.Generator().get_state())


@pytest.mark.parametrize("case", FIXED)
def test_a_fixed_order_is_not_warned_of_and_only_that_of_the_data_set_goes_with_reference_models(case):
    loader, before = FIXED[case](), chance()
    assert not shuffles(loader)
    assert read_twice(loader, "members") == []
    if case in ("in order", "in batches", "without batches"):
        refuse_disorder(loader, "members")
    else:  # fixed, but not that of the data set
        with pytest.raises(DataError, match="a loader that may not give its data set in order, and reference models"):
            refuse_disorder(loader, "members")
    assert in_order(loader) == (case in ("in order", "in batches", "without batches"))
    assert chance() == before


@pytest.mark.parametrize("in_batches", [False, True])
def test_a_sampler_that_draws_once_loses_nothing(in_batches):
    sampler = BatchSampler(iter(PLACES), 7, False) if in_batches else iter(PLACES)
    loader = DataLoader(DATA, batch_sampler=sampler) if in_batches else DataLoader(DATA, 7, sampler=sampler)
    assert not shuffles(loader)
    assert not in_order(loader)
    assert read_twice(loader, "members") == []
    assert sum(len(y) for _, y in loader) == 60


@pytest.mark.parametrize("case", sorted({*RANDOM, *FIXED} - {"a stream"}))
def test_first_places_are_those_that_the_loader_gives_next(case):
    for loader in (made[case]() for made in (RANDOM, FIXED) if case in made):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        places = first_places(loader, 2)
        if loader.generator is None:  # else the loader itself draws from it first
            drawn = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
            again = [place if loader.batch_sampler is None else list(place) for place in drawn]
            assert places == again[:2]
        assert len(places) == 2


class Late:
    """Draws the first places in order, and then at random."""

    def __iter__(self):
        places = list(range(20, 60))
        random.shuffle(places)
        return iter([*range(20), *places])

    def __len__(self):
        return 60


class Stream(IterableDataset):
    def __iter__(self):
        return iter(DATA)


UNKNOWN = {
    "shuffled later": lambda: DataLoader(DATA, batch_size=5, sampler=Late()),
    "a fixed permutation": lambda: DataLoader(DATA, batch_size=5, sampler=[*range(1, 60), 0]),
    "an iterator draws": lambda: DataLoader(DATA, batch_size=5, sampler=iter(PLACES)),
    "a stream": Stream,
    "a stream's loader": lambda: DataLoader(Stream(), batch_size=5),
    "a generator": lambda: (one for one in DATA),
}
KNOWN = {
    "listed batches": lambda: DataLoader(DATA, batch_sampler=[list(range(i, i + 5)) for i in range(0, 60, 5)]),
    "listed places": lambda: DataLoader(DATA, sampler=PLACES),
    "a data set": lambda: DATA,
    "arrays": lambda: DATA.tensors,
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_order_that_is_not_known_is_refused_with_reference_models(case):
    before = chance()
    with pytest.raises(DataError, match="and reference models; `included` says by the place"):
        refuse_disorder(UNKNOWN[case](), "members")
    assert chance() == before


@pytest.mark.parametrize("case", KNOWN)
def test_an_order_that_is_known_goes_with_reference_models(case):
    refuse_disorder(KNOWN[case](), "members")
