"""Read off a run's checkpoints what its report shows of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

from redense.experiment.checkpoints import Store
from redense.experiment.expected import Form
from redense.experiment.machine import machine
from redense.experiment.results import Results
from redense.experiment.shown import Environment, Moment, Shown, State, Weights, is_loss
from redense.experiment.trained import Checkpoint
from redense.files.reading import Unread, fields
from redense.phases import Phase

BINS = 81
"""Of a histogram: odd, so that one lies around zero."""
WITHIN = 0.999
"""The share of the first weights that a histogram reaches."""
MOST_TENSORS = 40
"""Tensors that have a histogram of their own; the picture of all together has every one."""
TOGETHER = ""
Values = dict[str, npt.NDArray[np.float32]]
"""Weights by tensor, flat."""


def shown_of(results: Results, store: Store) -> Shown:
    """Read every finished phase's losses, and the weights of the first seed's; damaged checkpoints are left out."""
    losses, environments = {}, {}
    for row in results.rows:
        checkpoint = store.load(row.checkpoint)
        if checkpoint is not None:
            if store.form is None:  # a report knows no network: the first one says what all others are like
                store = store.expecting(Form.of_checkpoint(checkpoint))
            of_epochs = tuple(epoch.loss for epoch in checkpoint.history)
            if all(map(is_loss, of_epochs)):  # what diverged has no curve
                losses[row.checkpoint] = of_epochs
            found = _environment(store, row.checkpoint)
            if found is not None:
                environments[row.checkpoint] = found
    keys = tuple(row.checkpoint for row in results.rows)
    return Shown(results.recipe.seeds[0], keys, losses, environments, _weights(results, store), machine())


def _environment(store: Store, key: str) -> Environment | None:
    wanted = {field.name for field in dataclasses.fields(Environment)}  # it says more, such as of the arithmetic
    try:
        return fields(Environment, {name: value for name, value in store.environment(key).items() if name in wanted})
    except Unread:
        return None  # no checksum covers it; a report that lacks it says so


def _weights(results: Results, store: Store) -> tuple[Weights, ...]:
    """Follow each tensor that any phase prunes, and all of them together, through the phases of the first seed."""
    keys = {row.phase: row.checkpoint for row in results.rows if row.seed == results.recipe.seeds[0]}
    names = _pruned_names(keys, store)
    if not names:
        return ()
    parts = {TOGETHER: names, **{name: [name] for name in names[:MOST_TENSORS]}}
    reach: dict[str, float] = {}
    states: dict[str, list[State]] = {name: [] for name in parts}
    sizes: dict[str, int] = {}
    for phase, moment, values, kept in _moments(results, keys, store, names):
        for part, tensors in parts.items():
            weights = np.concatenate([values[name] for name in tensors])
            sizes[part] = len(weights)
            # of the first, dense phase, but for weights that are all zero
            size = np.abs(weights[np.isfinite(weights)])
            reach.setdefault(part, (float(np.quantile(size, WITHIN)) if len(size) else 0.0) or 1.0)
            states[part].append(_state(phase, moment, weights, sum(kept[name] for name in tensors), reach[part]))
    return tuple(Weights(name, sizes[name], reach[name], tuple(found)) for name, found in states.items() if found)


def _pruned_names(keys: Mapping[Phase, str], store: Store) -> list[str]:
    """Name the tensors that the first sparse phase masks."""
    for phase, key in keys.items():
        checkpoint = store.load(key) if phase.kind == "sparse" else None
        if checkpoint is not None:
            return list(checkpoint.masks)
    return []


def _moments(
    results: Results, keys: Mapping[Phase, str], store: Store, names: list[str]
) -> Iterator[tuple[Phase, Moment, Values, dict[str, int]]]:
    """List the weights of each phase of the method, a sparse one's also as they were when it began, and what it kept.

    At most two phases' weights are in memory at a time.
    """
    done: set[Phase] = set()
    for phases in map(results.recipe.phases_at, results.recipe.sparsities):
        before: Values | None = None
        for phase in phases:
            checkpoint = store.load(keys[phase]) if phase in keys else None
            if checkpoint is None:
                break
            values, masks = _values(checkpoint, names), checkpoint.masks
            kept = {name: int(masks[name].sum()) if name in masks else len(values[name]) for name in names}
            if masks and before is not None:
                yield phase, "pruned", {name: before[name] * _mask(masks, name) for name in names}, kept
            if phase not in done:
                yield phase, "end", values, kept
            done.add(phase)
            before = values


def _mask(masks: Mapping[str, torch.Tensor], name: str) -> npt.NDArray[np.float32] | np.float32:
    return masks[name].flatten().to(torch.float32).numpy() if name in masks else np.float32(1)


def _values(checkpoint: Checkpoint, names: list[str]) -> Values:
    return {name: checkpoint.model[name].detach().to(torch.float32).flatten().numpy() for name in names}


def _state(phase: Phase, moment: Moment, weights: npt.NDArray[np.float32], kept: int, reach: float) -> State:
    others = weights[weights != 0]
    # in 32 bits the bins of the largest and of the smallest weights overflow, or are none
    counts, _ = np.histogram(others.astype(np.float64), BINS, (-reach, reach))
    return State(
        phase, moment, kept, len(weights) - len(others), len(others) - int(counts.sum()), tuple(counts.tolist())
    )
