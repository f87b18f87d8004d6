"""Where a run comes from: the command that makes it again, its settings, data, versions, machines and dates."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redense import __version__
from redense.experiment.recipe import DEFAULT_RECIPE, Recipe, load_recipe
from redense.phases import NAMES, Phase, to_table

if TYPE_CHECKING:
    from redense.experiment.plan import Fingerprints
    from redense.experiment.shown import Shown


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
    """List every setting of the recipe that results depend on, with its value, and how long each phase was.

    >>> from redense.phases import dense, sparse
    >>> recipe = Recipe(method="phases", phases=(dense(4), sparse(2, rate=(1.0, 0.1), masks="random")))
    >>> [value for name, value in settings(recipe) if name == "phases"]
    ['dense 4, sparse 2 with random masks at rate 1 to 0.1']
    """
    values = {name: _text(value) for name, value in recipe.heeded().items()}
    if "rounds" not in values:  # which, with epochs and rates, says all of phases that repeat
        values["phases"] = ", ".join(map(_of_phase, recipe.phases_at(0.0)))
    return [(name.replace("_", " "), value) for name, value in values.items()]


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


def _of_phase(phase: Phase) -> str:
    """Say what is done in a phase, and for how many epochs."""
    masks = f" with {phase.masks} masks" if phase.masks else ""
    ends = [phase.rate] if phase.rate_end is None else [phase.rate, phase.rate_end]
    rates = "" if ends == [1.0] else f" at rate {' to '.join(f'{end:.3g}' for end in ends)}"
    return f"{NAMES[phase.kind]} {phase.epochs}{masks}{rates}"


def _word(value: Any) -> str:
    return json.dumps(to_table(value)) if isinstance(value, Phase) else str(value)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
