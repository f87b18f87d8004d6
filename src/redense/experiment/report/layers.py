"""The network, layer by layer, and how much of it each phase keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import nn

from redense.models.evaluation import evaluating
from redense.phases import Phase
from redense.sparsity.masks import Masks
from redense.terminal import Continued, Fitting, heading, table_of
from redense.text import visible


@dataclass(frozen=True)
class Layer:
    """One layer: its name, kind, output shape (without the batch) and parameters of its own."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


def layers(model: nn.Module, input_shape: tuple[int, ...]) -> list[Layer]:
    """List the layers (modules without children) in the order in which they are used for one blank example.

    A `torch.nn.Sequential` is followed as it is written down, also where it computes itself in a shorter way.
    """
    found: dict[str, Layer] = {}

    def record(name: str, module: nn.Module, output: Any) -> None:
        output = output[0] if isinstance(output, tuple) else output  # recurrent layers return their state, too
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        found.setdefault(name, Layer(name, type(module).__name__, tuple(output.shape[1:]), parameters))

    handles = [
        module.register_forward_hook(lambda m, _, output, name=name: record(name, m, output))
        for name, module in model.named_modules()
        if not any(module.children())
    ]
    try:
        with evaluating(model):
            blank = torch.zeros(1, *input_shape)
            forward = partial(nn.Sequential.forward, model) if isinstance(model, nn.Sequential) else model
            forward(blank)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def layer_table(model: nn.Module, input_shape: tuple[int, ...], title: str) -> Fitting:
    """Draw the layers with output shapes (height x width x channels, as in the published study) and parameters."""
    total = f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    texts = ("layer", "kind")
    footers = ("total", "", "", total)
    table = table_of(*texts, "output", "parameters", text=texts, broken=texts, title=title, footers=footers)
    for layer in layers(model, input_shape):
        shape = layer.output_shape
        channels_last = (*shape[1:], shape[0]) if len(shape) == 3 else shape
        size = "x".join(map(str, channels_last))
        table.add_row(visible(layer.name), visible(layer.kind), size, f"{layer.parameters:,}")
    return Fitting([(table, "")])


def kept_table(model: nn.Module, masks_by_phase: Mapping[Phase, Masks], without_masks: str) -> Continued:
    """Draw the weights that every sparse phase keeps in every tensor; the phases `without_masks`, if any, keep all.

    Phases that have no room beside each other go on below.
    """
    names = list(dict.fromkeys(name for masks in masks_by_phase.values() for name in masks))
    kept = {without_masks: {name: model.get_parameter(name).numel() for name in names}} if without_masks else {}
    for phase, masks in masks_by_phase.items():
        kept[phase.label] = {name: int(mask.sum()) for name, mask in masks.items()}
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
