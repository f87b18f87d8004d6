"""Random streams derived from a root seed and a path of names; there is no other source of chance.

A stream depends on nothing but its name, so an epoch can be repeated after a crash without any
saved generator state, and jobs that share a name (all sparsities of one seed) see the same batches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def derive(seed: int, *path: str | int) -> int:
    """Derive a 63-bit seed from a root seed and a path.

    The first 8 bytes of SHA-256 over the JSON list ``[seed, *path]``, without the sign bit.

    >>> derive(0, "batches", 1) == derive(0, "batches", 1)
    True
    >>> derive(0, "batches", 1) == derive(0, "batches", 2)
    False
    """
    digest = hashlib.sha256(json.dumps([seed, *path]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_global(seed: int) -> None:
    """Start PyTorch's global generators, which layers draw from, at a seed.

    `torch.manual_seed` does the same; but where CUDA is there and not in use, each of its calls notes where it came
    from for later, which takes half a millisecond and is never thrown away.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def generator(seed: int, *path: str | int) -> torch.Generator:
    """Return a CPU generator started at `derive(seed, *path)`."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *path))


@contextmanager
def chance_kept(*holders: Any) -> Iterator[None]:
    """Leave the global generators, and those that the holders have as ``generator``, where they were before the body.

    >>> import torch
    >>> own = torch.Generator().manual_seed(1)
    >>> with chance_kept(torch.utils.data.RandomSampler([1, 2], generator=own)):
    ...     drawn = torch.rand(1, generator=own)
    >>> torch.equal(torch.rand(1, generator=own), drawn)
    True
    """
    import random

    import numpy as np
    import torch

    own = [holder.generator for holder in holders if isinstance(getattr(holder, "generator", None), torch.Generator)]
    states = [generator.get_state() for generator in own]
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        for generator, state in zip(own, states, strict=True):
            generator.set_state(state)
