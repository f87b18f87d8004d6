"""What a run would do, and what it would cost."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from redense.experiment.checkpoints import Store
from redense.experiment.cost import plan_table
from redense.experiment.folder import check_folder
from redense.experiment.mixed import refuse_mixed
from redense.experiment.prepare import DEFAULT_RESOURCES
from redense.experiment.ready import network_shown, ready
from redense.experiment.recipe import Recipe
from redense.experiment.resources import Resources
from redense.experiment.show import show_network, show_notes
from redense.experiment.show_plan import show_engine, show_machine


def dry_run(
    recipe: Recipe,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    resources: Resources = DEFAULT_RESOURCES,
    console: Console,
) -> None:
    """Print what `redense.run` would do and what it would cost; nothing is trained or written."""
    prepared = ready(recipe, data_root, resources, trains=False)
    store = Store(Path(out))
    check_folder(store.root, recipe, prepared.needed_bytes(store))
    refuse_mixed(prepared, store)
    show_network(network_shown(prepared), prepared.dataset.warning, console)
    show_notes(recipe.left_out(), console)
    console.print()
    console.print(plan_table(prepared.jobs, prepared.left(store), prepared.model, prepared.dataset, prepared.choice))
    show_machine(console)
    show_engine(prepared, console)
