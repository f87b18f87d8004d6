"""A run's folder: one run at a time, one recipe for good."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from redense.errors import FolderError
from redense.experiment import audit_rows
from redense.experiment.phase_means import FILE as REPLICATES_FILE
from redense.experiment.phase_means import WRITTEN as REPLICATES
from redense.experiment.plan import Fingerprints
from redense.experiment.recipe import Recipe
from redense.experiment.results import FILE as RESULTS_FILE
from redense.experiment.results import WRITTEN as RESULTS
from redense.experiment.shown import FILE as SHOWN_FILE
from redense.experiment.shown import WRITTEN as SHOWN
from redense.files.reading import Written, fields
from redense.files.writing import check_inside, why, write_whole
from redense.user_code import is_object_name

if TYPE_CHECKING:
    from redense.experiment.checkpoints import Store

RECIPE_FILE = "recipe.json"
PLAN_FILE = "plan.json"
PLAN_FORMAT = 1
LOCK_FILE = "lock"
ENDINGS = (LOCK_FILE, ".json", ".csv", ".png", ".html", ".log", ".safetensors", ".onnx")
"""How names of files end that are written into a run's folder."""
OWN_FOLDERS = ("audit", "checkpoints", "damaged", "progress")
FOLDERS = (*OWN_FOLDERS, "tensorboard", "wandb")
"""Folders that are made there, by a run itself and by what tells experiment trackers of it."""
SETTINGS_LIMIT = 2**22
"""Bytes that a folder's recipe or plan may have, 4 MiB: a hundred thousand seeds take less."""
_RECIPE = Written(
    "the recipe of a run",
    None,
    "choose another folder, or restore the file (results.json has the same under recipe)",
    limit=SETTINGS_LIMIT,
)
_PLAN = Written(
    "the plan of a run",
    PLAN_FORMAT,
    "the same `redense run` command writes it, and trains nothing that is trained already",
    limit=SETTINGS_LIMIT,
)

EXTENSIBLE = ("sparsities", "seeds", "controls", "audit", "references", "protocols")
"""Settings that may differ from the recipe a folder began with: they add jobs and change none."""


@dataclass(frozen=True)
class RunFolder:
    """An open run folder; `lock` is the descriptor that keeps other runs out as long as any process has it open."""

    path: Path
    store: Store
    lock: int


@contextmanager
def open_folder(path: Path, recipe: Recipe, needed_bytes: int, locked: bool = True) -> Iterator[RunFolder]:
    """Create or reopen a run's folder and lock it for the body, if it is to be `locked`.

    Raises `FolderError`, leaving everything as it was, when the path is no folder or cannot be written, when another
    run is using it or its file system has no locks, when it holds another recipe's run, or when the disk has less than
    `needed_bytes` left.
    """
    from redense.experiment.checkpoints import Store  # loads PyTorch, which reading a folder's recipe does not need

    check_folder(path, recipe, needed_bytes)
    with _held(path, locked) as lock:
        store = Store(path)
        try:
            store.discard_unfinished_writes()
        except OSError as error:  # such as too many open files
            raise FolderError(f"--out {path}: cannot be tidied {why(error)}") from None
        write_whole(path / RECIPE_FILE, json.dumps(recipe.to_mapping(), indent=1) + "\n", inside=path)
        yield RunFolder(path, store, lock)


@contextmanager
def hold_folder(path: Path, recipe: Recipe, locked: bool = True) -> Iterator[None]:
    """Lock the folder of a run for the body, as `open_folder` does and raising what it raises, but change nothing."""
    check_folder(path, recipe, 0)
    with _held(path, locked):
        yield


@contextmanager
def _held(path: Path, locked: bool) -> Iterator[int]:
    """Make a folder, if there is none, and hold its lock for the body, if it is to be locked."""
    created = _first_missing(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)  # less the umask
    except OSError as error:
        if created is not None:
            _remove_empty(path, created)
        raise FolderError(f"--out {path}: cannot be written {why(error)}") from None
    try:
        if locked:
            _lock(lock, path)
        yield lock
    finally:
        os.close(lock)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderError(
            f"--out {path}: another run is using this folder; wait for it to end or choose another folder"
        ) from None
    except OSError as error:
        raise FolderError(
            f"--out {path}: its file system has no locks ({error.strerror}), so that two runs could use the folder at "
            "once; choose another, or make sure that none does and add --no-lock"
        ) from None


def check_targets(path: Path) -> None:
    """Raise `FolderError` where a name that a run writes to is a link out of its folder, a pipe or a device.

    A folder may come from somebody else: what is written into it must not end up in a file elsewhere.
    """
    try:
        names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror}); expected a folder that you may list") from None
    for name in names:
        if name.endswith(ENDINGS) or name in FOLDERS:
            check_inside(path, path / name)


def refuse_newer(path: Path) -> None:
    """Raise `FolderError` where a file that would be written over is of a newer version of redense."""
    for written, name in (
        (RESULTS, RESULTS_FILE),
        (_PLAN, PLAN_FILE),
        (audit_rows.written(path), audit_rows.FILE),
        (SHOWN, SHOWN_FILE),
        (REPLICATES, REPLICATES_FILE),
    ):
        written.refuse_newer(path / name)


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of a run's folder; raise `FolderError` where there is none."""
    return _RECIPE.read(folder / RECIPE_FILE, Recipe.from_written)


