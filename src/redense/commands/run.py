"""``redense run``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from redense.auditing.attacks import FURTHER_FAMILIES
from redense.commands.console import console, say_loading
from redense.commands.pages import Page
from redense.commands.parse import flags, given, parse, refuse_repeated, take_recipe
from redense.experiment.engines import fork_server
from redense.experiment.optimizers import OPTIMIZERS
from redense.experiment.recipe import DEFAULT_RECIPE, FORMER_RECIPES, Precision, Recipe, load_recipe, shipped_recipes
from redense.experiment.resources import Resources, TrackerName
from redense.methods import CONTROLS
from redense.models.names import OWN

PAGE = Page(
    "run",
    "[RECIPE] [flags]",
    "Train a recipe dense, sparse and dense again, and print the table of every phase. The same command again goes on "
    f"where it stopped. RECIPE is a shipped one ({', '.join(shipped_recipes())}) or FILE.toml, anywhere "
    "among the flags; it sets their defaults, in brackets.",
    {
        "What is trained": {
            "--data DATA": "a name that `redense data` lists, FILE.npz, a folder of class folders of images, or "
            "package.module:function",
            "--model MODEL": OWN,
            "--sparsities S ...": "fractions of weights to prune",
            "--epochs D S R": "of the dense, sparse and re-dense phase",
            "--seeds N ...": "a whole table is trained for each",
            "--controls NAME ...": f"the same budget without masks: {', '.join(CONTROLS)}",
            "--optimizer NAME": ", ".join(OPTIMIZERS),
            "--lr RATE": "its learning rate",
            "--precision NAME": f"numbers to train in: {' or '.join(get_args(Precision))}",
        },
        "What is audited": {
            "--audit ATTACK ...": f"attack every phase: {', '.join(FURTHER_FAMILIES)}",
            "--references N": "models that attacks learn from, each a training",
        },
        "Where, and with what": {
            "--out DIR": "the run's folder; runs/RECIPE if left out",
            "--workers N": "processes, by default one a core; the same results",
            "--device NAME": "auto takes CUDA where there is some",
            "--track NAME ...": f"tell experiment trackers: {', '.join(get_args(TrackerName))}",
            "--dry-run": "print jobs, time, disk and memory; train nothing",
        },
    },
    {
        "redense run": "digits, offline",
        "redense run fashion-mnist --epochs 5 5 5 --out runs/short": "a recipe, changed",
        "redense run mine.toml --controls longer llr --seeds 0 1 2": "is DSD better?",
    },
)


@dataclass(frozen=True)
class Run:
    """Train a recipe dense, sparse and dense again, and print the table of every phase."""

    source: tyro.conf.Suppress[tyro.conf.Fixed[str]] = DEFAULT_RECIPE
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    out: Path | None = None
    """The run's folder; by default runs/RECIPE."""
    data_root: Path | None = None
    """Where named data lie; else $REDENSE_DATA, else the user's cache folder."""
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    dry_run: bool = False
    """Print the jobs and an estimate of time, disk and memory; train nothing."""

    def execute(self) -> None:
        """Run the recipe, print again what is finished, or say what running it would cost."""
        from redense.experiment.reprint import reprint

        screen, out = console(), self.out or Path("runs") / Path(self.source).stem
        settings: Any = {"data_root": self.data_root, "console": screen}
        if not self.dry_run and reprint(self.recipe, out, resources=self.resources, **settings):
            return
        say_loading(screen)
        if self.resources.may_fork and not self.dry_run:
            fork_server.begin()  # it loads PyTorch while this process does
        from redense.experiment.dry_run import dry_run
        from redense.experiment.run import run

        if self.dry_run:
            dry_run(self.recipe, out, resources=self.resources, **settings)
        else:
            run(self.recipe, out, **settings, **vars(self.resources))


def command(words: Sequence[str]) -> Run:
    """Read the words after ``redense run``; the recipe's values are the flags' defaults."""
    names = (*shipped_recipes(), *FORMER_RECIPES)
    refuse_repeated(words)
    source, others = take_recipe(words, flags(Run), names)
    source = source or DEFAULT_RECIPE
    found = parse(Run, PAGE, others, Run(source=source, recipe=load_recipe(source)))
    found.recipe.chosen_method.refuse_unheeded(given(others, flags(Recipe)))
    return found
