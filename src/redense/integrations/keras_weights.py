"""Which variables of a Keras model are pruned: the weights of its layers, told by the type of the layer around them.

The rule is that of `redense.sparsity.select`, in Keras' own types and names.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import Any

import keras
from keras import layers

from redense.errors import RecipeError
from redense.sparsity.parameters import is_a
from redense.sparsity.select import NAMED_FROM

WEIGHTS: tuple[tuple[type[Any] | str, tuple[str, ...]], ...] = (
    (layers.Dense, ("kernel",)),
    (layers.EinsumDense, ("kernel",)),  # those of attention, too
    *(
        (kind, ("kernel",))
        for kind in (
            *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
            *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
            *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
        )
    ),
    *((kind, ("depthwise_kernel", "pointwise_kernel")) for kind in (layers.SeparableConv1D, layers.SeparableConv2D)),
    *(
        (kind, ("kernel", "recurrent_kernel"))
        for kind in (
            layers.SimpleRNNCell,
            layers.LSTMCell,
            layers.GRUCell,
            "keras.src.layers.rnn.conv_lstm:ConvLSTMCell",
        )
    ),
)
"""What is a layer's weight: the type of the layer (as ``module:class`` where Keras does not show it), subclasses
included, and the variable's name in it."""

Match = str | type[Any]
"""What `include` and `exclude` hold: shell patterns of a variable's path, or types of layers."""


def patterns(given: Iterable[Match] | Match, setting: str) -> tuple[Match, ...]:
    """Return the patterns of a setting, of which there may be a single one; raise `RecipeError` for other things."""
    several = (given,) if isinstance(given, (str, type)) else tuple(given)
    for pattern in several:
        if not isinstance(pattern, str) and not (isinstance(pattern, type) and issubclass(pattern, layers.Layer)):
            raise RecipeError(f"{setting}: got {pattern!r}; expected names, shell patterns or types of layers")
    return several


def prunable(model: Any, include: Collection[Match], exclude: Collection[Match]) -> list[Any]:
    """List the trainable variables of two or more dimensions that are layers' weights, or included, and not excluded.

    A weight that an embedding holds, too, is none. Raises `RecipeError` for a pattern or type that means no variable,
    and when nothing is left.
    """
    chosen = _weights(model)
    for pattern in include:
        chosen |= _matched(model, pattern, "include")
    for pattern in exclude:
        chosen -= _matched(model, pattern, "exclude")
    found = [variable for variable in _variables(model) if id(variable) in chosen]
    if not found:
        raise RecipeError(
            "nothing is left to prune: expected at least one weight of a layer that is not excluded; include some of "
            f"{_paths(model) or 'none'}"
        )
    return found


def left_dense(model: Any, pruned: Iterable[Any], at_least: float = NAMED_FROM) -> dict[str, float]:
    """Name the variables that could be pruned, are not, and hold at least such a share of all weights: its share."""
    held, total = {id(variable) for variable in pruned}, model.count_params()
    dense = [variable for variable in _variables(model) if id(variable) not in held]
    shares = {variable.path: math.prod(variable.shape) / total for variable in dense}
    return {path: share for path, share in shares.items() if share >= at_least}


def _variables(model: Any) -> list[Any]:
    """List what masks can be made for. Layers of one name have variables of one path, which are not the same."""
    return [
        variable
        for variable in model.trainable_variables
        if len(variable.shape) >= 2 and keras.backend.is_float_dtype(variable.dtype)
    ]


def _paths(model: Any) -> str:
    return ", ".join(variable.path for variable in _variables(model))


def _weights(model: Any) -> set[int]:
    """Find layers' weights, by identity."""
    found, in_embeddings = set(), set()
    for layer in model._flatten_layers():
        names = {
            name
            for kind, names in WEIGHTS
            if (is_a(layer, kind) if isinstance(kind, str) else isinstance(layer, kind))
            for name in names
        }
        found |= {id(variable) for variable in layer._trainable_variables if variable.name in names}
        if isinstance(layer, layers.Embedding):
            in_embeddings |= {id(variable) for variable in layer.trainable_variables}
    return found - in_embeddings


def _matched(model: Any, pattern: Match, setting: str) -> set[int]:
    """Find what a pattern of paths or a type of layers means, by identity; raise `RecipeError` where it is nothing."""
    variables = _variables(model)
    if isinstance(pattern, str):
        found = {id(variable) for variable in variables if fnmatchcase(variable.path, pattern)}
        means = f"the pattern {pattern!r} matches no kernel"
    else:
        inside = (layer.trainable_variables for layer in model._flatten_layers() if isinstance(layer, pattern))
        found = {id(variable) for several in inside for variable in several} & {id(each) for each in variables}
        means = f"the model has no kernel in any {pattern.__name__}"
    if not found:
        raise RecipeError(f"{setting}: {means}; expected one of {_paths(model)}")
    return found
