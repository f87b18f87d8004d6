"""Before training: print with what a run will be trained."""

from __future__ import annotations

from rich.console import Console

from redense.experiment.engines.choose import usable_cores
from redense.experiment.precision import why_slow
from redense.experiment.prepare import Prepared
from redense.files.cgroups import available_bytes, cpu_quota, memory_left
from redense.terminal import prose, warn


def show_engine(prepared: Prepared, console: Console) -> None:
    """Print which engine trains, and why; before that, what should be known of the precision."""
    choice, precision = prepared.choice, prepared.recipe.precision
    elsewhere = choice.resources.ray_address is not None  # nothing is known here of the devices there
    slow = None if precision == "fp32" or elsewhere else why_slow(choice.device)
    if slow:
        console.print()
        warn(f"{slow}: precision {precision} is slower here than fp32", console)
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
