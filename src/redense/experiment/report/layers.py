"""The network, layer by layer, and how much of it each phase keeps; drawn without PyTorch once both are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.table import Table

from redense.phases import NAMES, Phase
from redense.terminal import Continued, Fitting, heading, table_of
from redense.text import visible

if TYPE_CHECKING:
    import torch
    from torch import nn

    from redense.sparsity.masks import Masks

Kept = dict[str, dict[str, int]]
"""How many weights each phase keeps of each tensor, by their names."""


@dataclass(frozen=True)
class Layer:
    """One layer: its name, kind, output shape (without the batch) and parameters of its own."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Network:
    """What the table of a network shows: its name, layers, and the number of all its parameters."""

    name: str
    layers: tuple[Layer, ...]
    parameters: int


def network_of(model: nn.Module, examples: torch.Tensor, name: str) -> Network:
    """Look at a model for the table of it."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Network(name, tuple(layers(model, examples)), parameters)


def layers(model: nn.Module, examples: torch.Tensor) -> list[Layer]:
    """List the layers (modules without children) in the order in which they are used for the first of some examples.

    A `torch.nn.Sequential` is followed as it is written down, also where it computes itself in a shorter way.
    """
    from torch import nn

    from redense.models.evaluation import evaluating

    found: dict[str, Layer] = {}

    def record(name: str, module: nn.Module, output: Any) -> None:
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        found.setdefault(name, Layer(name, type(module).__name__, _shape(output), parameters))

    handles = [
        module.register_forward_hook(lambda m, _, output, name=name: record(name, m, output))
        for name, module in model.named_modules()
        if not any(module.children())
    ]
    try:
        with evaluating(model):
            forward = partial(nn.Sequential.forward, model) if isinstance(model, nn.Sequential) else model
            forward(examples[:1])
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def _shape(output: Any) -> tuple[int, ...]:
    """Return the shape of a layer's output for an example; of anything but tensors there is none to tell."""
    import torch

    found = output[0] if isinstance(output, tuple) else output  # recurrent layers return their state, too
    if not isinstance(found, torch.Tensor):
        return ()
    return tuple((found.to_padded_tensor(0.0) if found.is_nested else found).shape[1:])  # as of padded texts


def layer_table(network: Network) -> Fitting:
    """Draw the layers with output shapes (height x width x channels, as in the published study) and parameters."""
    texts = ("layer", "kind")
    footers = ("total", "", "", f"{network.parameters:,}")
    table = table_of(*texts, "output", "parameters", text=texts, broken=texts, title=network.name, footers=footers)
    for layer in network.layers:
        shape = layer.output_shape
        channels_last = (*shape[1:], shape[0]) if len(shape) == 3 else shape
        size = "x".join(map(str, channels_last))
        table.add_row(visible(layer.name), visible(layer.kind), size, f"{layer.parameters:,}")
    return Fitting([(table, "")])


def kept_of(model: nn.Module, masks_by_phase: Mapping[Phase, Masks], phases: Iterable[Phase]) -> Kept:
    """Count the weights that every sparse phase keeps in every tensor; those of `phases` that are not sparse keep all.

    Nothing where there are no masks.
    """
    if not masks_by_phase:
        return {}
    without_masks = ", ".join(dict.fromkeys(NAMES[phase.kind] for phase in phases if phase.kind != "sparse"))
    names = list(dict.fromkeys(name for masks in masks_by_phase.values() for name in masks))
    kept = {without_masks: {name: model.get_parameter(name).numel() for name in names}} if without_masks else {}
    for phase, masks in masks_by_phase.items():
        kept[phase.label] = {name: int(mask.sum()) for name, mask in masks.items()}
    return kept


def kept_table(kept: Kept) -> Continued:
    """Draw the weights that the phases keep in every tensor; phases that have no room beside each other go on below."""
    labels = list(kept)
    return Continued(len(labels), lambda start, end: _kept({label: kept[label] for label in labels[start:end]}))


def _kept(kept: Mapping[str, Mapping[str, int]]) -> Table:
    """Draw a column a phase and a row a tensor; a long name may take several lines, a figure may not."""
    totals = [f"{sum(counts.values()):,}" for counts in kept.values()]
    headings = (heading(name, [total]) for name, total in zip(kept, totals, strict=True))
    about = {"text": ["tensor"], "broken": ["tensor"], "footers": ["total", *totals]}
    table = table_of("tensor", *headings, title="Weights kept", **about)
    for name in next(iter(kept.values())):
        table.add_row(visible(name), *(f"{counts[name]:,}" for counts in kept.values()))
    return table
