"""What DSD says of itself when a phase begins, and to whom."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn

from redense.dsd.loop import Unit
from redense.errors import RecipeError
from redense.phases import Phase, running, total
from redense.sparsity.masks import Masks, Selection
from redense.sparsity.select import left_dense, matching, prunable

LISTED = 5
"""Names of large parameters that stay dense, in the line about a phase."""


def names_of(model: nn.Module, selection: Selection, masks: Masks) -> list[str]:
    """List the weights with masks or, without masks, those that there would be masks for now.

    Some may have been frozen or thawed.

    >>> names_of(nn.Linear(4, 2), {}, {})
    ['weight']
    """
    return list(masks) or prunable_now(model, selection)


def held_in_words(sizes: Sequence[int], zeros: int | None) -> str:
    """Say how many weights in tensors of these sizes are held at zero; None where there are no masks.

    >>> held_in_words([8, 1000], 504), held_in_words([8], None)
    ('504 of 1,008 weights in 2 tensors are held at zero', '8 weights in 1 tensor are free')
    """
    within = f"{sum(sizes):,} weights in {len(sizes)} tensor{'s' * (len(sizes) != 1)}"
    return f"{within} are free" if zeros is None else f"{zeros:,} of {within} are held at zero"


def phase_in_words(
    phases: Sequence[Phase], unit: Unit, progress: int, rate: float | None = None, first: int = 0
) -> str:
    """Say which phase runs after `progress` epochs (or steps), which of all these it takes, and its rate, if given.

    Of epochs `first` is the number of the first.

    >>> phase_in_words([Phase("dense", 2, 1.0, None, 0), Phase("sparse", 3, 1.0, 0.5, 1)], "epochs", 2, 0.01)
    'sparse 50%, epochs 2 to 4 of 5, rate 0.01'
    """
    phase, since = running(phases, progress)
    begin = progress - since + first
    return f"{phase.label}, {unit} {begin} to {begin + phase.epochs - 1} of {total(phases)}" + (
        "" if rate is None else f", rate {rate:g}"
    )


def prunable_now(model: nn.Module, selection: Selection) -> list[str]:
    """List the weights that a selection would prune of a model as it is now; none where it fits no more."""
    try:
        return list(
            prunable(
                model, selection.get("exclude", ()), selection.get("preset", "default"), selection.get("include", ())
            )
        )
    except RecipeError:  # all is frozen, or what a pattern named is gone
        return []


def dense_in_words_of(model: nn.Module, names: Collection[str]) -> str:
    """Name what is large in a model and not among `names`; see `dense_in_words`."""
    large = left_dense(model, names)
    return dense_in_words(large, left_dense(model, names, 0.0).keys() - large.keys())


def dense_in_words(large: Mapping[str, float], others: Collection[str]) -> str:
    """Name what is large and stays dense, with its share of all parameters, and what `include` would prune all of it.

    `others` are dense, too, and not meant.

    >>> dense_in_words({"e0.up": 0.4, "e1.up": 0.4, "table": 0.1}, ["token"])
    "; left dense: e0.up (40% of the parameters), e1.up (40% of the parameters), table (10% of the parameters), \
which include=['e*.up', 'table'] would prune"
    """
    if not large:
        return ""
    listed = ", ".join(f"{name} ({large[name]:.0%} of the parameters)" for name in list(large)[:LISTED])
    more = f" and {len(large) - LISTED} more" if len(large) > LISTED else ""
    patterns = _patterns(list(large), others)
    if len(patterns) > LISTED:
        return f"; left dense: {listed}{more}, of which include={patterns[:1]}, for instance, would prune some"
    return f"; left dense: {listed}{more}, which include={patterns} would prune"


def _patterns(names: Sequence[str], others: Collection[str]) -> list[str]:
    """List names, those that differ in numbers alone as one pattern, unless it means some of the `others`, too."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    found = []
    for pattern, group in alike.items():
        exact = not others or matching([*group, *others], pattern, "include") == group
        found += [pattern] if len(group) > 1 and exact else group
    return found


def say(line: str) -> None:
    """Write a line once for all processes: to the log or, where there is none, to whoever looks on."""
    if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank() != 0:
        return
    logger = logging.getLogger("redense")
    if logger.hasHandlers():
        logger.info(line)
    elif sys.stderr.isatty() or "ipykernel" in sys.modules:
        print(line, file=sys.stderr)
