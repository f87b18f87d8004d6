"""Which parameters of a model are pruned: the weights of its layers, told by the type of the module that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Annotated, Literal, get_args

from torch import nn

from redense.arguments import called
from redense.errors import RecipeError
from redense.sparsity.parameters import Place, is_a, named, places
from redense.sparsity.parametrized import layer_of, stands_for
from redense.text import did_you_mean

Preset = Literal["default", "everything", "paper"]
"""Which parameters are pruned unless `include` and `exclude` say otherwise: ``default`` the weights of layers,
``paper`` these but the first convolution's (Han et al., "DSD", ICLR 2017), ``everything`` all of two or more
dimensions, embeddings among them (Duddu et al., "Towards Privacy Aware Deep Learning for Embedded Systems", 2022)."""

FORMER_PRESETS: dict[str, Preset] = {"reference": "everything"}
"""What presets were called before."""
PresetName = Annotated[Preset | Literal["reference"], called(f"one of {', '.join(get_args(Preset))}")]
"""A preset, or what one was called before."""

Match = str | type[nn.Module]
"""What `include` and `exclude` hold: names or shell patterns of parameters and modules, or types of modules."""

_RECURRENT = ("weight_ih*", "weight_hh*", "weight_hr*")
WEIGHTS: tuple[tuple[type[nn.Module] | str, tuple[str, ...]], ...] = (
    (nn.Linear, ("weight",)),
    (nn.modules.conv._ConvNd, ("weight",)),  # the transposed ones, too
    (nn.Bilinear, ("weight",)),
    ("torchvision.ops.deform_conv:DeformConv2d", ("weight",)),
    ("transformers.pytorch_utils:Conv1D", ("weight",)),
    (nn.RNNBase, _RECURRENT),
    (nn.RNNCellBase, _RECURRENT),
    (nn.MultiheadAttention, ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")),
)
"""What is a layer's weight: the type of the module that holds a parameter (as ``module:class`` where it belongs to
another package), subclasses included, and the parameter's name in it; where a norm stands between, that of the tensor
which it makes."""

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
ADAPTED = "peft.tuners.tuners_utils:BaseTunerLayer"
"""A layer with adapters beside its ``base_layer``."""
LISTED = 20
"""Names that an error lists."""
NAMED_FROM = 0.01
"""The share of a model's parameters from which one that stays dense is worth a word."""


def prunable(
    model: nn.Module,
    exclude: Iterable[Match] | Match = (),
    preset: PresetName = "default",
    include: Iterable[Match] | Match = (),
    frozen: bool = False,
) -> dict[str, nn.Parameter]:
    """Name the parameters that pruning applies to: trainable floats of two or more dimensions that are layers' weights.

    `WEIGHTS` says which these are: no token, position, scale, norm or embedding, and no weight shared with an
    embedding. Adapters of PEFT are left alone, and so is their frozen base; `include` can name it, under the names that
    it had without them.

    `include` adds parameters, also frozen ones, and `exclude` takes them away again. Each holds types of modules, whose
    parameters are meant, and names or shell patterns, which are compared with the parameter's full name and with the
    name of every module that contains it, so ``"conv2d"`` means ``conv2d.weight``. Names are those of the bare model,
    also where it is wrapped. A parameter that several modules share is listed once, under its first name. With
    `frozen`, layers' frozen weights are named like the others.

    Raises `RecipeError` for a pattern that matches nothing, and when nothing is left; `ModelError` for lazy
    parameters.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> list(prunable(net)), list(prunable(net, exclude=["0"])), list(prunable(nn.Sequential(net, nn.LSTM(2, 1))))
    (['0.weight', '2.weight'], ['2.weight'], ['0.0.weight', '0.2.weight', '1.weight_ih_l0', '1.weight_hh_l0'])
    """
    found = places(model)
    of = _Shared(found)
    chosen = _by_preset(found, of, preset, frozen)
    for pattern in several(include, "include"):
        matched = {id(place.parameter) for place in _matched(found, pattern, "include")}
        chosen |= _can_be_pruned(matched, of, pattern)
    for pattern in several(exclude, "exclude"):
        chosen -= {id(place.parameter) for place in _matched(found, pattern, "exclude")}
    selected = {name: parameter for name, parameter in named(model).items() if id(parameter) in chosen}
    if not selected:
        raise RecipeError(
            "nothing is left to prune: expected at least one trainable weight of a layer that is not excluded; "
            f"exclude fewer layers{_or_include(left_dense(model, {}))}"
        )
    return selected


