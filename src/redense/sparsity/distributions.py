"""How a sparsity is shared out among the tensors: the same for all, by shape, or as the user says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from redense.errors import RecipeError
from redense.sparsity.checks import DistributionName, check_sparsity
from redense.sparsity.select import matching

Distribution = str | Mapping[str, float]
"""``uniform``, ``global``, ``erk``, or name pattern -> sparsity."""
Shapes = Mapping[str, tuple[int, ...]]
Units = Mapping[str, int]
Counts = dict[str, int]


def pruned_counts(shapes: Shapes, units: Units, sparsity: float, distribution: Distribution) -> Counts | None:
    """Say how many of each tensor's `units` (weights, blocks or channels) to prune; None: the smallest of all together.

    - ``uniform``: ``round(sparsity * n)`` of every tensor.
    - ``global``: no counts; ``round(sparsity * n)`` of all tensors together.
    - ``erk``: Erdos-Renyi-kernel, densities proportional to (sum of dimensions) / (product of dimensions), and in
      all exactly ``round(sparsity * n)`` (Evci et al., "Rigging the Lottery", ICML 2020, section 3).
    - a mapping: name pattern -> sparsity, the first that matches; `sparsity` for the rest.

    Raises `RecipeError` for an unknown name, a sparsity outside [0, 1), and a pattern that matches nothing.

    >>> pruned_counts({"a": (2, 5), "b": (10, 10)}, {"a": 10, "b": 100}, 0.5, "erk")
    {'a': 0, 'b': 55}
    """
    check_sparsity("sparsity", sparsity)
    if not isinstance(distribution, str):
        return _explicit(units, sparsity, distribution)
    counts = next((counts for name, counts in DISTRIBUTIONS.items() if name == distribution), None)
    if counts is not None:
        return counts(shapes, units, sparsity)
    raise RecipeError(
        f"distribution: got {distribution!r}; expected {', '.join(DISTRIBUTIONS)} or a mapping of name patterns to "
        "sparsities"
    )


def _explicit(units: Units, sparsity: float, sparsities: Mapping[str, float]) -> Counts:
    chosen: dict[str, float] = {}
    for pattern, value in sparsities.items():
        check_sparsity(f"distribution: {pattern}", value)
        for name in matching(units, pattern, "distribution"):
            chosen.setdefault(name, value)
    return {name: round(chosen.get(name, sparsity) * n) for name, n in units.items()}


def _uniform(_: Shapes, units: Units, sparsity: float) -> Counts:
    return {name: round(sparsity * n) for name, n in units.items()}


def _global(_: Shapes, _units: Units, _sparsity: float) -> None:
    return None


def _erdos_renyi_kernel(shapes: Shapes, units: Units, sparsity: float) -> Counts:
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    total = sum(units.values())
    pruned = round(sparsity * total)
    dense: set[str] = set()
    while True:  # a density above 1 is cut to 1, and the others share the rest
        others = {name: n for name, n in units.items() if name not in dense}
        to_keep = total - pruned - sum(units[name] for name in dense)
        scale = to_keep / sum(raw[name] * n for name, n in others.items()) if others else 0.0
        above = {name for name in others if scale * raw[name] > 1}
        if not above:
            break
        dense |= above
    exact = {name: n * (1 - scale * raw[name]) if name in others else 0.0 for name, n in units.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(others, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: pruned - sum(counts.values())]:
        counts[name] += 1
    return counts


DISTRIBUTIONS: dict[DistributionName, Callable[[Shapes, Units, float], Counts | None]] = {
    "uniform": _uniform,
    "global": _global,
    "erk": _erdos_renyi_kernel,
}
"""All distributions by name, each with the function that says how many of each tensor's units to prune."""
