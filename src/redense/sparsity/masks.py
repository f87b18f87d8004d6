"""Masks: which weights are kept (True) and which are pruned (False)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict, Unpack

import numpy as np
import torch
from torch import nn

from redense.arguments import Sparsity, validated
from redense.errors import ModelError, RecipeError
from redense.sparsity.checks import check_sparsity
from redense.sparsity.directions import directions, empty_slices, keeping_one, refuse_empty_slices, slices
from redense.sparsity.distributions import Distribution, pruned_counts
from redense.sparsity.patterns import NofM, OutputChannels, Pattern
from redense.sparsity.saliency import Saliency, magnitude
from redense.sparsity.select import Match, PresetName, prunable, several
from redense.sparsity.shards import is_sharded, like, local, ranks_of
from redense.sparsity.smallest import smallest

Masks = Mapping[str, torch.Tensor]
"""Parameter name -> bool tensor of the parameter's shape, sharded like it; True = kept."""


class Selection(TypedDict, total=False):
    """How masks are chosen, the keyword arguments of `choose_masks` besides the sparsity.

    `include`, `exclude` and `preset` say which tensors are pruned (`redense.sparsity.select`), `distribution` how the
    sparsity is shared out among them (`redense.sparsity.distributions`), `saliency` what goes last
    (`redense.saliency`: magnitude, random, gradient, your own; `score` is its former name), `pattern` what goes
    together (`redense.patterns`: NofM, Block, OutputChannels; None: every weight for itself).

    >>> settings: Selection = {"exclude": "0", "distribution": "global"}
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    >>> list(choose_masks(net, sparsity=0.5, **settings))
    ['1.weight']
    """

    include: Iterable[Match] | Match
    exclude: Iterable[Match] | Match
    preset: PresetName
    distribution: Distribution
    saliency: Saliency
    score: Saliency
    pattern: Pattern | NofM | None


@validated(RecipeError)
def choose_masks(model: nn.Module, *, sparsity: Sparsity, **selection: Unpack[Selection]) -> dict[str, torch.Tensor]:
    """Choose the least important weights of a model, exactly as many as asked for, and return masks by name, bool.

    By default ``round(sparsity * n)`` of the n weights of every layer (`redense.sparsity.select.WEIGHTS`), those of
    smallest magnitude (Han et al., "DSD", ICLR 2017, section 3); `Selection` lists what can be chosen instead, by
    `selection`. With a pattern, n counts its units. Among equals the weight that comes first is pruned first. Of a
    direction of weight_norm, whose rows are divided by their lengths, the most important of each row stays. Weights
    that `fully_shard` has spread over processes are compared where they lie: exactly the masks of a single process come
    out, sharded like the weights; this needs the magnitude and no pattern.

    Raises `RecipeError` for settings that do not fit the model or would leave a tensor without weights, and
    `ModelError` for NaN. The model is not changed.

    >>> net = torch.nn.Linear(10, 10)
    >>> int(choose_masks(net, sparsity=0.7)["weight"].sum())
    30
    """
    parameters, counts = check_selection(model, sparsity, selection)
    pattern = selection.get("pattern")
    transposed, found = _transposed(model, pattern), directions(model)
    divided = {name: found[id(parameter)] for name, parameter in parameters.items() if id(parameter) in found}
    importance = _importance(model, parameters, saliency_of(selection))
    importance |= {name: keeping_one(importance[name], dimension) for name, dimension in divided.items()}
    importance = {
        name: values.transpose(0, 1) if id(parameters[name]) in transposed else values
        for name, values in importance.items()
    }
    if isinstance(pattern, NofM):
        pruned = {name: pattern.pruned(values.abs()) for name, values in importance.items()}
    else:
        units = {n: v if pattern is None else pattern.importance(v.abs()) for n, v in importance.items()}
        if counts is None:
            total = sum(values.numel() for values in units.values())
            marks = smallest(units, round(sparsity * total))
        else:
            marks = {name: smallest({name: values}, counts[name])[name] for name, values in units.items()}
        pruned = {n: m if pattern is None else pattern.spread(m, tuple(importance[n].shape)) for n, m in marks.items()}
    masks = {}
    for name, parameter in parameters.items():
        marked = pruned[name].transpose(0, 1).contiguous() if id(parameter) in transposed else pruned[name]
        masks[name] = like(marked.logical_not_(), parameter)
    _refuse_empty(masks, sparsity)
    refuse_empty_slices(masks, divided, sparsity)
    return masks


@validated(RecipeError)
def magnitude_masks(
    model: nn.Module,
    *,
    sparsity: Sparsity,
    exclude: Iterable[Match] | Match = (),
    preset: PresetName = "default",
    distribution: Distribution = "uniform",
) -> dict[str, torch.Tensor]:
    """Choose the weights of smallest magnitude; `choose_masks` without its rarer settings.

    Args:
        model: whose layers are pruned; it is not changed.
        sparsity: the fraction of zeros, at least 0 and below 1.
        exclude: names or patterns of layers that stay dense, or types of modules.
        preset: ``default`` takes the weights of layers, ``paper`` these but the first convolution's, ``everything`` all
            parameters of two dimensions or more.
        distribution: ``uniform``, ``global``, ``erk``, or a mapping of names or patterns of layers to sparsities.

    >>> net = torch.nn.Linear(2, 1)
    >>> with torch.no_grad():
    ...     _ = net.weight.copy_(torch.tensor([[-3.0, 2.0]]))
    >>> magnitude_masks(net, sparsity=0.5)["weight"].tolist()
    [[True, False]]
    """
    return choose_masks(model, sparsity=sparsity, exclude=exclude, preset=preset, distribution=distribution)


