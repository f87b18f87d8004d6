"""What `redense.DSD` prunes by default in well-known architectures, as a table in Markdown.

    python benchmarks/selection.py > docs/results/selection.md

Needs torchvision, timm and transformers; nothing is downloaded. Transformers are built on the meta device, where
they take no memory.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version

import timm  # type: ignore[import-not-found, unused-ignore]
import torch
import torchvision
import transformers
from torch import nn

from redense.sparsity.parameters import named, places
from redense.sparsity.select import left_dense, prunable

VISION = (
    *("alexnet", "vgg16_bn", "squeezenet1_1", "resnet18", "resnet50", "densenet121", "googlenet", "mobilenet_v3_large"),
    *("efficientnet_b0", "shufflenet_v2_x1_0", "mnasnet1_0", "regnet_y_400mf", "convnext_tiny", "vit_b_16", "swin_t"),
    *("swin_v2_t", "maxvit_t"),
)
TIMM = (
    *("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "cait_xxs24_224", "beit_base_patch16_224"),
    *("convnextv2_atto", "mixer_b16_224", "levit_128s", "coatnet_0_rw_224", "eva02_tiny_patch14_224", "nfnet_f0"),
    *("resnetv2_50x1_bit", "mobilevitv2_050", "xcit_nano_12_p16_224", "swinv2_tiny_window8_256"),
)
TRANSFORMERS = (
    *("bert", "gpt2", "t5", "llama", "mixtral", "mamba", "wav2vec2", "whisper", "clip", "vit", "opt", "bloom"),
    *("deberta-v2", "qwen3_moe"),
)
OF_TORCH: dict[str, Callable[[], nn.Module]] = {
    "nn.LSTM (projected)": lambda: nn.LSTM(64, 128, 2, proj_size=32),
    "nn.Transformer": lambda: nn.Transformer(64, 4, 2, 2),
    "weight_norm(nn.Linear)": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(64, 64)),
}


def main() -> None:
    """Print the page."""
    day, packages = datetime.date.today(), ("torch", "torchvision", "timm", "transformers")
    print("# What is pruned by default\n")
    print(f"{day}, {', '.join(f'{name} {version(name)}' for name in packages)}. Made by `benchmarks/selection.py`.\n")
    print(
        "*pruned*: share of all parameters, in how many tensors, of which modules. *Left dense*: what has two or\n"
        "more dimensions and is not pruned, by module and name (how many); in bold what holds at least 1% of the\n"
        "parameters each, which `include` can prune.\n"
    )
    print("| model | pruned | tensors | of | left dense |\n| --- | --- | --- | --- | --- |")
    for name, model in models():
        print(line(name, model))


def models() -> Iterator[tuple[str, nn.Module]]:
    """Build the models one after the other."""
    for name in VISION:
        yield f"torchvision {name}", torchvision.models.get_model(name, weights=None)
    for name in TIMM:
        yield f"timm {name}", timm.create_model(name)
    for name in TRANSFORMERS:
        with torch.device("meta"):
            model: nn.Module = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(name))  # type: ignore[no-untyped-call]
        yield f"transformers {name}", model
    for name, make in OF_TORCH.items():
        yield name, make()


def line(name: str, model: nn.Module) -> str:
    """Describe a model in a row of the table."""
    pruned = prunable(model)
    everything = named(model)
    large = left_dense(model, pruned)
    held = {id(place.parameter): place for place in reversed(places(model))}
    kinds = Counter(type(held[id(parameter)].module).__name__ for parameter in pruned.values())
    dense: Counter[tuple[str, bool]] = Counter()
    for parameter_name, parameter in everything.items():
        if parameter_name not in pruned and parameter.dim() >= 2:
            place = held[id(parameter)]
            dense[f"{type(place.module).__name__}.{place.attribute}", parameter_name in large] += 1
    share = sum(p.numel() for p in pruned.values()) / sum(p.numel() for p in everything.values())
    of = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
    left = ", ".join(
        f"**{kind}** ({count})" if is_large else f"{kind} ({count})"
        for (kind, is_large), count in sorted(dense.items())
    )
    return f"| {name} | {share:.1%} | {len(pruned)} | {of} | {left or '-'} |"


if __name__ == "__main__":
    main()
