"""What a finished run leaves, so that the same command prints it again without training, data or PyTorch.

What it takes is kept under the key of all that a run's output depends on, and believed where every file is as it was.
"""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from redense.experiment.machine import machine
from redense.experiment.recipe import Recipe
from redense.experiment.report.layers import Kept, Network
from redense.experiment.resources import Resources
from redense.files.kept import key_of, read_kept, write_kept
from redense.files.reading import Unread, fields, plain_sha256
from redense.user_code import is_object_name

FILE = "finished.json"
FORMAT = 1
FURTHER_LIBRARIES = ("jinja2", "matplotlib", "safetensors", "torchvision")
"""Libraries that files of a run depend on, beside those that a report names."""
DEVICES = ("/dev/nvidia*", "/dev/kfd", "/dev/dxg")
"""Where systems show accelerators, of which ``auto`` takes one."""
HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""Variables of the environment that hide them from PyTorch."""
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Printed:
    """What is printed of a finished run and stands in no other of its files, and the SHA-256 of each of these.

    `warning` is about its data, `notes` about its phases; `written` and `audited` name the files that the run and its
    audit, if any, wrote.
    """

    network: Network
    warning: str
    notes: tuple[str, ...]
    kept: Kept
    written: tuple[str, ...]
    audited: tuple[str, ...]
    files: dict[str, str]


def conditions(recipe: Recipe, data_root: str | Path | None, resources: Resources) -> str | None:
    """Return the key of all that a run's output depends on, None where the user's own code is a part of it.

    That is the recipe, its data, what may be used, this machine with its devices, the versions, and redense itself.
    Raises `DataError` for a `data_root` that is no folder.
    """
    from redense.data.origin import origin

    data = None if is_object_name(recipe.model) else origin(recipe.data, data_root)
    if data is None:
        return None
    determinants = {
        "format": FORMAT,
        "recipe": recipe.to_mapping(),
        "data": data,
        "resources": dataclasses.asdict(resources),
        "machine": machine(),
        "versions": {name: version(name) for name in FURTHER_LIBRARIES},
        "devices": sorted(name for pattern in DEVICES for name in glob.glob(pattern)),
        "hiding": {name: os.environ.get(name) for name in HIDING},
        "redense": {str(path.relative_to(PACKAGE)): digest(path) for path in _sources()},
    }
    return key_of(determinants)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a run's folder, by its name there; not of locks, logs and this one's."""
    from redense.experiment.folder import LOCK_FILE

    found = sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names)
    named = {str(path.relative_to(folder)): path for path in found}
    return {
        name: digest(path)
        for name, path in named.items()
        if name not in (FILE, LOCK_FILE) and not name.endswith(".log")
    }


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, "" of what is no plain file or cannot be read."""
    try:
        return plain_sha256(path)
    except (OSError, ValueError):
        return ""


def write_finished(printed: Printed, key: str, folder: Path) -> None:
    """Keep what a run, finished under the conditions of that key, leaves in its folder."""
    write_kept(folder / FILE, key, dataclasses.asdict(printed), inside=folder)


def read_finished(folder: Path, key: str) -> Printed | None:
    """Return what `write_finished` kept; None where nothing is, or that of other conditions."""
    kept = read_kept(folder / FILE, key)
    if kept is None:
        return None
    try:
        return fields(Printed, {name: value for name, value in kept.items() if name != "key"})
    except Unread:
        return None


def _sources() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.suffix != ".pyc")