@dataclass(frozen=True)
class Trust:
    """Which code of a folder its user stands for: `model` and `data` as they name it themselves, or with `all` any."""

    model: str | None = None
    data: str | None = None
    all: bool = False

    def check(self, recipe: Recipe, folder: Path) -> None:
        """Raise `FolderError` where the recipe of a folder names code, which would be run, that nobody stands for.

        >>> Trust(model="mine:net").check(Recipe(model="mine:net"), Path("runs/mine"))
        >>> Trust().check(Recipe(model="theirs:net", data="theirs:data"), Path("runs/theirs"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        redense.errors.FolderError: runs/theirs: its recipe names code, model theirs:net and data theirs:data, which ...
        """
        asked = [(name, getattr(recipe, name), named) for name, named in (("model", self.model), ("data", self.data))]
        foreign = [f"{name} {found}" for name, found, named in asked if is_object_name(found) and named != found]
        if foreign and not self.all:
            raise FolderError(
                f"{folder}: its recipe names code, {' and '.join(foreign)}, which would be run; if it is yours, say so "
                f"with {' '.join(f'--{one}' for one in foreign)} or --trust"
            )


def write_plan(folder: Path, fingerprints: Fingerprints) -> None:
    """Record beside the recipe what else determines the keys of its jobs."""
    values = {"format": PLAN_FORMAT, **dataclasses.asdict(fingerprints)}
    write_whole(folder / PLAN_FILE, json.dumps(values) + "\n", inside=folder)


def read_plan(folder: Path) -> Fingerprints:
    """Return what `write_plan` recorded; raise `FolderError` where nothing was, or in another format."""
    return _PLAN.read(folder / PLAN_FILE, partial(fields, Fingerprints))


def check_folder(path: Path, recipe: Recipe, needed_bytes: int) -> None:
    """Raise `FolderError` for everything that can be known about the folder without touching it."""
    existing = next(place for place in _places(path) if os.path.lexists(place))
    if not os.path.exists(existing):
        raise FolderError(f"--out {path}: {existing} is a link that leads nowhere; expected a folder or a free name")
    if not os.path.isdir(existing):
        raise FolderError(f"--out {path}: {existing} is a file; expected a folder or a name that is not taken")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FolderError(f"--out {path}: {existing} is not writable; choose another folder")
    _check_names(path, existing)
    check_targets(path)
    refuse_newer(path)
    if os.path.exists(path / RECIPE_FILE):
        _check_same_recipe(path, recipe)
    elif any(os.path.lexists(path / name) for name in (RESULTS_FILE, PLAN_FILE, *OWN_FOLDERS)):
        raise FolderError(
            f"--out {path}: holds a run without its {RECIPE_FILE}; restore that file ({RESULTS_FILE} has the same "
            "under recipe), or choose another folder"
        )
    elif os.path.exists(path) and any(entry.name != LOCK_FILE for entry in path.iterdir()):
        raise FolderError(f"--out {path}: holds files that are not a run's; choose an empty or a new folder")
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise FolderError(
            f"--out {path}: {free / 1e9:.2f} GB are free there, the checkpoints need {needed_bytes / 1e9:.2f} GB; "
            "free some space or choose another disk"
        )


def _check_names(path: Path, existing: Path) -> None:
    """Raise `FolderError` where the system takes no such path, or no such name of a folder that is yet to be made."""
    missing = [place for place in _places(path) if not os.path.exists(place)]
    for place in (path / LOCK_FILE, *(existing / one.name for one in missing)):
        try:
            os.lstat(place)
        except FileNotFoundError:
            pass  # a name like any other
        except (OSError, ValueError) as error:
            raise FolderError(f"--out {path}: cannot be written {why(error)}") from None


def _check_same_recipe(path: Path, recipe: Recipe) -> None:
    former, wanted = read_recipe(path).to_mapping(), recipe.to_mapping()
    differing = [name for name in wanted if wanted[name] != former[name] and name not in EXTENSIBLE]
    if differing:
        what = ", ".join(f"{name} was {former[name]!r} and is now {wanted[name]!r}" for name in differing)
        remedy = "choose another folder"
        if "validation" in differing and former["validation"] == 0:
            remedy += ": its models were trained on the examples that would validate"
        raise FolderError(f"--out {path}: holds another recipe's run: {what}; {remedy}")


def _first_missing(path: Path) -> Path | None:
    missing = [place for place in _places(path) if not os.path.exists(place)]
    return missing[-1] if missing else None


def _remove_empty(path: Path, first: Path) -> None:
    """Delete a folder and those above it up to the `first`, as far as they are empty: others may write there, too."""
    places = _places(path)
    for place in places[: places.index(first) + 1]:
        with suppress(OSError):
            place.rmdir()


def _places(path: Path) -> tuple[Path, ...]:
    """List a path and all folders above it, from below."""
    try:
        return (path, *path.absolute().parents)
    except FileNotFoundError:
        raise FolderError(f"--out {path}: the current folder has been deleted; go into another one") from None
