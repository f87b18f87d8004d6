"""Whether a state that is loaded belongs to a DSD: its format, its phases, and what they prune."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from redense.dsd.words import prunable_now
from redense.errors import ModelError, TrainingError
from redense.sparsity.masks import Selection
from redense.sparsity.parameters import named

FORMAT = 2
"""Version of `DSD.state_dict`. Format 1 did not tell whether the epoch it was taken in was over."""


def check_state(state: object, plan: str) -> None:
    """Raise `TrainingError` for what is no state of this format, or one of other phases than `plan` tells."""
    if not isinstance(state, Mapping) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, Mapping) else type(state).__name__
        raise TrainingError(f"load_state_dict: got format {found}; expected {FORMAT}")
    missing = [name for name in ("plan", "progress", "started", "over", "told", "masks") if name not in state]
    if missing:
        raise TrainingError(f"load_state_dict: got a state without {', '.join(missing)}; expected a whole one")
    if state["plan"] != plan:
        raise TrainingError(f"load_state_dict: got a state of {state['plan']}; expected {plan}")


def check_weights(model: nn.Module, selection: Selection, ours: Collection[str], bits: Mapping[str, Any]) -> None:
    """Raise `ModelError` for a state of other weights than `ours`, those that are pruned here.

    It may have more that are frozen now: these may have been frozen since its phase began.
    """
    parameters = named(model)
    odd = sorted(set(ours) - set(bits) | set(bits) - set(parameters))
    if odd:
        raise ModelError(f"load_state_dict: got the state of another model or selection; {', '.join(odd)} not in both")
    selected = {*ours, *prunable_now(model, selection)}
    dense = [name for name in bits if name not in selected and parameters[name].requires_grad]
    if dense:
        raise ModelError(
            f"load_state_dict: got the state of another selection, which prunes {', '.join(dense)}; expected that of "
            "this DSD (include, exclude, preset)"
        )
