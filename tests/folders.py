"""Runs' folders: jobs carried out into one, and what of it must be the same in two runs of the same jobs."""

from pathlib import Path

from redense.experiment.checkpoints import Store
from redense.experiment.whole_folders import UNCHECKED


def carried_out(engine, prepared, folder, jobs=None):
    """Let an engine carry out the jobs, by default all; return its events."""
    folder.mkdir(exist_ok=True)
    return list(engine.run(jobs or prepared.jobs, prepared.dataset, Store(folder)))


def folder_bytes(folder):
    """Yield the relative name and content of every checked file below a folder, sorted."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != UNCHECKED:
            yield str(path.relative_to(folder)), path.read_bytes()


def checkpoints(folder):
    """The names and bytes of a run's checkpoints."""
    return dict(folder_bytes(Path(folder) / "checkpoints"))
