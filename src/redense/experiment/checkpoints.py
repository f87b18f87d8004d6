"""What a run leaves on disk: one checksummed folder a finished phase, one a phase in progress.

A folder that is damaged, another job's or not of the run's form is set aside, never read, and the job is trained again.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from redense.errors import FolderError
from redense.experiment.checkpoint_files import (
    read_checkpoint,
    read_progress,
    read_signals,
    write_checkpoint,
    write_progress,
)
from redense.experiment.expected import Expected, Form
from redense.experiment.plan import Job
from redense.experiment.trained import Checkpoint, Progress
from redense.experiment.whole_folders import Damaged, read_unchecked, remove, whole_folder
from redense.files.writing import TEMPORARY, check_inside, make_folder, why
from redense.signals import Signals

T = TypeVar("T")
_KEY = re.compile(r"\w+")
_EPOCH = re.compile(r"[0-9]{6,}")


@dataclass(frozen=True)
class Store:
    """The checkpoints below a run's folder. Several processes may write at once, never the same key."""

    root: Path
    set_aside: list[str] = field(default_factory=list)
    """What was found damaged, in a person's words."""
    reads_only: bool = False
    """Whether what is damaged stays where it is: only a run that trains it again moves it out of the way."""
    form: Form | None = None
    """What all checkpoints of the run have in common, where it is known: others are taken for damaged."""
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """The run's jobs by key, as far as they are known: what says otherwise is taken for damaged."""

    def expecting(self, form: Form, jobs: Iterable[Job] = ()) -> Store:
        """Return the same store with what is now known of its checkpoints."""
        return replace(self, form=form, jobs={**self.jobs, **{job.key: job for job in jobs}})

    def save(self, key: str, job: Mapping[str, Any], checkpoint: Checkpoint, environment: Mapping[str, Any]) -> None:
        """Store a finished job and drop its progress."""
        target = self.finished_folder(key)
        check_inside(self.root, target.parent)
        write_checkpoint(target, key, job, checkpoint, environment)
        self._drop_progress(key)

    def load(self, key: str) -> Checkpoint | None:
        """Return a finished job's result, or None when there is none or it is damaged (then it is set aside)."""
        return self._guarded(self.finished_folder(key), partial(read_checkpoint, key, self._expected(key)))

    def load_signals(self, key: str) -> Signals | None:
        """Return what a finished job's model says about the training, then the test examples, without the model."""
        return self._guarded(self.finished_folder(key), partial(read_signals, key, self._expected(key)))

    def is_finished(self, key: str) -> bool:
        """Tell whether a job's checkpoint is there, whole or damaged: nothing is read."""
        folder = self.finished_folder(key)
        return _is_there(folder) and os.path.isdir(folder)

    def has(self, key: str) -> bool:
        """Tell whether `load` will give a result; every checksum is compared."""
        return self.load(key) is not None

    def environment(self, key: str) -> dict[str, Any]:
        """Return when, how long and on what a job was trained or is in training; nothing where that is not known."""
        folders = [self.finished_folder(key), *self._states(key)]
        return next((read_unchecked(folder) for folder in folders if os.path.isdir(folder)), {})

    def save_progress(self, key: str, progress: Progress, environment: Mapping[str, Any] | None = None) -> None:
        """Store the state after an epoch, then drop the one before it."""
        target = self._progress(key) / f"{progress.epoch:06d}"
        check_inside(self.root, target.parent)
        if target.parent.is_file():
            self._set_aside(target.parent, f"{target.parent} is no folder")
        write_progress(target, key, progress, environment or {})
        for older in self._progress(key).glob("*"):  # none of a folder that may be written and not read
            if older != target:
                remove(older)

    def load_progress(self, key: str) -> Progress | None:
        """Return the latest undamaged state of a job in progress, if there is one."""
        for folder in self._states(key):
            progress = self._guarded(folder, partial(read_progress, key, self._expected(key)))
            if progress is not None:
                return progress
        return None

    def epochs_done(self, key: str) -> int:
        """Return how many epochs of a job in progress are stored, as names of folders say; nothing is read."""
        return max((int(folder.name) for folder in self._states(key)), default=0)

    @contextmanager
    def receiving(self, key: str) -> Iterator[Path]:
        """Give a folder to copy a finished job's files into; it takes the job's place when the body ends."""
        target = self.finished_folder(key)
        check_inside(self.root, target.parent)
        with whole_folder(target, synced=True) as folder:
            yield folder

    def discard_unfinished_writes(self) -> None:
        """Delete what a killed process left half-written; only while no other process writes."""
        # what lies elsewhere is not ours
        phases = [begun for begun in self.root.glob("progress/*") if not begun.is_symlink()]
        for place in (self.root, self.root / "checkpoints", *phases):
            for unfinished in place.glob(f"{TEMPORARY}*"):
                remove(unfinished)
        for begun in phases:
            if _KEY.fullmatch(begun.name) and self.is_finished(begun.name):
                remove(begun)

    def finished_folder(self, key: str) -> Path:
        """Where a finished job lies or will lie; raise `FolderError` for what is no key: a path could lead anywhere."""
        if not _KEY.fullmatch(key):
            raise FolderError(f"checkpoint {key!r}: expected the key of a job, letters and digits")
        return self.root / "checkpoints" / key

    def _expected(self, key: str) -> Expected:
        return Expected(self.jobs.get(key), self.form)

    def _progress(self, key: str) -> Path:
        return self.root / "progress" / key

    def _states(self, key: str) -> list[Path]:
        """List the stored states of a job in progress, the latest first; other names are no states."""
        begun = self._progress(key)
        if not _is_there(begun) or not os.path.isdir(begun):
            return []
        check_inside(self.root, begun)
        states = (path for path in begun.glob("*") if _EPOCH.fullmatch(path.name))
        return sorted(states, key=lambda path: int(path.name), reverse=True)

    def _drop_progress(self, key: str) -> None:
        if os.path.lexists(self._progress(key)):
            remove(self._progress(key))

    def _guarded(self, folder: Path, read: Callable[[Path], T]) -> T | None:
        if not _is_there(folder):
            return None
        try:
            if not os.path.isdir(folder):
                raise Damaged(f"{folder} is no folder")
            return read(folder)
        except Damaged as damage:
            if not self.reads_only:
                self._set_aside(folder, str(damage))
            return None

    def _set_aside(self, folder: Path, reason: str) -> None:
        aside = self.root / "damaged"
        make_folder(aside, inside=self.root)
        name = "-".join(folder.relative_to(self.root).parts)
        target = next(path for number in count() if not os.path.lexists(path := aside / f"{name}.{number}"))
        try:
            folder.rename(target)
        except OSError as error:
            raise FolderError(f"{reason}; it cannot be set aside {why(error)}") from None
        self.set_aside.append(f"{reason}; set aside as {target} and trained again")


def _is_there(path: Path) -> bool:
    """Tell whether anything has this name; raise `FolderError` where nobody can, as below an unreadable folder."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last of names that none can have
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return False
        raise FolderError(f"{path}: cannot be looked for ({error.strerror}); make its folder readable") from None
    return True
