"""Time of a training step in the sparse phase against a dense step with the same optimizer (goal: at most 2% more).

All take turns, a block of steps each; the ratio to dense is taken round by round. With `--others` beside redense:
`torch.nn.utils.prune`, `torch.nn.utils.parametrize` with a mask, a float mask multiplied in after the step, and
fasterai's DSD schedule (its mask is made anew at every step) where fasterai is installed.

    python benchmarks/step.py [--networks published redense transformer resnet18] [--optimizers adam adamw sgd]
        [--kinds fused foreach loop] [--threads 1 2] [--rounds 200] [--steps 2] [--clock wall|cpu] [--others]

`published` is the published network as anybody would write it, `redense` the same as redense builds it
(channels-last, pooling before ReLU): its steps take half the time. Above each table stands what masking must move,
beside what the step computes and what its optimizer moves, and how long masking takes alone, without a step around it.
On a busy machine `--clock cpu` counts the processor's time, of all threads.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any

import torch
from published import published_network
from timing import CLOCKS, in_turns, machine, quartiles, ratios, seconds, spread
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

import redense
from redense.models.registry import build
from redense.sparsity.enforce import Enforcement
from redense.sparsity.optimizers import Optimizers

Step = Callable[[], object]
Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
NETWORKS = "published", "redense", "transformer", "resnet18"
KINDS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "loop": {"foreach": False, "fused": False},  # what PyTorch does on the CPU when nothing is said
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
}
MOVED = {"adam": 7, "adamw": 7, "sgd": 5}
"""Numbers a weight that a fused step reads and writes: weight, gradient, moments."""


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
    if name == "resnet18":
        from torchvision.models import resnet18

        return resnet18(num_classes=10), torch.rand(16, 3, 32, 32)
    x = torch.rand(32, 1, 28, 28)
    if name == "redense":
        return build("fmnist-cnn", (1, 28, 28), 10).to(memory_format=torch.channels_last), x
    return published_network(), x


def trained(
    model: nn.Module, x: torch.Tensor, make: Make, before: Step | None = None, after: Step | None = None
) -> Step:
    """Return a training step, with something before or after it."""
    return step_of(model, make(model.parameters()), x, before, after)


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


def with_redense(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], make: Make, stack: Any) -> Step:
    optimizer = make(model.parameters())
    stack.enter_context(redense.masked(model, optimizer, masks))
    return step_of(model, optimizer, x, None, None)


def with_prune(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], make: Make, stack: Any) -> Step:
    for name, mask in masks.items():
        module, _, parameter = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(module), parameter, mask)
    return trained(model, x, make)


def with_parametrize(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], make: Make, stack: Any) -> Step:
    for name, mask in masks.items():
        module, _, parameter = name.rpartition(".")
        like = torch.empty_like(model.get_parameter(name), requires_grad=False).copy_(mask)
        parametrize.register_parametrization(model.get_submodule(module), parameter, Mask(like))
    return trained(model, x, make)


def with_float_mask(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], make: Make, stack: Any) -> Step:
    weights = [model.get_parameter(name).detach() for name in masks]
    floats = [torch.empty_like(weight).copy_(mask) for weight, mask in zip(weights, masks.values(), strict=True)]

    def multiply() -> None:
        torch._foreach_mul_(weights, floats)

    return trained(model, x, make, after=multiply)


def with_fasterai(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], make: Make, stack: Any) -> Step:
    from fasterai.core.criteria import large_final
    from fasterai.sparse.sparsifier import Sparsifier

    sparsifier = Sparsifier(model, "weight", "local", large_final, layer_type=(nn.Conv2d, nn.Linear))
    return trained(model, x, make, before=lambda: sparsifier.sparsify_model(0.5), after=sparsifier._apply_masks)


OTHERS = {
    "nn.utils.prune": with_prune,
    "parametrize": with_parametrize,
    "float mask after the step": with_float_mask,
    "fasterai dsd": with_fasterai,
}


def count(model: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor], optimizer: str) -> None:
    """Print what a step computes and moves, and what masking moves."""
    with FlopCounterMode(display=False) as counter:
        step_of(copy.deepcopy(model), torch.optim.SGD([torch.zeros(1)]), x, None, None)()
    parameters, masked = (sum(one.numel() for one in each) for each in (model.parameters(), masks.values()))
    mask_bytes = enforced(model, masks).mask_bytes
    print(
        f"  a step computes {counter.get_total_flops() / 1e9:.2f} GFLOP; {masked:,} of {parameters:,} are masked, "
        f"{mask_bytes / masked:.0f} byte(s) a mask"
    )
    print(
        f"  read and written: {4e-6 * MOVED[optimizer] * parameters:.1f} MB by the optimizer, "
        f"{1e-6 * (2 * 4 * masked + mask_bytes):.1f} MB by masking"
    )


def enforced(model: nn.Module, masks: dict[str, torch.Tensor]) -> Enforcement:
    """Return masks in force whose `after_step` masks all weights once: Adamax moves zeros, here it has no moments."""
    return Enforcement(model, Optimizers(torch.optim.Adamax(model.parameters())), masks)


def compare(
    original: nn.Module, x: torch.Tensor, make: Make, ways: dict[str, Any], arguments: argparse.Namespace
) -> None:
    """Time steps of all ways in turns, and print them."""
    masks = redense.magnitude_masks(original, sparsity=0.5)
    count = arguments.steps
    with contextlib.ExitStack() as stack:
        steps: dict[str, Step] = {"dense": trained(copy.deepcopy(original), x, make)}
        for name, way in ways.items():
            try:
                steps[name] = way(copy.deepcopy(original), x, masks, make, stack)
            except ImportError as error:
                print(f"  {name}: {error}")
        # once more, to show how far two measurements of the same thing lie apart
        steps["dense again"] = trained(copy.deepcopy(original), x, make)
        for name, step in list(steps.items()):
            try:
                seconds(step, calls=3)
            except RuntimeError as error:  # as nn.utils.prune does with nn.MultiheadAttention
                print(f"  {name}: fails ({str(error).splitlines()[0][:80]})")
                del steps[name]
        measures = {name: partial(seconds, step, count, arguments.clock) for name, step in steps.items()}
        alone = enforced(copy.deepcopy(original), masks).after_step
        measures["masking alone"] = partial(seconds, alone, 10 * count, arguments.clock)
        times = in_turns(measures, arguments.rounds)
    for name, values in times.items():
        percent = [ratio - (name != "masking alone") for ratio in ratios(values, times["dense"])]
        print(f"  {name:26s} {spread(values, 1e3, 3):>26s} ms  {quartiles(percent, 100):>26s} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["published"])
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=["adam"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["fused"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--steps", type=int, default=2, help="steps a block")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--others", action="store_true", help="other tools, too")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    print(machine())
    for name, optimizer, kind, threads in product(
        arguments.networks, arguments.optimizers, arguments.kinds, arguments.threads
    ):
        torch.set_num_threads(threads)
        original, x = network(name)
        original, x = original.to(arguments.device), x.to(arguments.device)
        print(f"\n{name}, {kind} {optimizer}, {threads} thread(s), {arguments.device}, {arguments.clock} time")
        count(original, x, redense.magnitude_masks(original, sparsity=0.5), optimizer)
        ways = {"redense": with_redense, **(OTHERS if arguments.others else {})}
        compare(original, x, partial(OPTIMIZERS[optimizer], **KINDS[kind]), ways, arguments)


if __name__ == "__main__":
    main()
