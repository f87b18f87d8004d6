"""What a run's report shows beside results and audits: weights, losses and where they were made.

It is small, and read without PyTorch; `redense.experiment.weights` takes it from the checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redense.arguments.types import MOST
from redense.files.reading import Written, check, fields
from redense.files.writing import write_whole
from redense.phases import Phase
from redense.text import visible

Moment = Literal["end", "pruned"]
FILE = "shown.json"
FORMAT = 1
MOST_SIZE = 3.5e38
"""No weight, nor loss, of 32 bits is larger."""
WRITTEN = Written(
    "what a report shows of a run", FORMAT, "delete it: the report makes it anew where the checkpoints are there"
)


@dataclass(frozen=True)
class State:
    """A tensor's weights at one moment of the first seed: after a phase, or as ``pruned`` when a sparse phase began.

    `kept` weights are not masked, `zeros` are exactly 0, `beyond` lie outside the histogram; `counts` has the others,
    in bins of equal width.
    """

    phase: Phase
    moment: Moment
    kept: int
    zeros: int
    beyond: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """A tensor that pruning applies to, of `size` weights; its histograms reach from -`reach` to `reach`.

    The one whose name is empty is all of them together.
    """

    name: str
    size: int
    reach: float
    states: tuple[State, ...]


@dataclass(frozen=True)
class Environment:
    """When and on what a phase was finished, as its checkpoint says."""

    finished: str
    torch: str
    python: str
    machine: str
    device: str


@dataclass(frozen=True)
class Shown:
    """What a report shows: of the rows with the keys `checkpoints`, weights of `seed` alone.

    `losses` has the mean training loss of every epoch and `environments` where it was made, by checkpoint; `machine`
    what measured them, in words.
    """

    seed: int
    checkpoints: tuple[str, ...]
    losses: dict[str, tuple[float, ...]]
    environments: dict[str, Environment]
    weights: tuple[Weights, ...]
    machine: dict[str, str]


def write_shown(shown: Shown, folder: Path) -> None:
    """Write what a report shows into a run's folder."""
    write_whole(folder / FILE, json.dumps({"format": FORMAT, **dataclasses.asdict(shown)}) + "\n", inside=folder)


def read_shown(folder: Path) -> Shown:
    """Return what `write_shown` wrote; raise `FolderError` where nothing was, or in another format."""
    return WRITTEN.read(folder / FILE, _of_values)


def _of_values(values: Mapping[str, Any]) -> Shown:
    shown = fields(Shown, values)
    for loss in (loss for losses in shown.losses.values() for loss in losses):
        check(is_loss(loss), loss, "losses", "numbers of 0 or more that 32 bits hold")
    for weights in shown.weights:
        _check_weights(weights, f"weights: {visible(weights.name)}")
        told = [[(state.phase, state.moment) for state in one.states] for one in (weights, shown.weights[0])]
        check(told[0] == told[1], len(told[0]), f"weights: {visible(weights.name)}: states", "those of the first")
    return shown


def is_loss(value: float) -> bool:
    """Tell whether a value may be the loss of an epoch: a diverged one has none to draw."""
    return 0 <= value < MOST_SIZE


def _check_weights(weights: Weights, where: str) -> None:
    """Raise `Unread` unless histograms are of all weights, and none is of a re-dense phase alone at its sparsity."""
    check(0 < weights.size < MOST, weights.size, f"{where}: size", "1 or more, of 64 bits")
    check(0 < weights.reach < MOST_SIZE, weights.reach, f"{where}: reach", "a weight above 0")
    bins = {len(state.counts) for state in weights.states}
    check(len(bins) == 1 and 0 not in bins, bins, f"{where}: states", "histograms of as many bins")
    begun = {state.phase.sparsity for state in weights.states if state.phase.kind != "redense"}
    for state in weights.states:
        phase, counted = state.phase, [state.zeros, state.beyond, *state.counts]
        for count in (min(counted), max(counted), state.kept):
            check(0 <= count <= weights.size, count, f"{where}: states", f"counts up to {weights.size}")
        check(sum(counted) == weights.size, sum(counted), f"{where}: states", f"{weights.size} in all")
        check(phase.kind != "control", phase.label, f"{where}: states", "phases of the method")
        check(bool(begun & {None, phase.sparsity}), phase.label, f"{where}: states", "also the phases before it")


def is_of(shown: Shown, checkpoints: Mapping[str, object]) -> bool:
    """Tell whether it is about all these checkpoints."""
    return set(checkpoints) <= set(shown.checkpoints)
