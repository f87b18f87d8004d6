"""Run a recipe: prepare it, have an engine train it, measure every phase, write the results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import Progress

from redense.checkpoints import Store, write_text
from redense.config import PROTOCOLS, Recipe
from redense.data.dataset import Dataset
from redense.data.load import load_data
from redense.display import watch
from redense.engines.base import Engine, Failed
from redense.engines.choose import Choice, choose
from redense.errors import Interrupted, TrainingError
from redense.estimate import disk_bytes, plan_table
from redense.folder import check_folder, open_folder
from redense.models.registry import architecture, build, check_fit, resolve
from redense.paired import Correct
from redense.plan import Job, Substance, plan, subjects
from redense.report.comparisons import comparisons_table, leakage_sentences
from redense.report.figures import save_table_figure
from redense.report.summary import kept_table, layer_table
from redense.report.table import results_table
from redense.report.traces import save_results_traces
from redense.resources import Device, EngineName, Resources
from redense.results import Results, Row, row_of
from redense.sparsity.masks import check_selection
from redense.sparsity.measure import fraction_of_zeros
from redense.sparsity.select import prunable

if TYPE_CHECKING:
    from redense.auditing.of_run import AuditRow, RunAuditor


DEFAULT_RESOURCES = Resources()


@dataclass(frozen=True)
class Prepared:
    """A recipe with everything it names found, built, checked and planned; nothing is written yet."""

    recipe: Recipe
    dataset: Dataset
    model_name: str
    model: torch.nn.Module
    jobs: tuple[Job, ...]
    choice: Choice

    def left(self, store: Store) -> list[Job]:
        """List the jobs that have no checkpoint yet (whether those that have are whole, the engine finds out)."""
        return [job for job in self.jobs if not store.finished_folder(job.key).is_dir()]

    def needed_bytes(self, store: Store) -> int:
        """Bound the disk space that the jobs that are left will take."""
        return disk_bytes(self.left(store), self.model, self.dataset, self.choice.processes)


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    device: Device = "auto",
    engine: EngineName = "auto",
    workers: int | None = None,
    time_limit: float | None = None,
    ray_address: str | None = None,
    ray_storage: str | None = None,
    console: Console | None = None,
) -> Results:
    """Train what a recipe asks for and is not yet in the folder `out`, and return the complete results.

    Args:
        recipe: what to train and measure.
        out: the run's folder; the same recipe may go on there, with other sparsities and seeds too.
        data_root: a folder in which to look for named data first.
        device: ``auto`` takes CUDA where there is some.
        engine: ``local`` trains in worker processes on the CPU, ``inline`` in this process, ``vectorized`` many models
            as one, ``ray`` on a cluster; ``auto`` chooses. Results of ``vectorized`` agree with the others' within
            rounding and are stored under keys of their own; those of the others have the same bits.
        workers: one-thread processes on the CPU, by default as many as cores, if memory allows; 0 trains in this
            process. The results have the same bits with any number.
        time_limit: seconds after which a job's worker process counts as hanging and is replaced, once.
        ray_address: of a running Ray cluster.
        ray_storage: a URL for fsspec through which a cluster's checkpoints travel.
        console: where progress and tables go; by default nowhere.

    Raises a `RedenseError`: `RecipeError`, `DataError`, `ModelError` or `FolderError` before anything is written;
    `TrainingError` when jobs failed and `Interrupted` on Ctrl-C, when all that is finished stays.
    """
    out = Path(out)
    console = console or Console(quiet=True)
    resources = Resources(device, engine, workers, time_limit, ray_address, ray_storage)
    ready = prepare(recipe, data_root, resources)
    if recipe.audit:
        _auditor(ready, Store(out), ("threshold", *recipe.audit)).check()
    with open_folder(out, recipe, ready.needed_bytes(Store(out))) as folder:
        console.print(layer_table(ready.model, ready.dataset.input_shape, ready.model_name))
        console.print(_engine_line(ready.choice), highlight=False, soft_wrap=True)
        failures, interrupted = _train(ready, ready.choice.engine([folder.lock]), folder.store, console)
        folder.store.discard_unfinished_writes()
        for note in folder.store.set_aside:
            console.print(note, highlight=False)
        results = _measure(ready, folder.store)
        write_text(out / "results.json", results.to_json())
        write_text(out / "results.csv", results.to_csv())
        if interrupted:
            raise Interrupted(
                f"stopped with {len(results.rows)} of {len(ready.jobs)} phases finished; "
                "the same command goes on from the last finished epoch"
            )
        if results.rows:
            _report(ready, folder.store, results, console)
        if recipe.audit and results.rows and not failures:
            audit_folder(ready, folder.store, ("threshold", *recipe.audit), console)
        if failures:
            reasons = "\n".join(f"  {failure.reason}" for failure in failures)
            raise TrainingError(
                f"{len(failures)} of {len(ready.jobs)} phases failed; what is finished stays:\n{reasons}"
            )
        console.print(f"Written: {out / 'results.json'}, results.csv, table.png, accuracy-leakage.png", highlight=False)
    return results


def _report(ready: Prepared, store: Store, results: Results, console: Console) -> None:
    """Draw the pictures of a run that has any rows, and print its tables and what they amount to."""
    save_table_figure(results, store.root / "table.png")
    save_results_traces(results, store.root / "accuracy-leakage.png")
    console.print(kept_table(ready.model, _masks(ready, store)))
    console.print(results_table(results, ready.model_name))
    console.print(comparisons_table(results), soft_wrap=True, highlight=False)
    for sentence in leakage_sentences(results):
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def audit_folder(ready: Prepared, store: Store, attacks: tuple[str, ...], console: Console) -> list[AuditRow]:
    """Audit every finished phase in a run's folder, print what was found and write it there."""
    # scikit-learn and what else audits need takes a second to load, which runs without an audit are spared
    from redense.auditing.of_run import write_rows
    from redense.report.audit_figure import save_roc_figure
    from redense.report.audit_html import audit_html
    from redense.report.audit_summary import audit_summary, save_audit_traces

    auditor = _auditor(ready, store, attacks)
    rows: list[AuditRow] = []
    with Progress(*Progress.get_default_columns(), console=console, transient=True) as progress:
        task = progress.add_task("audit", total=auditor.count())
        for row in auditor.rows():
            rows.append(row)
            progress.update(task, advance=1, description=f"audit: {row.name}")
    rows.sort(key=lambda row: PROTOCOLS.index(row.protocol))
    write_rows(rows, len(ready.dataset.y_train), store.root)
    titled = [(row.name, row.result) for row in rows]
    write_text(store.root / "audit.html", audit_html(titled, f"Privacy audit of {ready.recipe.data}"))
    first = [(row.name, row.result) for row in rows if row.seed == ready.recipe.seeds[0]]
    save_roc_figure(first, store.root / "audit.png")
    save_audit_traces(rows, store.root / "audit-accuracy.png")
    console.print(audit_summary(rows))
    console.print(
        f"Written: {store.root / 'audit.json'}, audit.csv, risks.csv, audit.png, audit-accuracy.png, audit.html",
        highlight=False,
    )
    return rows


