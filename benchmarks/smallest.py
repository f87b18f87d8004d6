"""The exact median magnitude of many weights: redense against the other ways, time and extra memory.

Goals: 100 M float32 in at most 1.1 times the best other way's time and 350 MiB extra; 400 k in at most 1 ms. The
floor is one read of the array. All ways take turns in one process, small arrays once before the clock runs, so that
they lie in the cache; memory is measured (on Linux) in a process of its own for each way.

    python benchmarks/smallest.py [--size 100_000_000] [--threads 1] [--repeats 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import in_turns, machine, seconds, show

from redense.sparsity.smallest import kth_smallest, smallest


def radix(weights: torch.Tensor, k: int) -> float:
    """Two histograms of the bits of |w|, 15 and 16 of them, in chunks: the best way known before."""
    bits = weights.view(torch.int32)
    high = torch.zeros(1 << 15, dtype=torch.int64)
    for chunk in bits.split(1 << 24):
        high += torch.bincount((chunk & 0x7FFFFFFF) >> 16, minlength=1 << 15)
    prefix = int(torch.searchsorted(high.cumsum(0), k))
    k -= int(high[:prefix].sum())
    low = torch.zeros(1 << 16, dtype=torch.int64)
    for chunk in bits.split(1 << 24):
        key = chunk & 0x7FFFFFFF
        low += torch.bincount(key[key >> 16 == prefix] & 0xFFFF, minlength=1 << 16)
    digit = int(torch.searchsorted(low.cumsum(0), k))
    return float(np.array(prefix << 16 | digit, dtype=np.int32).view(np.float32))


WAYS: dict[str, Callable[[torch.Tensor, int], float]] = {
    "one read (max)": lambda w, k: float(w.view(torch.int32).numpy().max()),
    "redense": lambda w, k: float(kth_smallest(w, k)),
    "redense, with the mask": lambda w, k: float(smallest({"w": w}, k)["w"][0]),
    "radix, two histograms": radix,
    "np.partition": lambda w, k: float(np.partition(np.abs(w.numpy()), k - 1)[k - 1]),
    "torch.kthvalue": lambda w, k: float(w.abs().kthvalue(k).values),
    "torch.topk": lambda w, k: float(w.abs().topk(k, largest=False).values[-1]),
}


def extra_mebibytes(name: str, size: int) -> float:
    """Run one way in a process of its own and return by how much it raised the peak."""
    code = f"import benchmark; benchmark.print_extra({name!r}, {size})".replace("benchmark", "smallest")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=sys.path[0])
    return float(done.stdout)


def print_extra(name: str, size: int) -> None:
    torch.set_num_threads(1)
    weights = torch.empty(size).normal_()
    WAYS[name](torch.empty(100_000).normal_(), 50_000)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status("VmRSS")
    WAYS[name](weights, size // 2)
    print((status("VmHWM") - before) / 1024)


def status(field: str) -> int:
    """Read a figure of this process, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=100_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights = torch.empty(arguments.size).normal_(generator=torch.Generator().manual_seed(0))
    k = arguments.size // 2
    values = {name: way(weights, k) for name, way in WAYS.items() if name[:3] != "one" and "mask" not in name}
    assert len(set(values.values())) == 1, values

    def timed(way: Callable[[torch.Tensor, int], float]) -> float:
        if arguments.size < 10_000_000:
            way(weights, k)  # a small array then lies in the cache
        return seconds(partial(way, weights, k))

    print(machine())
    times = in_turns({name: partial(timed, way) for name, way in WAYS.items()}, arguments.repeats)
    show(f"median magnitude of {arguments.size:,} float32, {arguments.threads} thread(s)", times)
    if not arguments.no_memory:
        print("\nextra memory at the peak")
        for name in WAYS:
            print(f"  {name:<44} {extra_mebibytes(name, arguments.size):9.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
