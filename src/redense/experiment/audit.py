"""The audit of a run: every phase of every target, printed and written into the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from redense.auditing.attacks import PLAIN_FAMILIES
from redense.auditing.figure import roc_figure
from redense.auditing.page import audit_html
from redense.auditing.protocols import PROTOCOLS
from redense.auditing.settings import AuditSettings
from redense.errors import FolderError
from redense.experiment.audit_comparison import compare_audits
from redense.experiment.audit_rows import AuditRow, write_rows
from redense.experiment.auditor import RunAuditor
from redense.experiment.checkpoints import Store
from redense.experiment.display import counted
from redense.experiment.folder import Trust, check_targets, read_plan, read_recipe, refuse_newer
from redense.experiment.measure import measure
from redense.experiment.prepare import Prepared, prepare
from redense.experiment.replicates import (
    PhaseReplicates,
    compare_replicates,
    means_of,
    replicate_phases,
    write_replicates,
)
from redense.experiment.report.audits import audit_summary, audit_traces
from redense.experiment.resources import Resources
from redense.experiment.show import show_audit_files, show_audits, show_comparisons, show_replicates
from redense.experiment.write import write_results
from redense.experiment.write_report import write_report
from redense.files.writing import write_png, write_whole
from redense.terminal import prose

NO_CODE = Trust()
FILES = (
    *("audit.json", "audit.csv", "risks.csv", "audit.png", "audit-accuracy.png", "audit.html"),
    *("replicates.json", "replicates.csv"),
)
"""What an audit writes into a run's folder, some of it only where reference models can be attacked in turn."""


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
) -> list[AuditRow]:
    """Audit a finished run with the families of attacks asked for, by default its own.

    Raises `FolderError` when the folder holds no finished phase of a run, or names code that `trust` does not.
    """
    AuditSettings(attacks=attacks)  # raises for those that do not exist
    check_targets(folder)
    refuse_newer(folder)
    prepared = _prepared_as_trained(folder, data_root, device, trust)
    rows = audit_prepared(prepared, Store(folder, reads_only=True), console, attacks)
    console.print(prose(f"Written: {write_report([folder])}"))
    return rows


def audit_prepared(
    prepared: Prepared,
    store: Store,
    console: Console,
    attacks: tuple[str, ...] = (),
    watched: Console | None = None,
    short: bool = False,
) -> list[AuditRow]:
    """Audit every finished phase, print what was found and write it into the folder.

    What is printed is all attacks, or with `short` a line a phase, which is what a run shows.

    What audits claim about phases joins the run's other claims, in results.json, and all are corrected together.
    Without `attacks` the families are those that the recipe names, and those that need nothing but plain answers.
    How far it is goes to the console `watched`, by default to `console`.
    """
    auditor = _auditor(prepared, store, attacks or (*PLAIN_FAMILIES, *prepared.recipe.audit))
    rows: list[AuditRow] = []
    watched = watched or console
    with counted("audit", auditor.count(), watched) as step:
        for row in auditor.rows():
            rows.append(row)
            step(row.name)
    rows.sort(key=lambda row: list(PROTOCOLS).index(row.protocol))
    write_rows(rows, prepared.dataset.original_places, store.root)
    titled = [(row.name, row.result) for row in rows]
    page = audit_html(titled, f"Privacy audit of {prepared.recipe.data}")
    write_whole(store.root / "audit.html", page, inside=store.root)
    first = [(row.name, row.result) for row in rows if row.seed == prepared.recipe.seeds[0]]
    write_png(store.root / "audit.png", roc_figure(first), inside=store.root)
    write_png(store.root / "audit-accuracy.png", audit_traces(rows), inside=store.root)
    if short:
        show_audits(rows, store.root, console)
    else:
        console.print(audit_summary(rows), "", sep="\n")
    replicates = _replicate(auditor, watched)
    show_replicates(means_of(replicates), console)
    method = prepared.recipe.chosen_method
    compared = [*compare_audits(rows, method), *compare_replicates(replicates, method)]
    results = measure(prepared, store)[0].joined(compared)
    write_results(results, store.root)
    show_comparisons(results, console, short)
    if not short:  # a run says at its end what it has written
        show_audit_files(store.root, audit_files(store.root), console)
    return rows


def audit_files(folder: Path) -> list[str]:
    """Name the files of a folder that an audit has written."""
    return [name for name in FILES if (folder / name).exists()]


def _replicate(auditor: RunAuditor, watched: Console) -> list[PhaseReplicates]:
    """Make the reference models targets in turn, and write what is found into the folder."""
    replicates = []
    with counted("replicates", len(auditor.phases), watched) as step:
        for one in replicate_phases(auditor):
            replicates.append(one)
            step(one.phase.label)
    if replicates:
        write_replicates(replicates, auditor.store.root)
    return replicates


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
