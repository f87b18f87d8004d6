"""The arithmetic that keys name: what makes results the same on every run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def fixed_arithmetic(device: str, threads: int = 1) -> Iterator[None]:
    """Run the body with the arithmetic that keys name: on the CPU one thread, and denormals flushed to zero.

    Sums depend on how they are split among threads; with one, bits depend neither on the machine's load nor on
    the number of workers; only where no bits are promised may there be more `threads`. Moments of weights that no
    longer get a gradient decay into denormals, a ninth of all after three epochs of the published network, and
    processors are slow at those. On CUDA: deterministic kernels.
    """
    former_threads = torch.get_num_threads()
    deterministic = torch.backends.cudnn.deterministic
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.deterministic = device != "cpu"
    try:
        yield
    finally:
        torch.set_num_threads(former_threads)
        torch.set_flush_denormal(False)
        torch.backends.cudnn.deterministic = deterministic
