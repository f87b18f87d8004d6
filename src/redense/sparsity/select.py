"""Which parameters of a model can be pruned."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal, get_args

import torch
from torch import nn

from redense.errors import RecipeError
from redense.text import did_you_mean

Preset = Literal["default", "everything", "paper"]
"""Which tensors of two or more dimensions stay dense from the start: ``default`` embeddings, ``everything`` none,
``paper`` embeddings and the first convolution (Han et al., "DSD", ICLR 2017)."""

FORMER_PRESETS: dict[str, Preset] = {"reference": "everything"}
"""What presets were called before."""


def prunable(
    model: nn.Module, exclude: Iterable[str] = (), preset: Preset = "default"
) -> dict[str, torch.nn.Parameter]:
    """Name the parameters that pruning applies to: two or more dimensions, trainable floats, not excluded.

    `exclude` holds names or shell patterns. Each is compared with the parameter's full name and with the name
    of every module that contains it, so ``"conv2d"`` excludes ``conv2d.weight``. A parameter that several modules
    share is listed once, under its first name, and counts as an embedding when one of them is.

    Raises `RecipeError` for a pattern that matches no prunable parameter, and when nothing is left.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> list(prunable(net)), list(prunable(net, exclude=["0"]))
    (['0.weight', '2.weight'], ['2.weight'])
    """
    candidates = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() >= 2 and parameter.requires_grad and parameter.is_floating_point()
    }
    excluded = {name for name, parameter in candidates.items() if id(parameter) in _kept_dense(model, preset)}
    for pattern in exclude:
        excluded |= set(matching(candidates, pattern, "exclude"))
    chosen = {name: p for name, p in candidates.items() if name not in excluded}
    if not chosen:
        raise RecipeError(
            "nothing is left to prune: expected at least one trainable parameter of two or more dimensions "
            "that is not excluded; exclude fewer layers"
        )
    return chosen


def matching(names: Iterable[str], pattern: str, setting: str) -> list[str]:
    """List the parameters that a name or shell pattern stands for, by their own name or a module's around them.

    Raises `RecipeError`, which begins with `setting`, when there is none.
    """
    names = list(names)
    matched = [name for name in names if any(fnmatchcase(part, pattern) for part in _prefixes(name))]
    if not matched:
        known = sorted({part for name in names for part in _prefixes(name)})
        raise RecipeError(
            f"{setting}: the pattern {pattern!r} matches no layer{did_you_mean(pattern, known)}; "
            f"expected a name or pattern among {', '.join(names) or 'no prunable layers at all'}"
        )
    return matched


def _kept_dense(model: nn.Module, preset: Preset) -> set[int]:
    """Identify the parameters that the preset leaves alone."""
    preset = FORMER_PRESETS.get(preset, preset)
    if preset not in get_args(Preset):
        raise RecipeError(f"preset: got {preset!r}; expected one of {', '.join(get_args(Preset))}")
    kept: list[nn.Module] = []
    if preset != "everything":
        kept += [module for module in model.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))]
    if preset == "paper":
        kept += [module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd)][:1]
    return {id(module.weight) for module in kept}


def _prefixes(name: str) -> list[str]:
    """List a dotted name and all that it begins with: a.b.weight -> a, a.b, a.b.weight."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
