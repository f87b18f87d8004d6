"""How a model is asked about anybody's stored examples: in its own type, in its order of axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from itertools import chain
from typing import Any

import torch
from torch import nn

from redense.data.batches import as_input
from redense.data.layout import images, is_grey, one_channel
from redense.errors import ModelError
from redense.models.integers import begins_with_embedding
from redense.signals import ask

Axes = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Reading:
    """One way to make stored inputs a model's input: a tensor, or a mapping of keywords.

    Numbers become `dtype`, bytes are scaled to [0, 1] first; with `integers`, integers become int64 instead. `axes`
    are those that the model takes, `keyword` is the name by which it takes the one array of a mapping.
    """

    device: torch.device | str
    dtype: torch.dtype
    axes: Axes = images
    integers: bool = False
    keyword: str | None = None

    def __call__(self, inputs: Any) -> Any:
        """Place a batch as it is stored: one array [n, ...] or a mapping of several."""
        if isinstance(inputs, Mapping) and len(inputs) > 1:
            return {name: self._floats(value.to(self.device)) for name, value in inputs.items()}
        tensor = self._placed(the_first(inputs).to(self.device))
        return tensor if self.keyword is None else {self.keyword: tensor}

    def _placed(self, stored: torch.Tensor) -> torch.Tensor:
        if self.integers:
            return self.axes(stored).long()
        return as_input(self.axes(stored)).to(self.dtype)

    def _floats(self, stored: torch.Tensor) -> torch.Tensor:
        return stored.to(self.dtype) if stored.is_floating_point() else stored


def the_first(inputs: Any) -> torch.Tensor:
    """Return the inputs of a batch that are one array, or the first array of a mapping."""
    tensor: torch.Tensor = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
    return tensor


@dataclass(frozen=True)
class Answer:
    """What a model said about a batch: how the batch was read, the placed inputs, and logits [n, classes]."""

    reading: Reading
    inputs: Any
    logits: torch.Tensor


def answer(
    model: nn.Module, inputs: Any, device: torch.device | str | None = None, known: Reading | None = None
) -> Answer:
    """Ask a model about a stored batch, read as `known` says, or find out how the model takes such inputs.

    Inputs are read as in training with redense: images [n, channels, height, width], numbers of the model's own
    floating type. Integers stay integers where the first layer is an embedding. Where the model refuses the images, it
    gets grey ones with one channel, then all as they lie in the array (as sequences do), then as the integers they are.

    A mapping whose names the model's forward takes goes there by keyword; the array of any other mapping of one is
    given as if it stood alone. Raises `ModelError` for mappings of several that the forward does not take, when the
    model refuses every reading, and when it takes channels-last images in either order of their axes.

    >>> model = nn.Linear(2, 3, dtype=torch.bfloat16)
    >>> answer(model, torch.zeros(5, 2, dtype=torch.float64)).inputs.dtype
    torch.bfloat16
    """
    if known is not None:
        placed = known(inputs)
        return Answer(known, placed, ask(model, placed))
    odd: list[Answer] = []
    refused: list[ModelError] = []
    for possible in _possible(model, inputs, device or _device(model)):
        placed = possible(inputs)
        try:
            found = Answer(possible, placed, ask(model, placed))
        except ModelError as error:
            refused.append(error)
            continue
        if len(found.logits) == len(the_first(inputs)):
            _refuse_two_orders(model, inputs, found)
            return found
        odd.append(found)
    if refused:
        raise refused[0]
    return odd[0]  # so many answers to so many examples: for the caller to say


def _possible(model: nn.Module, inputs: Any, device: torch.device | str) -> Iterator[Reading]:
    """Yield the readings of a batch that differ from one another, the usual one first."""
    usual = Reading(device, _dtype(model), keyword=_keyword(model, inputs))
    if isinstance(inputs, Mapping) and len(inputs) > 1:
        yield usual
        return
    stored = the_first(inputs)
    whole = not stored.is_floating_point() and stored.dtype != torch.bool
    as_integers = replace(usual, axes=_as_stored, integers=True)
    embeds = whole and begins_with_embedding(model, as_integers(inputs))
    if embeds:
        yield as_integers
    yield usual
    if is_grey(images(stored)):
        yield replace(usual, axes=_one_channel)
    if images(stored).shape != stored.shape:
        yield replace(usual, axes=_as_stored)
    if whole and not embeds:
        yield as_integers


def _refuse_two_orders(model: nn.Module, inputs: Any, found: Answer) -> None:
    """Raise `ModelError` where images were turned, and the model answers otherwise when they are not.

    A network that flattens its inputs takes either order of axes, and only one is that of training.
    """
    if isinstance(inputs, Mapping) and len(inputs) > 1:
        return
    stored = the_first(inputs)
    if stored.ndim != 4 or found.reading.axes is not images or images(stored).shape == stored.shape:
        return
    try:
        other = ask(model, replace(found.reading, axes=_as_stored)(inputs))
    except ModelError:
        return
    if other.shape == found.logits.shape and not torch.allclose(other, found.logits, rtol=1e-2, atol=1e-2):
        raise ModelError(
            f"images are {list(stored.shape)}, which the model takes as [n, height, width, channels] and, turned, as "
            "[n, channels, height, width]; expected to be told: flatten them as in training, or give them as "
            "[n, channels, height, width] where that is what it was trained on"
        )


def _as_stored(x: torch.Tensor) -> torch.Tensor:
    return x


def _one_channel(x: torch.Tensor) -> torch.Tensor:
    return one_channel(images(x))


def _keyword(model: nn.Module, inputs: Any) -> str | None:
    """Return the name by which a model takes the one array of a mapping; check the names of several."""
    if not isinstance(inputs, Mapping):
        return None
    by_keyword = _accepts(model, inputs)
    if len(inputs) == 1:
        return next(iter(inputs)) if by_keyword else None
    if not by_keyword:
        raise ModelError(
            f"inputs are mappings of {', '.join(map(str, inputs)) or 'nothing'}; expected the names that the model's "
            f"forward takes, {signature(model.forward)}, or one array beside the labels"
        )
    return None


def _accepts(model: nn.Module, inputs: Mapping[str, Any]) -> bool:
    """Tell whether a model's forward can be called with these names as keywords."""
    try:
        signature(model.forward).bind(**dict.fromkeys(map(str, inputs)))
    except TypeError:
        return False
    return True


def _dtype(model: nn.Module) -> torch.dtype:
    """Return the floating type of a model's parameters, else of its buffers, else float32."""
    values = chain(model.parameters(), model.buffers())
    return next((value.dtype for value in values if value.is_floating_point()), torch.float32)


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
