"""How much sparsity each layer bears: prune one at a time, without training, and see what is left of the accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, Unpack

import torch
from torch import nn

from redense.arguments import Sparsity, validated
from redense.errors import RecipeError
from redense.files.writing import picture, write_png
from redense.sparsity.masks import Selection, check_selection, choose_masks, lasting
from redense.sparsity.select import several
from redense.terminal import Fitting, least_width, plain, table_of
from redense.text import percent, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_SPARSITIES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Sensitivity:
    """What `sensitivity` measured: `accuracies[layer][i]` belongs to `sparsities[i]`, `dense` to the whole model."""

    dense: float
    sparsities: tuple[float, ...]
    accuracies: dict[str, tuple[float, ...]]

    def __str__(self) -> str:
        """Draw the table: a row a layer, a column a sparsity, in percent."""
        table = table_of("pruned alone", *map(percent, self.sparsities), text=["pruned alone"])
        for name, values in self.accuracies.items():
            table.add_row(visible(name), *(f"{100 * value:.2f}" for value in values))
        return f"{plain(Fitting([(table, '')]), least_width(table))}\nnothing pruned: {100 * self.dense:.2f}"

    def save_png(self, path: str | Path) -> None:
        """Draw `figure` as a PNG."""
        write_png(Path(path), self.figure())

    def figure(self) -> Figure:
        """Draw accuracy against sparsity, a line a layer; a figure of matplotlib."""
        from matplotlib import colormaps

        figure = picture(figsize=(7, 4.2), dpi=150, layout="constrained")
        axes = figure.subplots()
        axes.axhline(100 * self.dense, color="#777777", linewidth=1.2, label="nothing pruned")
        colours = colormaps["viridis"]  # without its palest end
        lines: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (8, 2)))
        looks = zip(cycle("osD^vPX*"), cycle(lines))  # 8 and 5 have no common factor: 40 looks
        for index, ((name, values), (marker, line)) in enumerate(zip(self.accuracies.items(), looks, strict=False)):
            axes.plot(
                [100 * sparsity for sparsity in self.sparsities],
                [100 * value for value in values],
                marker=marker,
                linestyle=line,
                label=name,
                color=colours(0.85 * index / max(len(self.accuracies) - 1, 1)),
                linewidth=1.5,
            )
        axes.set_xlabel("sparsity of the one layer that is pruned, %")
        axes.set_ylabel("accuracy, %")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure


@validated(RecipeError)
def sensitivity(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    sparsities: Sequence[Sparsity] = DEFAULT_SPARSITIES,
    **selection: Unpack[Selection],
) -> Sensitivity:
    """Measure the accuracy with each layer pruned alone to each sparsity, without training.

    Args:
        model: any module; its weights have the same bits afterwards, whatever happens.
        evaluate: returns the model's accuracy, a fraction in [0, 1]; called once for each layer and sparsity, and
            once for the model as it is.
        sparsities: fractions of zeros.
        selection: which layers, and how their weights are chosen (see `choose_masks`; no distribution).

    Raises as `choose_masks`, before anything is evaluated.

    Source: the sensitivity analysis of Han et al., "Learning both Weights and Connections", NeurIPS 2015, figure 6.

    >>> net = torch.nn.Linear(4, 2, bias=False)
    >>> result = sensitivity(net, lambda net: float(net.weight.bool().float().mean()), [0.5, 0.75])
    >>> result.accuracies
    {'weight': (0.5, 0.25)}
    """
    selection = lasting(selection)
    excluded = several(selection["exclude"], "exclude")
    if not sparsities:
        raise RecipeError("sparsities: got none; expected at least one")
    for sparsity in sparsities:
        parameters, _ = check_selection(model, sparsity, selection)
    dense = _accuracy(model, evaluate)
    accuracies = {}
    for name, parameter in parameters.items():
        alone = selection.copy()
        alone["exclude"] = [*excluded, *(other for other in parameters if other != name)]
        alone["distribution"] = "uniform"
        accuracies[name] = tuple([_pruned(model, parameter, name, evaluate, s, alone) for s in sparsities])
    return Sensitivity(dense, tuple(sparsities), accuracies)


def _accuracy(model: nn.Module, evaluate: Callable[[nn.Module], float]) -> float:
    found: object = evaluate(model)
    if not isinstance(found, SupportsFloat):
        raise RecipeError(f"evaluate: it returned {type(found).__name__}; expected an accuracy, a number")
    return float(found)


def _pruned(
    model: nn.Module,
    parameter: nn.Parameter,
    name: str,
    evaluate: Callable[[nn.Module], float],
    sparsity: float,
    selection: Selection,
) -> float:
    """Evaluate with one layer pruned, and give its weights back."""
    mask = choose_masks(model, sparsity=sparsity, **selection)[name]
    original = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter[~mask] = 0
        return _accuracy(model, evaluate)
    finally:
        with torch.no_grad():
            parameter.copy_(original)
