"""Phases of one run that were trained under different arithmetic: named always, added to only where asked for.

Keys do not name a processor or a version of PyTorch, so that a folder may move; its bits come from where they were
made. Every checkpoint records that.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from redense.errors import FolderError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import kernels
from redense.experiment.plan import Job
from redense.experiment.prepare import Prepared
from redense.text import visible

NOT_SAME = "the same recipe under one of them gives other bits"
LONGEST = 80
"""Letters of a setting that are shown."""


def refuse_mixed(prepared: Prepared, store: Store) -> None:
    """Raise `FolderError` where jobs are left to train and what is there was trained under other arithmetic.

    That is other than this process has, or, where a cluster's machines train, which it does not know, of several kinds.
    """
    choice, jobs = prepared.choice, prepared.jobs
    found = recorded(jobs, store)
    if choice.resources.mixed or not found or all(store.is_finished(job.key) for job in jobs):
        return
    differing = differences(found, kernels(choice.device) if choice.trains_here else None)
    if differing:
        raise FolderError(
            f"{store.root}: its phases were trained under "
            f"{'other arithmetic than this process has' if choice.trains_here else 'several kinds of arithmetic'} "
            f"({'; '.join(differing)}), and {NOT_SAME}; choose another folder, or go on all the same with --mixed"
        )


def mixed_notes(jobs: Sequence[Job], store: Store) -> list[str]:
    """Say how many of a run's jobs were trained under which arithmetic; nothing where all agree."""
    differing = differences(recorded(jobs, store))
    return [f"Mixed: {'; '.join(differing)}: {NOT_SAME}"] if differing else []


def recorded(jobs: Sequence[Job], store: Store) -> list[dict[str, Any]]:
    """Return what is recorded of the arithmetic of jobs that are finished or in training."""
    return [environment for job in jobs if (environment := store.environment(job.key))]


def differences(environments: Sequence[Mapping[str, Any]], here: Mapping[str, str] | None = None) -> list[str]:
    """Say in which settings some arithmetic differs, that of this process included where it is given as `here`.

    What only some have recorded is not held against the others.

    >>> trained = [{"torch": "2.15.0", "cpu": "A"}, {"torch": "2.15.0"}, {"torch": "2.15.0", "cpu": "B"}]
    >>> differences(trained)
    ['cpu: A (1), B (1)']
    >>> differences(trained[:1], {"cpu": "C"})
    ['cpu: A (1), here C']
    """
    found = []
    for name in kernels("cpu"):
        counts = Counter(_shown(each[name]) for each in environments if name in each)
        own = [_shown(here[name])] if here and name in here else []
        if len({*counts, *own}) > 1:
            values = [f"{value} ({count})" for value, count in counts.items()]
            found.append(f"{name}: {', '.join([*values, *(f'here {value}' for value in own)])}")
    return found


def _shown(value: object) -> str:
    """Write a setting in a line: what a folder has recorded may be anything."""
    return textwrap.shorten(visible(value), LONGEST, placeholder="...") or "not set"
