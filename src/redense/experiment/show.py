"""The last step of a run: print what was trained, and what was found; read back, it is printed without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from redense.experiment.audit_rows import AuditRow, read_rows
from redense.experiment.finished import Printed
from redense.experiment.found import Found, find
from redense.experiment.phase_means import FILE as REPLICATES
from redense.experiment.phase_means import PhaseMean, read_means
from redense.experiment.report.audit_overview import audit_overview
from redense.experiment.report.comparisons import audit_sentences, comparisons_table, leakage_sentences
from redense.experiment.report.conclusion import conclusion
from redense.experiment.report.layers import Kept, Network, kept_table, layer_table
from redense.experiment.report.replicates import replicates_summary
from redense.experiment.report.table import results_table
from redense.experiment.results import Results
from redense.experiment.write_report import FILE as REPORT
from redense.terminal import prose, warn
from redense.text import visible


def show_network(network: Network, warning: str, console: Console) -> None:
    """Print what should be known of the data, if anything, and the network, layer by layer."""
    if warning:
        warn(warning, console)
        console.print()
    console.print(layer_table(network))


def show_notes(notes: Sequence[str], console: Console) -> None:
    """Print notes about a run's phases, a line each."""
    for note in notes:
        console.print(visible(note), highlight=False, markup=False, soft_wrap=True)


def show_results(results: Results, kept: Kept, network: Network, console: Console) -> None:
    """Print the tables of a run that has any rows: the weights `kept` by its sparse phases, and its results."""
    if kept:
        console.print(kept_table(kept), "", sep="\n")
    console.print(results_table(results, network.name), "", sep="\n")


def show_audits(rows: Sequence[AuditRow], folder: Path, console: Console) -> None:
    """Print what a run's audits found, a line a phase, and where all of it is."""
    more = f"All attacks are in {folder / REPORT}, and `redense audit {folder}` prints them."
    console.print(audit_overview(rows, more), "", sep="\n")


def show_replicates(means: Sequence[PhaseMean], console: Console) -> None:
    """Print what reference models give away, where there were enough of them."""
    if means:
        console.print(replicates_summary(means), "", sep="\n")


def show_audited(rows: Sequence[AuditRow], means: Sequence[PhaseMean], results: Results, console: Console) -> None:
    """Print every attack of a run's audits, and how phases compare."""
    from redense.experiment.report.audits import audit_summary

    console.print(audit_summary(rows), "", sep="\n")
    show_replicates(means, console)
    show_comparisons(results, console)


def show_written(folder: Path, written: Sequence[str], console: Console, more: str = "") -> None:
    """Print which files were written into a run's folder."""
    console.print(prose(f"Written: {folder / written[0]}, {', '.join(written[1:])}{more}"), "", sep="\n")


def show_comparisons(results: Results, console: Console, short: bool = False) -> None:
    """Print how phases compare, and what a run's claims amount to in words; with `short` those of its last phase."""
    if results.comparisons:
        console.print(comparisons_table(results), "", sep="\n")
    sentences = (*leakage_sentences(results), *audit_sentences(results, short))
    for sentence in sentences:
        console.print(prose(sentence))
    if sentences:
        console.print()


def show_conclusion(found: Found, written: Sequence[str], console: Console) -> None:
    """Print what was written, then what the run amounts to and where its report lies."""
    show_written(found.folder, written, console)
    console.print(prose(f"In short: {' '.join(conclusion(found.results, found.audits))}"), "", sep="\n")
    if found.audits_left_out:
        console.print(prose(found.audits_left_out), "", sep="\n")
    show_report(found.folder, console)


def show_report(folder: Path, console: Console) -> None:
    """Print where a run's report lies."""
    console.print(prose(f"The report: {folder / REPORT}"))


def show_again(printed: Printed, folder: Path, console: Console) -> None:
    """Print what a run and its audit, if any, printed when it was finished, from its folder."""
    found = find(folder)
    show_network(printed.network, printed.warning, console)
    console.print()
    show_notes(printed.notes, console)
    show_results(found.results, printed.kept, printed.network, console)
    if printed.audited:
        show_audits(read_rows(folder), folder, console)
        show_replicates(read_means(folder) if REPLICATES in printed.audited else [], console)
    show_comparisons(found.results, console, short=bool(printed.audited))
    show_conclusion(found, printed.written, console)