def check_selection(
    model: nn.Module, sparsity: float, selection: Selection
) -> tuple[dict[str, nn.Parameter], dict[str, int] | None]:
    """Compare the settings with the model before any saliency is computed; raises as `choose_masks`.

    Returns the prunable parameters and how many units of each to prune (None: of all together).
    """
    unknown = set(selection) - set(Selection.__annotations__)
    if unknown:
        raise TypeError(f"got the unknown settings {sorted(unknown)}; expected {', '.join(Selection.__annotations__)}")
    check_sparsity("sparsity", sparsity)
    parameters = prunable(
        model, selection.get("exclude", ()), selection.get("preset", "default"), selection.get("include", ())
    )
    pattern, distribution = selection.get("pattern"), selection.get("distribution", "uniform")
    transposed = _transposed(model, pattern)
    shapes = {
        name: tuple(p.transpose(0, 1).shape if id(p) in transposed else p.shape) for name, p in parameters.items()
    }
    if any(is_sharded(parameter) for parameter in parameters.values()):
        ranks_of(parameters.items())
        if pattern is not None or saliency_of(selection) is not magnitude:
            raise RecipeError(
                "got sharded weights; expected the magnitude and no pattern: nothing else is made for shards"
            )
    if pattern is not None:
        for name, shape in shapes.items():
            pattern.check(name, shape, sparsity)
    if isinstance(pattern, NofM):
        if distribution != "uniform":
            raise RecipeError(f"distribution: got {distribution!r}; expected uniform, which N of M means")
        return parameters, None
    units = {name: p.numel() if pattern is None else pattern.units(shapes[name]) for name, p in parameters.items()}
    counts = pruned_counts(shapes, units, sparsity, distribution)
    for name, count in (counts or {}).items():
        if count == units[name]:
            raise _none_left(name, units[name], sparsity)
    if pattern is None or isinstance(pattern, OutputChannels):
        plain = {name: parameter for name, parameter in parameters.items() if id(parameter) not in transposed}
        _refuse_more_than_slices_bear(model, plain, units, counts, sparsity)
    return parameters, counts


def _refuse_more_than_slices_bear(
    model: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    units: Mapping[str, int],
    counts: Mapping[str, int] | None,
    sparsity: float,
) -> None:
    """Raise `RecipeError` where not every slice of weight_norm's directions could keep a unit."""
    found = directions(model)
    rows = {n: slices(tuple(p.shape), found[id(p)]) for n, p in parameters.items() if id(p) in found}
    for name, count in rows.items():
        if counts is not None and counts[name] > units[name] - count:
            raise empty_slices(name, count, sparsity)
    total = sum(units.values())
    if rows and counts is None and round(sparsity * total) > total - sum(rows.values()):
        raise empty_slices(", ".join(rows), sum(rows.values()), sparsity)


def lasting(selection: Selection) -> Selection:
    """Return a selection that can be used again and again: iterators would be spent after one use."""
    lasting = selection.copy()
    lasting["include"] = several(selection.get("include", ()), "include")
    lasting["exclude"] = several(selection.get("exclude", ()), "exclude")
    return lasting


def saliency_of(selection: Selection) -> Saliency:
    """Return the saliency that a selection asks for, by its name or its former one."""
    return selection.get("saliency", selection.get("score", magnitude))


def _importance(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], saliency: Saliency
) -> dict[str, torch.Tensor]:
    """Compute the weights' saliency and check what came back."""
    importance = saliency(model, parameters)
    if not isinstance(importance, Mapping):
        raise ModelError(f"saliency: got {type(importance).__name__}; expected a mapping of names to tensors")
    for name, parameter in parameters.items():
        values = importance.get(name)
        if not isinstance(values, torch.Tensor):
            got = "nothing" if values is None else type(values).__name__
            raise ModelError(f"saliency: got {got} for {name}; expected one tensor for every prunable parameter")
        if values.shape != parameter.shape:
            raise ModelError(f"saliency: got {tuple(values.shape)} for {name}; expected {tuple(parameter.shape)}")
        if saliency is not magnitude and bool((values < 0).any()):
            raise ModelError(f"saliency: got values below 0 for {name}; expected 0 or more, higher = more important")
    return {name: importance[name] for name in parameters}


def _transposed(model: nn.Module, pattern: Pattern | NofM | None) -> set[int]:
    """Identify the weights that lie as (in, out, ...), where a pattern makes that matter."""
    if pattern is None:
        return set()
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return {id(module.weight) for module in model.modules() if isinstance(module, kinds)}


def _refuse_empty(masks: Masks, sparsity: float) -> None:
    kept = [int(local(mask).sum()) for mask in masks.values()]
    sharded = np.array([is_sharded(mask) for mask in masks.values()])
    everywhere = np.where(sharded, ranks_of(masks.items()).sum(np.array(kept)), kept)
    for (name, mask), count in zip(masks.items(), everywhere, strict=True):
        if count == 0:
            raise _none_left(name, mask.numel(), sparsity)


def _none_left(name: str, count: int, sparsity: float) -> RecipeError:
    return RecipeError(
        f"sparsity {sparsity} leaves {name} ({count} weights) without any; lower the sparsity or exclude that layer"
    )
