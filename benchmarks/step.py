"""Time of a training step in the sparse phase against a dense step with the same optimizer (goal: at most 2% more).

Beside redense: `torch.nn.utils.prune`, `torch.nn.utils.parametrize` with a mask, a float mask multiplied in after the
step, and fasterai's DSD schedule (its mask is made anew at every step) where fasterai is installed. All take turns, a
block of steps each; the ratio to dense is taken round by round.

    python benchmarks/step.py [--network published|redense|transformer] [--adam fused|default] [--threads 1]

`published` is the published network as anybody would write it, `redense` the same as redense builds it
(channels-last, pooling before ReLU): its steps take half the time.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from published import published_network
from timing import in_turns, machine, quartiles, ratios, seconds, spread
from torch import nn
from torch.nn.utils import parametrize, prune

import redense
from redense.models.registry import build
from redense.sparsity.enforce import Enforcement
from redense.sparsity.optimizers import Optimizers

Step = Callable[[], object]
ADAM: dict[str, Any] = {"fused": True}


class Transformer(nn.Module):
    """Three encoder layers of width 512 with 10 M parameters, on 16 sequences of 32 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1000, 512)
        layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.out = nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(self.encoder(self.embedding(x)).mean(1))
        return logits


class Mask(nn.Module):
    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask


def network(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    if name == "transformer":
        return Transformer(), torch.randint(0, 1000, (16, 32))
    x = torch.rand(32, 1, 28, 28)
    if name == "redense":
        return build("fmnist-cnn", (1, 28, 28), 10).to(memory_format=torch.channels_last), x
    return published_network(), x


def trained(model: nn.Module, x: torch.Tensor, before: Step | None = None, after: Step | None = None) -> Step:
    """Return a training step of Adam, with something before or after it."""
    optimizer = torch.optim.Adam(model.parameters(), **ADAM)
    return step_of(model, optimizer, x, before, after)


def step_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, before: Step | None, after: Step | None
) -> Step:
    y = torch.arange(len(x), device=x.device) % 10

    def step() -> None:
        if before:
            before()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if after:
            after()

    return step


def with_redense(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], stack: Any) -> Step:
    optimizer = torch.optim.Adam(model.parameters(), **ADAM)
    stack.enter_context(redense.masked(model, optimizer, masks))
    return step_of(model, optimizer, x, None, None)


def with_prune(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], stack: Any) -> Step:
    for name, mask in masks.items():
        module, _, parameter = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(module), parameter, mask)
    return trained(model, x)


def with_parametrize(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], stack: Any) -> Step:
    for name, mask in masks.items():
        module, _, parameter = name.rpartition(".")
        like = torch.empty_like(model.get_parameter(name), requires_grad=False).copy_(mask)
        parametrize.register_parametrization(model.get_submodule(module), parameter, Mask(like))
    return trained(model, x)


def with_float_mask(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], stack: Any) -> Step:
    weights = [model.get_parameter(name).detach() for name in masks]
    floats = [torch.empty_like(weight).copy_(mask) for weight, mask in zip(weights, masks.values(), strict=True)]

    def multiply() -> None:
        torch._foreach_mul_(weights, floats)

    return trained(model, x, after=multiply)


def with_fasterai(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], stack: Any) -> Step:
    from fasterai.core.criteria import large_final
    from fasterai.sparse.sparsifier import Sparsifier

    sparsifier = Sparsifier(model, "weight", "local", large_final, layer_type=(nn.Conv2d, nn.Linear))
    return trained(model, x, before=lambda: sparsifier.sparsify_model(0.5), after=sparsifier._apply_masks)


WAYS = {
    "redense": with_redense,
    "nn.utils.prune": with_prune,
    "parametrize": with_parametrize,
    "float mask after the step": with_float_mask,
    "fasterai dsd": with_fasterai,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--network", choices=("published", "redense", "transformer"), default="published")
    parser.add_argument("--adam", choices=("fused", "default"), default="fused")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=None, help="steps a block; default 20, transformer 2")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    ADAM["fused"] = True if arguments.adam == "fused" else None
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    original, x = network(arguments.network)
    original, x = original.to(arguments.device), x.to(arguments.device)
    count = arguments.steps or (2 if arguments.network == "transformer" else 20)
    masks = redense.magnitude_masks(original, sparsity=0.5)
    with contextlib.ExitStack() as stack:
        steps: dict[str, Step] = {"dense": trained(copy.deepcopy(original), x)}
        for name, way in WAYS.items():
            try:
                steps[name] = way(copy.deepcopy(original), x, masks, stack)
            except ImportError as error:
                print(f"{name}: {error}")
        # once more, to show how far two measurements of the same thing lie apart
        steps["dense again"] = trained(copy.deepcopy(original), x)
        for name, step in list(steps.items()):
            try:
                seconds(step, calls=3)
            except RuntimeError as error:  # as nn.utils.prune does with nn.MultiheadAttention
                print(f"{name}: fails ({str(error).splitlines()[0][:80]})")
                del steps[name]
        times = in_turns({name: partial(seconds, step, count) for name, step in steps.items()}, arguments.rounds, 0)
    parameters = sum(p.numel() for p in original.parameters())
    print(machine())
    where = f"{arguments.device}, {arguments.threads} thread(s), {arguments.adam} Adam"
    print(f"{arguments.network}, {parameters:,} parameters, {where}")
    for name, values in times.items():
        percent = [ratio - 1 for ratio in ratios(values, times["dense"])]
        print(f"  {name:26s} {spread(values, 1e3, 3):>26s} ms  {quartiles(percent, 100):>26s} %")
    enforcement = Enforcement(original, Optimizers(torch.optim.SGD(original.parameters(), 0.1)), masks)
    masked = sum(mask.numel() for mask in masks.values())
    print(f"masks at rest: {enforcement.mask_bytes / masked:.3f} bytes a masked weight")


if __name__ == "__main__":
    main()
