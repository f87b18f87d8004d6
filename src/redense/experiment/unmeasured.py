"""Finished phases of an unfinished run that no results tell of yet: where a run was killed, its report shows them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from redense.errors import RedenseError
from redense.experiment.plan import Job
from redense.experiment.recipe import Recipe
from redense.experiment.results import Results
from redense.files.reading import JSON_LIMIT, field, mapping, plain_bytes
from redense.phases import Phase

Place = tuple[int, Phase]
"""Where a row stands in the table: its seed and its phase."""


def planned(recipe: Recipe) -> list[Place]:
    """List the rows that the table of a recipe is to have, in its order."""
    phases = dict.fromkeys(phase for phases in recipe.lineages() for phase in phases)
    return [(seed, phase) for seed in recipe.seeds for phase in phases]


def asked_for(results: Results, recipe: Recipe) -> Results:
    """Return results as those of a recipe that came later: it may ask for more than what is measured, or for less."""
    if results.recipe == recipe:
        return results
    places = set(planned(recipe))
    rows = tuple(row for row in results.rows if (row.seed, row.phase) in places)
    found = dataclasses.replace(results, recipe=recipe, rows=rows)
    return found if rows == results.rows else found.compared()


def unmeasured(folder: Path, results: Results) -> list[Job]:
    """List the jobs of missing rows whose checkpoints are there, the one finished last of each; nothing is believed.

    Only their indexes are read, without PyTorch.
    """
    missing = set(planned(results.recipe)) - {(row.seed, row.phase) for row in results.rows}
    found: dict[Place, Job] = {}
    for index in sorted(folder.glob("checkpoints/*/checkpoint.json"), key=_changed) if missing else ():
        job = _job(index)
        if job is not None and job.member_set is None and (job.seed, job.phase) in missing:
            found[job.seed, job.phase] = job
    return list(found.values())


def measured(folder: Path, results: Results, jobs: list[Job]) -> Results:
    """Return results with rows of these jobs as well, read off their checkpoints; damaged ones are left out."""
    from redense.experiment.checkpoints import Store
    from redense.experiment.expected import Form
    from redense.experiment.measure import row_of
    from redense.sparsity.zeros import fraction_of_zeros

    store = Store(folder, reads_only=True)
    found = {}
    for job in jobs:
        checkpoint = store.load(job.key)
        if checkpoint is not None:
            found[job.key] = checkpoint
            store = store.expecting(Form.of_checkpoint(checkpoint))
    if not found:
        return results
    masks = [*next((one.masks for one in found.values() if one.masks), {})]
    rows = {(row.seed, row.phase): row for row in results.rows}
    for job in (job for job in jobs if job.key in found):
        checkpoint = found[job.key]
        # before anything is pruned nobody has said yet which tensors will be
        weights = [checkpoint.model[name] for name in masks] or [
            tensor for tensor in checkpoint.model.values() if tensor.ndim > 1
        ]
        rows[job.seed, job.phase] = row_of(job, checkpoint, fraction_of_zeros(weights) if weights else 0.0)
    one = next(iter(found.values()))
    correct = {key: checkpoint.test.correct for key, checkpoint in found.items()}
    whole = dataclasses.replace(
        results,
        members=len(one.train.phi),
        nonmembers=len(one.test.phi),
        rows=tuple(rows[place] for place in planned(results.recipe) if place in rows),
    )
    # McNemar's test needs every network's answers, which are read for one seed alone
    if len(results.recipe.seeds) == 1:
        for key in {row.checkpoint for row in results.rows}:
            signals = store.load(key)
            if signals is None:
                return whole
            correct[key] = signals.test.correct
        return whole.compared(correct.__getitem__)
    return whole.compared()


def _changed(path: Path) -> float:
    """Return when a file was changed; one that a run which goes on has taken away meanwhile is for `_job` to miss."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _job(index: Path) -> Job | None:
    """Read which job a checkpoint says it is of; None where it does not say so."""
    try:
        job = Job.from_mapping(mapping(field(mapping(json.loads(plain_bytes(index, JSON_LIMIT))), "job")))
    except (OSError, ValueError, RecursionError, RedenseError):
        return None  # `Store.load` would not believe it either
    pruned = (job.phase.sparsity, job.phase.masks) if job.phase.kind == "sparse" else None
    said = None if job.pruning is None else (job.pruning.sparsity, job.pruning.masks)
    return job if job.key == index.parent.name and said == pruned else None
