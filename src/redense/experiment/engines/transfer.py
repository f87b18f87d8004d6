"""Checkpoints between a machine's own disk and a storage that all machines of a cluster reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import fsspec

from redense.experiment.checkpoints import Store
from redense.experiment.whole_folders import INDEX


@dataclass(frozen=True)
class Storage:
    """A folder anywhere that fsspec reaches, such as ``s3://bucket/run``, ``gs://...`` or ``file:///mnt/run``.

    A checkpoint's index is written last and names the checksums of all other files, so that half a checkpoint is
    never taken for a whole one.
    """

    url: str

    def push(self, store: Store, key: str) -> None:
        """Copy a finished job's checkpoint from the machine's disk to the storage."""
        system, root = self._open()
        folder = store.finished_folder(key)
        names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == INDEX, name))
        system.makedirs(f"{root}/{key}", exist_ok=True)
        for name in names:
            system.put_file(str(folder / name), f"{root}/{key}/{name}")

    def pull(self, store: Store, key: str) -> bool:
        """Copy a checkpoint to the machine's disk unless it is there; tell whether it is there, whole, now."""
        if store.has(key):
            return True
        system, root = self._open()
        source = f"{root}/{key}"
        if not system.exists(f"{source}/{INDEX}"):
            return False
        with store.receiving(key) as folder:
            for path in system.ls(source, detail=False):
                system.get_file(path, str(folder / Path(path).name))
        return store.has(key)

    def _open(self) -> tuple[fsspec.AbstractFileSystem, str]:
        system, root = fsspec.core.url_to_fs(self.url)
        return system, f"{root.rstrip('/')}/checkpoints"
