"""The last step of a run: print what will be trained, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from redense.experiment.cgroups import cpu_quota, memory_left
from redense.experiment.checkpoints import Store
from redense.experiment.engines.choose import usable_cores
from redense.experiment.found import Found
from redense.experiment.memory import available_bytes
from redense.experiment.mixed import mixed_notes
from redense.experiment.precision import why_slow
from redense.experiment.prepare import Prepared
from redense.experiment.report.comparisons import audit_sentences, comparisons_table, leakage_sentences, with_opponent
from redense.experiment.report.conclusion import conclusion
from redense.experiment.report.layers import kept_table, layer_table
from redense.experiment.report.table import results_table
from redense.experiment.results import Results
from redense.experiment.write_report import FILE as REPORT
from redense.phases import NAMES, Phase
from redense.sparsity.masks import Masks
from redense.terminal import prose, warn
from redense.text import visible


def show_prepared(prepared: Prepared, console: Console) -> None:
    """Print what should be known of data and precision before training starts, and the network, layer by layer."""
    choice, precision = prepared.choice, prepared.recipe.precision
    elsewhere = choice.resources.ray_address is not None  # nothing is known here of the devices there
    reason = None if precision == "fp32" or elsewhere else why_slow(choice.device)
    slow = f"{reason}: precision {precision} is slower here than fp32" if reason else ""
    for warning in filter(None, (prepared.dataset.warning, slow)):
        warn(warning, console)
        console.print()
    console.print(layer_table(prepared.model, prepared.dataset.input_shape, prepared.model_name))


def show_engine(prepared: Prepared, console: Console) -> None:
    """Print which engine trains, and why."""
    choice, precision = prepared.choice, prepared.recipe.precision
    where = choice.device if precision == "fp32" else f"{choice.device} in {precision}"
    console.print("", prose(f"Engine: {choice.name} on {where} ({choice.reason})"), "", sep="\n")


def show_machine(console: Console) -> None:
    """Print how many cores and how much memory there are to work with, and what limits them."""
    usable, cores = usable_cores()
    quota, left = cpu_quota(), memory_left()
    of_cores = f"a control group's quota of {quota:g}" if quota is not None else "no quota"
    of_memory = f"control groups leave {left / 1e9:.1f} GB" if left is not None else "no control group's limit"
    free = f"{available_bytes() / 1e9:.1f} GB of memory free"
    line = f"Machine: {usable} of {cores} cores ({of_cores}), {free} ({of_memory})"
    console.print(line, highlight=False, soft_wrap=True)


def show_notes(prepared: Prepared, store: Store, console: Console) -> None:
    """Print what was found damaged, and phases that were trained under different arithmetic."""
    for note in (*store.set_aside, *mixed_notes(prepared.jobs, store)):
        console.print(visible(note), highlight=False, markup=False, soft_wrap=True)


def show_results(prepared: Prepared, results: Results, masks: Mapping[Phase, Masks], console: Console) -> None:
    """Print the tables of a run that has any rows; `masks` are those of its sparse phases."""
    kinds = dict.fromkeys(phase.kind for phase in prepared.recipe.phases_at(0.0) if phase.kind != "sparse")
    without_masks = ", ".join(NAMES[kind] for kind in kinds)
    if masks:
        console.print(kept_table(prepared.model, masks, without_masks), "", sep="\n")
    console.print(results_table(results, prepared.model_name), "", sep="\n")


def show_comparisons(results: Results, console: Console, short: bool = False) -> None:
    """Print how phases compare, and what a run's claims amount to in words; with `short` those of its last phase."""
    if results.comparisons:
        console.print(comparisons_table(results), "", sep="\n")
    audits = [one.sentence for one in with_opponent(results, results.audits)] if short else audit_sentences(results)
    sentences = (*leakage_sentences(results), *audits)
    for sentence in sentences:
        console.print(prose(sentence))
    if sentences:
        console.print()


def show_conclusion(found: Found, written: Sequence[str], console: Console) -> None:
    """Print what was written, then what the run amounts to and where its report lies."""
    console.print(prose(f"Written: {found.folder / written[0]}, {', '.join(written[1:])}"), "", sep="\n")
    console.print(prose(f"In short: {' '.join(conclusion(found.results, found.audits))}"), "", sep="\n")
    if found.audits_left_out:
        console.print(prose(found.audits_left_out), "", sep="\n")
    console.print(prose(f"The report: {found.folder / REPORT}"))
