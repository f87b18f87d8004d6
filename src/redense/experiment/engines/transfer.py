"""Checkpoints between a machine's own disk and a storage that all machines of a cluster reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec

from redense.errors import RecipeError, RedenseError
from redense.experiment.checkpoints import Store
from redense.experiment.whole_folders import INDEX
from redense.text import one_line


@dataclass(frozen=True)
class Storage:
    """A folder anywhere that fsspec reaches, such as ``s3://bucket/run``, ``gs://...`` or ``file:///mnt/run``.

    A checkpoint's index is written last and names the checksums of all other files, so that half a checkpoint is
    never taken for a whole one.
    """

    url: str

    def check(self) -> None:
        """Raise `RecipeError` for a URL of no file system, or of one that is not installed; nothing is reached yet."""
        with self._open():
            pass

    def push(self, store: Store, key: str) -> None:
        """Copy a finished job's checkpoint from the machine's disk to the storage."""
        folder = store.finished_folder(key)
        names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == INDEX, name))
        with self._open() as (system, root):
            system.makedirs(f"{root}/{key}", exist_ok=True)
            for name in names:
                system.put_file(str(folder / name), f"{root}/{key}/{name}")

    def pull(self, store: Store, key: str) -> bool:
        """Copy a checkpoint to the machine's disk unless it is there; tell whether it is there, whole, now."""
        if store.has(key):
            return True
        with self._open() as (system, root):
            source = f"{root}/{key}"
            if not system.exists(f"{source}/{INDEX}"):
                return False
            with store.receiving(key) as folder:
                for path in system.ls(source, detail=False):
                    system.get_file(path, str(folder / Path(path).name))
        return store.has(key)

    @contextmanager
    def _open(self) -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
        """Give the body the file system and the folder; raise `RecipeError` for what they refuse."""
        try:
            system, root = fsspec.core.url_to_fs(self.url)
            yield system, f"{root.rstrip('/')}/checkpoints"
        except RedenseError:
            raise
        except Exception as error:  # file systems have no kind of error in common
            raise RecipeError(
                f"ray_storage: {self.url}: cannot be used ({type(error).__name__}: {one_line(error)}); expected a URL "
                "that fsspec reaches, such as file:///mnt/run, or s3://bucket/run with s3fs installed"
            ) from error
