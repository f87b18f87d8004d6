"""What `redense audit` is pointed at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Source:
    """A finished run, a saved model with examples, or a file of signals."""

    run: tyro.conf.Positional[Path | None] = None
    """The folder of a finished run; with `redense run --audit` its reference models are used."""
    model: str | None = None
    """package.module:factory (runs your code), or fmnist-cnn, mlp, resnet18."""
    weights: Path | None = None
    """The model's state_dict, safetensors."""
    members: Path | None = None
    """NPZ with x and y: examples it was trained on."""
    nonmembers: Path | None = None
    """NPZ with x and y: examples like these that it was not trained on."""
    references: tuple[Path, ...] = ()
    """State_dicts of reference models, each trained on some of the examples."""
    included: Path | None = None
    """NPZ with included, bool [references, members + nonmembers]."""
    classes: int | None = None
    """Number of classes, by default one more than the largest label."""
    signals: Path | None = None
    """NPZ with members (bool) and logits and labels, or phi, or loss; no model is needed then."""
