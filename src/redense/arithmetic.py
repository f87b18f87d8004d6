"""The arithmetic that keys name: what makes results the same on every run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def fixed_arithmetic(device: str) -> Iterator[None]:
    """Run the body with the arithmetic that keys name: on the CPU one thread, and denormals flushed to zero.

    Sums depend on how they are split among threads; with one, bits depend neither on the machine's load nor on
    the number of workers. Moments of weights that no longer get a gradient decay into denormals, a ninth of all
    after three epochs of the reference network, and processors are slow at those. On CUDA: deterministic kernels.
    """
    threads = torch.get_num_threads()
    deterministic = torch.backends.cudnn.deterministic
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.deterministic = device != "cpu"
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        torch.backends.cudnn.deterministic = deterministic
