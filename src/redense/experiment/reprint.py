"""The short way of a run: what is finished, and as it was left, is printed again from its folder, without PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from redense.experiment.finished import FILE, conditions, digests, read_finished
from redense.experiment.recipe import Recipe
from redense.experiment.resources import Resources


def reprint(recipe: Recipe, out: Path, *, data_root: Path | None, resources: Resources, console: Console) -> bool:
    """Print what `redense.experiment.run.run` would, if it would train, measure and write nothing new; tell whether.

    So it is where recipe, data, versions and machine are those under which the folder was finished, and its files are
    as they were left. Nothing is changed. Raises `FolderError` where another run is using the folder.
    """
    if resources.track or not os.path.isfile(out / FILE):
        return False
    from redense.experiment.folder import hold_folder  # with statistics, which take longer to load than to say so
    from redense.experiment.show import show_again

    key = conditions(recipe, data_root, resources)
    finished = None if key is None else read_finished(out, key)
    if finished is None:
        return False
    with hold_folder(out, recipe, resources.lock):
        if digests(out) != finished.files:
            return False
        show_again(finished, out, console)
    return True
