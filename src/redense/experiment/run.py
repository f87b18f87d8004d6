"""Run a recipe: prepare, train, measure, write, show; each step in a module of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from redense.arguments import validated
from redense.errors import FolderError, Interrupted, RecipeError, TrainingError
from redense.experiment.checkpoints import Store
from redense.experiment.comparison import Comparison
from redense.experiment.display import progress_console
from redense.experiment.finished import Printed, conditions, digests, write_finished
from redense.experiment.folder import open_folder, write_plan
from redense.experiment.found import find
from redense.experiment.measure import measure
from redense.experiment.mixed import mixed_notes, refuse_mixed
from redense.experiment.prepare import Prepared
from redense.experiment.ready import network_shown, ready
from redense.experiment.recipe import Recipe
from redense.experiment.report.layers import kept_of
from redense.experiment.resources import Resources
from redense.experiment.results import Results
from redense.experiment.show import (
    show_audits,
    show_comparisons,
    show_conclusion,
    show_network,
    show_notes,
    show_replicates,
    show_results,
)
from redense.experiment.show_plan import show_engine
from redense.experiment.standing import standing_comparisons
from redense.experiment.train import Outcome, train
from redense.experiment.write import write_page, write_pictures, write_results


@validated(RecipeError)
def run(
    recipe: Recipe,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    console: Console | None = None,
    progress: bool | None = None,
    **resources: Any,
) -> Results:
    """Train what a recipe asks for and is not yet in the folder `out`, and return the complete results.

    Args:
        recipe: what to train and measure.
        out: the run's folder; the same recipe may go on there, with other sparsities and seeds too.
        data_root: a folder in which to look for named data first.
        console: where progress and tables go; by default nowhere.
        progress: whether to show how far training is, without a `console`: on standard error or in the notebook. By
            default where there is a person: in a notebook, and where standard error is a terminal.
        resources: device, engine, workers and what else `redense.Resources` has.

    Raises a `RedenseError`: `RecipeError`, `DataError`, `ModelError` or `FolderError` before anything is written;
    `TrainingError` when jobs failed and `Interrupted` on Ctrl-C, when all that is finished stays.

    >>> import tempfile
    >>> recipe = Recipe(model="mlp", sparsities=(0.5,), epochs=(1, 1, 1), batch_size=256)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = run(recipe, folder, workers=0)
    >>> [row.phase.label for row in results.rows]
    ['dense', 'sparse 50%', 're-dense 50%']
    """
    out = Path(out)
    watched = console or progress_console(progress)
    console = console or Console(quiet=True)
    asked = Resources(**resources)
    key = conditions(recipe, data_root, asked)
    prepared = ready(recipe, data_root, asked)
    choice = prepared.choice
    with open_folder(out, recipe, prepared.needed_bytes(Store(out)), choice.resources.lock) as folder:
        store = folder.store.expecting(prepared.form, prepared.jobs)
        refuse_mixed(prepared, store)
        network = network_shown(prepared)
        show_network(network, prepared.dataset.warning, console)
        if prepared.left(store):
            show_engine(prepared, console)
        else:
            console.print()

        outcome = train(prepared, choice.engine([folder.lock]), store, watched)
        notes = recipe.left_out()
        show_notes([*store.set_aside, *notes], console)

        results, masks = measure(prepared, store)
        mixed = tuple(mixed_notes(prepared.jobs, store))
        results = replace(results.joined(_standing(out, results)), mixed=mixed)
        written = write_results(results, out)
        audited: list[str] = []
        kept = kept_of(prepared.model, masks, recipe.phases_at(0.0))
        if results.rows:  # or what another engine trained here would be forgotten
            write_plan(out, prepared.fingerprints)
        _refuse_interrupted(outcome, prepared, results)

        if results.rows:
            written += write_pictures(results, out)
            show_results(results, kept, network, console)
            if recipe.audit and not outcome.failures:
                results, audited = _audit(prepared, store, results, console, watched)
                written += audited
            show_comparisons(results, console, short=bool(audited))
            written += write_page(results, store)
        _refuse_failures(outcome, prepared)
        if choice.resources.track:
            from redense.experiment.tracking import track

            track(choice.resources.track, out, console)
        show_conclusion(find(out), written, console)
        if key is not None:
            warning, files = prepared.dataset.warning, digests(out)
            printed = Printed(network, warning, tuple(notes), kept, tuple(written), tuple(audited), files)
            write_finished(printed, key, out)
    return results


def _audit(
    prepared: Prepared, store: Store, results: Results, console: Console, watched: Console | None
) -> tuple[Results, list[str]]:
    """Audit what was trained; return the results with what audits claim of phases, and the names of files written."""
    from redense.experiment.audit import audit_prepared
    from redense.experiment.replicates import means_of

    audits, results, written = audit_prepared(prepared, store, results, (), watched or console)
    show_audits(audits.rows, store.root, console)
    show_replicates(means_of(audits.replicates), console)
    return results, written


def _standing(folder: Path, results: Results) -> list[Comparison]:
    """Return what the folder's audits compared, of networks that are still these: further rows join their family."""
    try:
        return standing_comparisons(Results.load(folder), results)
    except FolderError:  # none yet, or of another format: made again by an audit
        return []


def _refuse_interrupted(outcome: Outcome, prepared: Prepared, results: Results) -> None:
    if outcome.interrupted:
        raise Interrupted(
            f"stopped with {len(results.rows)} of {len(prepared.jobs)} phases finished; "
            "the same command goes on from the last finished epoch"
        )


def _refuse_failures(outcome: Outcome, prepared: Prepared) -> None:
    if outcome.failures:
        reasons = "\n".join(f"  {failure.reason}" for failure in outcome.failures)
        raise TrainingError(
            f"{len(outcome.failures)} of {len(prepared.jobs)} phases failed; what is finished stays:\n{reasons}"
        )
