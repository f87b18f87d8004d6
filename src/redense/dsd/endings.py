"""What DSD says of itself: where it is, whether it ended with the training, and whether the model is as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redense.dsd.words import dense_in_words_of, held_in_words, names_of, phase_in_words
from redense.errors import warn_caller
from redense.sparsity.parameters import named
from redense.sparsity.zeros import count_zeros

if TYPE_CHECKING:
    from redense.dsd.dsd import DSD


def in_words(dsd: DSD) -> str:
    """Say where a DSD is, how many weights are held at zero, and which large parameters stay dense.

    Sharded weights are counted on all processes, so that all must call it.
    """
    return f"DSD: {_where(dsd)}: {_weights(dsd)}"


def warn_of_end(dsd: DSD) -> None:
    """Warn, when training has ended, of phases that did not end with it, and of weights that are not as masks say."""
    if dsd.left is not None or _unmasked(dsd):
        warn_caller(in_words(dsd))
    elif dsd.beyond:
        steps = f"{dsd.beyond} optimizer steps" if dsd.beyond > 1 else "an optimizer step"
        warn_caller(f"DSD: the phases were over {steps} before training was; expected the same length")


def _where(dsd: DSD) -> str:
    if dsd.left is not None:
        phase = phase_in_words(dsd.phases, dsd.unit, dsd.left, first=dsd.first)
        return f"ended before its time, at {dsd.unit[:-1]} {dsd.left + dsd.first}, in {phase}"
    return "over" if dsd.finished else phase_in_words(dsd.phases, dsd.unit, dsd.progress, dsd.rate, dsd.first)


def _weights(dsd: DSD) -> str:
    parameters, masks = named(dsd.model), dsd.masks
    names = names_of(dsd.model, dsd.selection, masks)
    pruned = count_zeros(masks.values()) if masks else None
    said = held_in_words([parameters[name].numel() for name in names], pruned)
    if unmasked := _unmasked(dsd):
        said += f", but {unmasked:,} of these are not zero in the model now; apply_masks(model) sets them to zero"
    elif not masks and dsd.left is not None and (zeros := count_zeros([parameters[name] for name in names])):
        said += f", {zeros:,} of them zero"
    return said + dense_in_words_of(dsd.model, names)


def _unmasked(dsd: DSD) -> int:
    """Count the weights that masks in force prune and that are not zero, since others were written to the model."""
    parameters = named(dsd.model)
    return count_zeros([(parameters[name].detach() == 0) | mask for name, mask in dsd.masks.items()])