def _auditor(ready: Prepared, store: Store, attacks: tuple[str, ...]) -> RunAuditor:
    from redense.auditing.of_run import RunAuditor

    return RunAuditor(ready.model_name, ready.dataset, store, ready.jobs, attacks, ready.choice.device)


def dry_run(
    recipe: Recipe,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    resources: Resources = DEFAULT_RESOURCES,
    console: Console,
) -> None:
    """Print what `run` would do and what it would cost; nothing is trained or written."""
    ready = prepare(recipe, data_root, resources)
    store = Store(Path(out))
    check_folder(store.root, recipe, ready.needed_bytes(store))
    console.print(layer_table(ready.model, ready.dataset.input_shape, ready.model_name))
    console.print(plan_table(ready.jobs, ready.left(store), ready.model, ready.dataset, ready.choice))
    console.print(_engine_line(ready.choice), highlight=False, soft_wrap=True)


def prepare(recipe: Recipe, data_root: str | Path | None = None, resources: Resources = DEFAULT_RESOURCES) -> Prepared:
    """Find the data, build the model, plan the jobs, and raise a `RedenseError` if anything does not fit."""
    dataset = load_data(recipe.data, Path(data_root) if data_root is not None else None)
    model_name = resolve(recipe.model, dataset.input_shape)
    model = build(model_name, dataset.input_shape, dataset.num_classes)
    check_fit(model_name, model, dataset.input_shape, dataset.num_classes)
    for sparsity in recipe.sparsities:  # an emptied layer shows now rather than after the dense phase
        check_selection(model, sparsity, {"exclude": recipe.exclude, "distribution": recipe.distribution})
    choice = choose(resources, model, dataset, recipe.batch_size, len(subjects(recipe)) * len(recipe.sparsities))
    substance = Substance(dataset.fingerprint, architecture(model), choice.arithmetic)
    jobs = plan(recipe, model_name, substance)
    return Prepared(recipe, dataset, model_name, model, jobs, choice)


def _engine_line(choice: Choice) -> str:
    return f"Engine: {choice.name} on {choice.device} ({choice.reason})"


def _train(ready: Prepared, engine: Engine, store: Store, console: Console) -> tuple[list[Failed], bool]:
    """Carry out the jobs; return the failures, and whether somebody stopped it."""
    failures = []
    try:
        for event in watch(engine.run(ready.jobs, ready.dataset, store), ready.jobs, console):
            if isinstance(event, Failed):
                failures.append(event)
    except KeyboardInterrupt:
        return failures, True
    return failures, False


def _measure(ready: Prepared, store: Store) -> Results:
    names = list(prunable(ready.model, ready.recipe.exclude))
    rows = [row for job in ready.jobs if job.draw is None and (row := _row(job, store, names)) is not None]
    results = Results(ready.recipe, len(ready.dataset.y_train), len(ready.dataset.y_test), tuple(rows))
    return results.compared(partial(_correct, store, len(ready.dataset.y_train)))


def _correct(store: Store, training_examples: int, key: str) -> Correct:
    """Read which test examples a finished job's network classifies correctly."""
    signals = store.load_signals(key)
    if signals is None:
        raise TrainingError(f"checkpoint {key} is gone or damaged; run the recipe again")
    return signals.correct[training_examples:]


def _row(job: Job, store: Store, names: list[str]) -> Row | None:
    checkpoint = store.load(job.key)
    if checkpoint is None:
        return None
    return row_of(job, checkpoint, fraction_of_zeros([checkpoint.model[name] for name in names]))


def _masks(ready: Prepared, store: Store) -> dict[str, dict[str, torch.Tensor]]:
    """The masks of the first seed's sparse phases, by the phase's label."""
    found = {}
    for job in ready.jobs:
        if job.pruning is not None and job.draw is None and job.seed == ready.recipe.seeds[0]:
            checkpoint = store.load(job.key)
            if checkpoint is not None:
                found[job.phase.label] = checkpoint.masks
    return found
