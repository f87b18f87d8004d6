"""Where a run comes from: the command that makes it again, its settings, data, versions, machines and dates."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redense import __version__
from redense.experiment.recipe import Recipe, load_recipe
from redense.phases import Phase, to_table

if TYPE_CHECKING:
    from redense.experiment.plan import Fingerprints
    from redense.experiment.shown import Shown

DEFAULT_RECIPE = "digits"
"""What `redense run` trains without a recipe."""


def command(recipe: Recipe, folder: Path) -> str:
    """Write the command that trains a recipe, into a folder of the same name below ``runs``.

    >>> command(Recipe(sparsities=(0.5,), seeds=(0, 1)), Path("/home/me/digits"))
    'redense run --sparsities 0.5 --seeds 0 1 --out runs/digits'
    """
    usual = load_recipe(DEFAULT_RECIPE)
    words = ["redense", "run"]
    for field in dataclasses.fields(Recipe):
        value = getattr(recipe, field.name)
        if value != getattr(usual, field.name):
            words += [f"--{field.name.replace('_', '-')}", *map(_word, value if isinstance(value, tuple) else (value,))]
    return shlex.join([*words, "--out", f"runs/{folder.resolve().name}"])


def settings(recipe: Recipe) -> list[tuple[str, str]]:
    """List every setting of the recipe with its value."""
    return [(name.replace("_", " "), _text(value)) for name, value in recipe.to_mapping().items()]


def origins(plan: Fingerprints | None, shown: Shown | None) -> list[tuple[str, str]]:
    """List what the numbers rest on besides the recipe: fingerprints, versions, machines and dates."""
    facts = []
    if plan is not None:
        facts = [
            ("data, fingerprint (SHA-256)", plan.data),
            ("network, fingerprint", plan.architecture),
            ("arithmetic", plan.arithmetic),
        ]
    if shown is not None:
        facts += [*_training(shown), *_measuring(shown)]
    return [*facts, ("page made with", f"redense {__version__}")]


def _training(shown: Shown) -> list[tuple[str, str]]:
    found = shown.environments.values()
    dates = sorted(one.finished for one in found)
    if not dates:
        return []
    return [
        ("trained", " to ".join(dict.fromkeys((dates[0], dates[-1])))),
        ("trained on", _distinct(f"{one.device}, {one.machine}" for one in found)),
        ("trained with", _distinct(f"PyTorch {one.torch}, Python {one.python}" for one in found)),
    ]


def _measuring(shown: Shown) -> list[tuple[str, str]]:
    own = {name: shown.machine.get(name, "") for name in ("processor", "system")}
    versions = [f"{name} {value}" for name, value in shown.machine.items() if name not in own]
    return [("measured on", ", ".join(own.values())), ("measured with", ", ".join(versions))]


def _distinct(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values))


def _word(value: Any) -> str:
    return json.dumps(to_table(value)) if isinstance(value, Phase) else str(value)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
