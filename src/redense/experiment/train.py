"""The second step of a run: an engine carries out the jobs, and a person sees how far it is."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from redense.experiment.checkpoints import Store
from redense.experiment.display import watch
from redense.experiment.engines.base import Engine
from redense.experiment.events import Failed
from redense.experiment.prepare import Prepared


@dataclass(frozen=True)
class Outcome:
    """How training ended: which jobs failed, and whether somebody stopped it."""

    failures: tuple[Failed, ...]
    interrupted: bool


def train(prepared: Prepared, engine: Engine, store: Store, console: Console) -> Outcome:
    """Have the engine carry out the jobs, and show them."""
    failures: list[Failed] = []
    interrupted = False
    try:
        for event in watch(engine.run(prepared.jobs, prepared.dataset, store), prepared.jobs, store, console):
            if isinstance(event, Failed):
                failures.append(event)
    except KeyboardInterrupt:
        interrupted = True
    store.discard_unfinished_writes()  # of workers that were killed
    return Outcome(tuple(failures), interrupted)
