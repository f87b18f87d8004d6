"""Phases of one run that were trained under different arithmetic: named always, added to only where asked for.

Keys do not name a processor or a version of PyTorch, so that a folder may move; its bits come from where they were
made. Every checkpoint records that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from redense.errors import FolderError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import kernels
from redense.experiment.plan import Job

NOT_SAME = "the same recipe under one of them gives other bits"


def refuse_mixed(jobs: Sequence[Job], store: Store, device: str | None) -> None:
    """Raise `FolderError` where jobs are left to train and what is there was trained under other arithmetic.

    That is other than this process has for a `device`, or, with None, where a cluster's machines train, which it does
    not know, of several kinds.
    """
    found = recorded(jobs, store)
    if found and not all(store.is_finished(job.key) for job in jobs):
        differing = differences([*found, *([] if device is None else [kernels(device)])])
        if differing:
            raise FolderError(
                f"{store.root}: its phases were trained under "
                f"{'several kinds of arithmetic' if device is None else 'other arithmetic than this process has'} "
                f"({'; '.join(differing)}), and {NOT_SAME}; choose another folder, or go on all the same with --mixed"
            )


def mixed_notes(jobs: Sequence[Job], store: Store) -> list[str]:
    """Say which phases of a run were trained under different arithmetic; nothing where all agree."""
    differing = differences(recorded(jobs, store))
    return [f"Mixed: {'; '.join(differing)}: {NOT_SAME}"] if differing else []


def recorded(jobs: Sequence[Job], store: Store) -> list[dict[str, Any]]:
    """Return what is recorded of the arithmetic of jobs that are finished or in training."""
    return [environment for job in jobs if (environment := store.environment(job.key))]


def differences(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in which settings some arithmetic differs; what only some have recorded is not held against the others.

    >>> differences([{"torch": "2.15.0", "cpu": "A"}, {"torch": "2.15.0"}, {"torch": "2.15.0", "cpu": "B"}])
    ['cpu: A (1), B (1)']
    """
    found = []
    for name in kernels("cpu"):
        counts = Counter(str(each[name]) for each in environments if name in each)
        if len(counts) > 1:
            values = ", ".join(f"{value or 'not set'} ({count})" for value, count in counts.items())
            found.append(f"{name}: {values}")
    return found
