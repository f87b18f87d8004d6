"""``redense run``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from redense.commands.console import console
from redense.experiment.engines import fork_server
from redense.experiment.recipe import Recipe
from redense.experiment.resources import Resources


@dataclass(frozen=True)
class Run:
    """Train a recipe dense, sparse and dense again, and print the table of every phase.

    Without a recipe: scikit-learn's handwritten digits, offline. The same command again goes on where it stopped.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """A shipped recipe (digits, fashion-mnist, fashion-mnist-published) or FILE.toml; it sets the defaults below.
    Stands before all flags."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    out: Path | None = None
    """The run's folder; by default runs/RECIPE."""
    data_root: Path | None = None
    """Where named data lie; else $REDENSE_DATA, else the user's cache folder."""
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    dry_run: bool = False
    """Print the jobs and an estimate of time, disk and memory; train nothing."""

    def execute(self) -> None:
        """Run the recipe, or say what running it would cost."""
        if self.resources.may_fork and not self.dry_run:
            fork_server.start()  # it loads PyTorch while this process does
        from redense.experiment.run import dry_run, run

        out = self.out or Path("runs") / Path(self.source).stem
        if self.dry_run:
            dry_run(self.recipe, out, data_root=self.data_root, resources=self.resources, console=console())
        else:
            run(self.recipe, out, data_root=self.data_root, console=console(), **vars(self.resources))
