"""What only a GPU can show: the same masks as on the CPU, a masked step, its CUDA graph, the threshold of 1 B weights.

python benchmarks/gpu.py [--parameters 1_000_000_000]
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from step import Transformer
from timing import machine, ratios, show, spread, timings
from torch import nn

import redense
from redense.models.registry import build
from redense.sparsity.smallest import kth_smallest, smallest


def check_masks() -> None:
    """Compare masks and selected keys with the CPU's, bit for bit, ties and all types included."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        values = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)).to(dtype)
        values[::3] = 0
        for count in (1, 100_000, 500_000, 999_999):
            on_cpu, on_gpu = smallest({"w": values}, count)["w"], smallest({"w": values.cuda()}, count)["w"]
            assert torch.equal(on_cpu, on_gpu.cpu()), (dtype, count)
    model = build("fmnist-cnn", (1, 28, 28), 10)
    for distribution in ("uniform", "global"):
        masks = redense.magnitude_masks(model, sparsity=0.5, distribution=distribution)
        moved = redense.magnitude_masks(copy.deepcopy(model).cuda(), sparsity=0.5, distribution=distribution)
        assert all(torch.equal(mask, moved[name].cpu()) for name, mask in masks.items())
    print("masks on the GPU equal the CPU's")


def show_threshold(count: int) -> None:
    """Time the median magnitude of many weights, beside one read of them."""
    weights, k = torch.randn(count, device="cuda"), count // 2
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    smallest({"w": weights}, k)
    extra = (torch.cuda.max_memory_allocated() - before) / 2**20
    ways = {
        "one read (max)": weights.max,
        "threshold": lambda: kth_smallest(weights, k),
        "threshold and mask": lambda: smallest({"w": weights}, k),
        "torch.sort of a tenth": lambda: weights[: count // 10].abs().sort(),
    }
    show(f"median magnitude of {count:,} float32", timings(ways, 5))
    print(f"  extra memory {extra:.0f} MiB")


def step_overhead(name: str, model: nn.Module, x: torch.Tensor) -> None:
    """Time a dense and a masked step in turns, eager and as CUDA graphs, and check the zeros."""
    y = torch.arange(len(x), device="cuda") % 10
    masks = redense.magnitude_masks(model, sparsity=0.5)
    for captured in (False, True):
        actions = {}
        for kind in ("dense", "masked"):
            twin = copy.deepcopy(model)
            optimizer = torch.optim.Adam(twin.parameters(), fused=True, capturable=captured)
            if kind == "masked":
                redense.masked(twin, optimizer, masks).__enter__()

            def step(twin: nn.Module = twin, optimizer: torch.optim.Optimizer = optimizer) -> None:
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(twin(x), y).backward()
                optimizer.step()

            actions[kind] = _captured(step) if captured else step
            for _ in range(5):
                actions[kind]()
            if kind == "masked":
                assert all(not twin.get_parameter(n)[~mask].any() for n, mask in masks.items()), "not zero"
        times = timings(actions, 30, calls=10)
        show(f"{name}, {'CUDA graph' if captured else 'eager'}", times)
        overhead = [ratio - 1 for ratio in ratios(times["masked"], times["dense"])]
        print(f"  masked: {spread(overhead, 100)} % more")


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parameters", type=int, default=1_000_000_000)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("needs a CUDA device; PyTorch finds none here")
    print(machine())
    check_masks()
    show_threshold(arguments.parameters)
    image = torch.rand(32, 1, 28, 28, device="cuda")
    model = build("fmnist-cnn", (1, 28, 28), 10).cuda()
    step_overhead("published network as redense builds it, batch 32", model, image)
    step_overhead("transformer of 10 M", Transformer().cuda(), torch.randint(0, 1000, (16, 32), device="cuda"))


if __name__ == "__main__":
    main()
