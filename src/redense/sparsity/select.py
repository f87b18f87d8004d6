"""Which parameters of a model can be pruned."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch

from redense.config import did_you_mean
from redense.errors import RecipeError


def prunable(model: torch.nn.Module, exclude: Iterable[str] = ()) -> dict[str, torch.nn.Parameter]:
    """Name the parameters that pruning applies to: two or more dimensions, trainable, not excluded.

    `exclude` holds names or shell patterns. Each is compared with the parameter's full name and with the name
    of every module that contains it, so ``"conv2d"`` excludes ``conv2d.weight``. A pattern that matches no
    prunable parameter raises `RecipeError`. A parameter that two modules share is listed once.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> list(prunable(net)), list(prunable(net, exclude=["0"]))
    (['0.weight', '2.weight'], ['2.weight'])
    """
    candidates = {name: p for name, p in model.named_parameters() if p.dim() >= 2 and p.requires_grad}
    excluded: set[str] = set()
    for pattern in exclude:
        matched = {name for name in candidates if any(fnmatchcase(part, pattern) for part in _prefixes(name))}
        if not matched:
            known = sorted({part for name in candidates for part in _prefixes(name)})
            raise RecipeError(
                f"exclude: the pattern {pattern!r} matches no layer{did_you_mean(pattern, known)}; "
                f"expected a name or pattern among {', '.join(candidates) or 'no prunable layers at all'}"
            )
        excluded |= matched
    chosen = {name: p for name, p in candidates.items() if name not in excluded}
    if not chosen:
        raise RecipeError(
            "nothing is left to prune: expected at least one trainable parameter of two or more dimensions "
            "that is not excluded; exclude fewer layers"
        )
    return chosen


def _prefixes(name: str) -> list[str]:
    """List a dotted name and all that it begins with: a.b.weight -> a, a.b, a.b.weight."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
