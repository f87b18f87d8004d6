"""How much memory there is, and how much training takes: what limits workers and models trained at once."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from redense.models.evaluation import evaluating
from redense.signals import EVALUATION_BATCH

PROCESS_BYTES = 550e6
"""Memory of a worker process without its model: 450 to 530 MB on Linux, its share of what is mapped included."""
STATES = 4
"""Copies of the weights in training: the weights, their gradients and two moments."""
UNLIMITED = 1 << 60
"""What the older control groups have for a limit where there is none is above this."""


def available_bytes(root: Path = Path("/")) -> int:
    """Return the memory that new processes can take: the machine's, or what a control group leaves of it.

    `root` is where ``proc`` and ``sys`` lie. Caches that the system drops when memory runs short count as available.
    """
    machine, group = _machine(root), control_group_bytes(root)
    return max(0, machine if group is None else min(machine, group))


def control_group_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that this process's control group leaves; None without a limit."""
    limits = []
    for limit, usage, statistics in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        folder = root / "sys/fs/cgroup"
        allowed, used = _number(folder / limit), _number(folder / usage)
        if allowed is not None and used is not None and allowed < UNLIMITED:
            limits.append(allowed - used + _reclaimable(folder / statistics))
    return min(limits, default=None)


def training_bytes(model: nn.Module, input_shape: tuple[int, ...], batch_size: int) -> int:
    """Bound the bytes that training a model takes beside the data: weights, moments and a batch's activations.

    The larger of a training batch, whose activations have gradients too, and an evaluation batch counts.
    """
    example = activation_bytes(model, input_shape)
    return STATES * state_bytes(model) + max(2 * batch_size, EVALUATION_BATCH) * example


def activation_bytes(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return the bytes of all modules' outputs for one example.

    >>> activation_bytes(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), (4,))
    64
    """
    sizes: list[int] = []

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            sizes.append(output.numel() * output.element_size())

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    try:
        with evaluating(model):
            model(torch.zeros(1, *input_shape, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes)


def state_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def _machine(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:  # no Linux: all memory there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    values = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return 1024 * values["MemAvailable"]


def _number(path: Path) -> int | None:
    """Read a file that holds a number; None where there is no such file or it says "max"."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable(path: Path) -> int:
    try:
        values = dict(line.split() for line in path.read_text().splitlines())
    except OSError:
        return 0
    return int(values.get("inactive_file", 0))
