"""Runs' folders: jobs carried out into one, and what of it must be the same in two runs of the same jobs."""

import hashlib
import json
from pathlib import Path

from redense.experiment.checkpoints import Store
from redense.experiment.whole_folders import INDEX, UNCHECKED


def resealed(folder, **changes):
    """Change a checkpoint's index, and compute all checksums anew, as somebody would who knows how; ... deletes."""
    body = {**json.loads((folder / INDEX).read_text()), **changes}
    del body["checksum"]
    body["files"] = changes.get(
        "files", {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in body["files"]}
    )
    body = {name: value for name, value in body.items() if value is not ...}
    checksum = hashlib.sha256(json.dumps(body, sort_keys=True, indent=1).encode()).hexdigest()
    (folder / INDEX).write_text(json.dumps({**body, "checksum": checksum}, sort_keys=True, indent=1))


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
