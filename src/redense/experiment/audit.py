"""The audit of a run: every phase of every target, and of a finished run what is written and printed of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from redense.auditing.attacks import PLAIN_FAMILIES
from redense.auditing.figure import roc_figure
from redense.auditing.page import audit_html
from redense.auditing.protocols import PROTOCOLS
from redense.auditing.result import AuditResult
from redense.auditing.settings import AuditSettings
from redense.errors import FolderError
from redense.experiment.audit_comparison import compare_audits
from redense.experiment.audit_rows import AuditRow, write_rows
from redense.experiment.auditor import RunAuditor
from redense.experiment.checkpoints import Store
from redense.experiment.comparison import Comparison
from redense.experiment.display import counted
from redense.experiment.folder import Trust, check_targets, hold_folder, read_plan, read_recipe, refuse_newer
from redense.experiment.measure import measure
from redense.experiment.prepare import Prepared, prepare
from redense.experiment.replicates import (
    PhaseReplicates,
    compare_replicates,
    means_of,
    replicate_phases,
    write_replicates,
)
from redense.experiment.report.audits import audit_traces
from redense.experiment.report.protocols import audited_name
from redense.experiment.resources import Resources
from redense.experiment.results import Results
from redense.experiment.show import show_audited, show_report, show_written
from redense.experiment.write import write_results
from redense.experiment.write_report import write_report
from redense.files.writing import write_png, write_whole

NO_CODE = Trust()


@dataclass(frozen=True)
class Audits:
    """What the audits of a run found: a row a target, what its reference models show, and how its phases compare."""

    rows: list[AuditRow]
    replicates: list[PhaseReplicates]
    comparisons: list[Comparison]


def check_audit(prepared: Prepared) -> None:
    """Raise `DataError`, before anything is trained, for what no audit can be made of: see `RunAuditor.check`."""
    _auditor(prepared, Store(Path()), ()).check()


def audit_run(
    folder: Path,
    attacks: tuple[str, ...],
    *,
    data_root: Path | None,
    device: Any,
    console: Console,
    trust: Trust = NO_CODE,
    lock: bool = True,
) -> list[AuditRow]:
    """Audit a finished run with the families of attacks asked for, by default its own.

    Raises `FolderError` when the folder holds no finished phase of a run, or names code that `trust` does not, and
    with `lock` while a run or another audit uses it.
    """
    AuditSettings(attacks=attacks)  # raises for those that do not exist
    check_targets(folder)
    refuse_newer(folder)
    prepared = _prepared_as_trained(folder, data_root, device, trust)
    store = Store(folder, reads_only=True).expecting(prepared.form, prepared.jobs)
    with hold_folder(folder, prepared.recipe, lock):
        audits, results, written = audit_prepared(prepared, store, measure(prepared, store)[0], attacks, console)
        show_audited(audits.rows, means_of(audits.replicates), results, console)
        written.append(write_report([folder]).name)
        show_written(folder, written, console, more=", and the comparisons into results.json")
        show_report(folder, console)
    return audits.rows


def audit_prepared(
    prepared: Prepared, store: Store, results: Results, attacks: tuple[str, ...], watched: Console
) -> tuple[Audits, Results, list[str]]:
    """Audit every finished phase of measured results, and write both; how far it is goes to the console `watched`.

    Returns the audits, the results with what these claim of phases, all corrected together, and the names of the
    audits' files. Without `attacks` the families are those that the recipe names, and those that need nothing but
    plain answers.
    """
    audits = _made(prepared, store, attacks, watched)
    written = write_audits(audits, prepared, store.root)
    results = results.joined(audits.comparisons)
    write_results(results, store.root)
    return audits, results, written


def _made(prepared: Prepared, store: Store, attacks: tuple[str, ...], watched: Console) -> Audits:
    """Attack all targets, then each reference model in turn, and compare the phases."""
    auditor = _auditor(prepared, store, attacks or (*PLAIN_FAMILIES, *prepared.recipe.audit))
    rows, replicates = [], []
    with counted("audit", auditor.count(), watched) as step:
        for row in auditor.rows():
            rows.append(row)
            step(row.name)
    with counted("replicates", len(auditor.phases), watched) as step:
        for of_phase in replicate_phases(auditor):
            replicates.append(of_phase)
            step(of_phase.phase.label)
    rows.sort(key=lambda row: list(PROTOCOLS).index(row.protocol))
    method = prepared.recipe.chosen_method
    return Audits(rows, replicates, [*compare_audits(rows, method), *compare_replicates(replicates, method)])


def write_audits(audits: Audits, prepared: Prepared, folder: Path) -> list[str]:
    """Write the audits of a run, with their page and pictures; return the files' names."""
    recipe = prepared.recipe
    names = write_rows(audits.rows, prepared.dataset.original_places, folder)
    first = [row for row in audits.rows if row.seed == recipe.seeds[0]]
    pictures = {"audit.png": roc_figure(_titled(first)), "audit-accuracy.png": audit_traces(audits.rows)}
    for name, picture in pictures.items():
        write_png(folder / name, picture, inside=folder)
    sources = [("the network", prepared.model_name), ("trained on", recipe.data)]
    page = audit_html(_titled(audits.rows), f"Privacy audit of {recipe.data}", sources)
    write_whole(folder / "audit.html", page, inside=folder)
    replicates = write_replicates(audits.replicates, folder) if audits.replicates else []
    return [*names, *pictures, "audit.html", *replicates]


def _titled(rows: Sequence[AuditRow]) -> list[tuple[str, AuditResult]]:
    return [(audited_name(row, rows), row.result) for row in rows]


def _auditor(prepared: Prepared, store: Store, attacks: tuple[str, ...]) -> RunAuditor:
    shown = prepared.shown
    jobs = [job for job in prepared.jobs if job.phase in shown]
    protocols = prepared.recipe.audited_protocols
    return RunAuditor(prepared.model_name, prepared.dataset, store, jobs, attacks, prepared.choice.device, protocols)


def _prepared_as_trained(folder: Path, data_root: Path | None, device: Any, trust: Trust) -> Prepared:
    """Prepare a folder's recipe with the arithmetic that trained it, and make sure that it is about the same things."""
    recipe, trained = read_recipe(folder), read_plan(folder)
    trust.check(recipe, folder)
    prepared = prepare(recipe, data_root, Resources(device), arithmetic=trained.arithmetic)
    for name in ("data", "architecture"):
        if getattr(prepared.fingerprints, name) != getattr(trained, name):
            what = {"data": prepared.recipe.data, "architecture": f"the network {prepared.model_name}"}[name]
            raise FolderError(
                f"{folder}: {what} has changed since the run was trained (another fingerprint); restore it, or run the "
                "recipe anew in another folder"
            )
    if len(prepared.left(Store(folder))) == len(prepared.jobs):
        raise FolderError(f"{folder}: no phase is finished; run the recipe first")
    return prepared