def left_dense(model: nn.Module, pruned: Iterable[str], at_least: float = NAMED_FROM) -> dict[str, float]:
    """Name what `include` could prune, is not `pruned`, and holds at least such a share of all parameters: its share.

    Adapters and the magnitudes of weight_norm are not named: they are there to stay dense.

    >>> left_dense(nn.Sequential(nn.Embedding(35, 4), nn.Linear(4, 8)), ["1.weight"])
    {'0.weight': 0.7777777777777778}
    """
    parameters, pruned = named(model), set(pruned)
    beside = {id(place.parameter) for place in places(model) if _is_beside(place)}
    total = sum(parameter.numel() for parameter in parameters.values())
    shares = {
        name: parameter.numel() / total
        for name, parameter in parameters.items()
        if name not in pruned and _has_masks(parameter) and id(parameter) not in beside
    }
    return {name: share for name, share in shares.items() if share >= at_least}


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
            f"expected a name or pattern among {_listed(names) or 'no prunable layers at all'}"
        )
    return matched


def several(patterns: Iterable[Match] | Match, setting: str) -> tuple[Match, ...]:
    """Return the patterns of a setting, of which there may be a single one."""
    several = (patterns,) if isinstance(patterns, (str, type)) else tuple(patterns)
    for pattern in several:
        if not isinstance(pattern, str) and not (isinstance(pattern, type) and issubclass(pattern, nn.Module)):
            raise RecipeError(f"{setting}: got {pattern!r}; expected names, shell patterns or types of modules")
    return several


class _Shared:
    """All places of each parameter, by its identity."""

    def __init__(self, found: Iterable[Place]) -> None:
        self.places: dict[int, list[Place]] = {}
        for place in found:
            self.places.setdefault(id(place.parameter), []).append(place)

    def parameter(self, key: int) -> nn.Parameter:
        return self.places[key][0].parameter


def _by_preset(found: list[Place], of: _Shared, preset: str, frozen: bool) -> set[int]:
    """Identify the parameters that the preset prunes."""
    preset = FORMER_PRESETS.get(preset, preset)
    if preset not in get_args(Preset):
        raise RecipeError(f"preset: got {preset!r}; expected one of {', '.join(get_args(Preset))}")
    trainable = {
        key for key in of.places if _has_masks(of.parameter(key)) and (frozen or of.parameter(key).requires_grad)
    }
    if preset == "everything":
        return trainable
    chosen = {
        key
        for key in trainable
        if any(_is_weight(place) for place in of.places[key])
        and not any(isinstance(place.module, EMBEDDINGS) or _is_adapter(place) for place in of.places[key])
    }
    if preset == "paper":
        convolutions = (id(place.parameter) for place in found if isinstance(layer_of(place), nn.modules.conv._ConvNd))
        chosen -= {next((key for key in convolutions if key in chosen), 0)}
    return chosen


def _can_be_pruned(matched: set[int], of: _Shared, pattern: Match) -> set[int]:
    """Take what masks can be made for out of what a pattern of `include` matches; what goes beside weights if alone."""
    found = {key for key in matched if _has_masks(of.parameter(key))}
    chosen = {key for key in found if not any(map(_is_beside, of.places[key]))} or found
    if not chosen:
        named = _listed([of.places[key][0].name for key in matched])
        raise RecipeError(f"include: got {pattern!r}, which means {named}; expected floats of two or more dimensions")
    return chosen


def _has_masks(parameter: nn.Parameter) -> bool:
    """Tell whether masks can be made for a parameter."""
    return parameter.dim() >= 2 and parameter.is_floating_point()


def _is_weight(place: Place) -> bool:
    """Tell whether a place is a layer's weight; of weight_norm its direction is."""
    layer, tensor = layer_of(place), stands_for(place)
    return tensor is not None and any(
        (is_a(layer, kind) if isinstance(kind, str) else isinstance(layer, kind))
        and any(fnmatchcase(tensor, name) for name in names)
        for kind, names in WEIGHTS
    )


def _is_beside(place: Place) -> bool:
    """Tell whether a place only goes with a weight: adapters, magnitudes of weight_norm."""
    return _is_adapter(place) or stands_for(place) is None


def _is_adapter(place: Place) -> bool:
    """Tell whether a place is inside of a layer with adapters, and not its base."""
    inside = [*(module for _, module in place.around), None]
    return any(
        is_a(outer, ADAPTED) and inner is not getattr(outer, "base_layer", None) for outer, inner in pairwise(inside)
    )


def _matched(found: list[Place], pattern: Match, setting: str) -> list[Place]:
    """List the places that a pattern means; raise `RecipeError` where there is none."""
    if isinstance(pattern, str):
        named = set(matching((place.name for place in found), pattern, setting))
        return [place for place in found if place.name in named]
    matched = [place for place in found if any(isinstance(module, pattern) for _, module in place.around)]
    if not matched:
        raise RecipeError(f"{setting}: got the type {pattern.__name__}; the model has no parameters in any such module")
    return matched


def _prefixes(name: str) -> list[str]:
    """List a dotted name and all that it begins with: a.b.weight -> a, a.b, a.b.weight."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _listed(names: Sequence[str]) -> str:
    """Write names one after the other; of many, the first few."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _or_include(names: Iterable[str]) -> str:
    named = _listed(list(names))
    return f", or include some of {named}" if named else ""
