"""What a run needs before its folder is opened: all of it prepared, and all checked that can be."""

from __future__ import annotations

from pathlib import Path

from redense.data.batches import examples_to_try
from redense.experiment.engines import fork_server
from redense.experiment.last_batches import check_last_batches
from redense.experiment.prepare import Prepared, prepare
from redense.experiment.recipe import Recipe
from redense.experiment.report.layers import Network, network_of
from redense.experiment.resources import Resources


def ready(recipe: Recipe, data_root: str | Path | None, resources: Resources, *, trains: bool = True) -> Prepared:
    """Prepare a run and raise for what training, an audit or a tracker would only meet on its way.

    Where it `trains`, the process that workers are forked from gets ready meanwhile.
    """
    _check_trackers(resources)
    if trains and resources.may_fork:
        fork_server.begin()  # it gets ready while the data are read
    prepared = prepare(recipe, data_root, resources)
    if not prepared.choice.kind.forks:
        fork_server.stop()
    if recipe.audit:
        from redense.experiment.audit import check_audit

        check_audit(prepared)
    check_last_batches(prepared)
    return prepared


def network_shown(prepared: Prepared) -> Network:
    """Return what is shown of a run's network."""
    return network_of(prepared.model, examples_to_try(prepared.dataset), prepared.model_name)


def _check_trackers(resources: Resources) -> None:
    """Raise for a tracker that is not installed."""
    if resources.track:
        from redense.experiment.tracking import check_trackers

        check_trackers(resources.track)
