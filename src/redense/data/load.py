"""Find the data that a recipe names."""

from __future__ import annotations

import os
from pathlib import Path

from redense.data.dataset import Dataset
from redense.data.named import NAMED, load_named
from redense.data.sources import from_folder, from_function, from_npz
from redense.errors import DataError
from redense.text import did_you_mean
from redense.user_code import is_object_name


def data_roots(data_root: Path | None = None) -> list[Path]:
    """List the folders in which named data sets are looked for, first to last.

    `data_root`, then ``$REDENSE_DATA``, then the user's cache folder. A download goes to `data_root` if it is
    given, else to the cache.
    """
    import platformdirs

    if data_root is not None and not data_root.is_dir():
        raise DataError(f"--data-root {data_root}: no such folder; create it or name another")
    cache = platformdirs.user_cache_path("redense")
    variable = os.environ.get("REDENSE_DATA")
    return [*([data_root] if data_root else []), *([Path(variable)] if variable else []), cache]


def load_data(name: str, data_root: Path | None = None) -> Dataset:
    """Load a named data set, an NPZ file, a folder of class folders or what a function returns.

    >>> load_data("digits").x_train.shape
    (1000, 1, 28, 28)
    """
    if name in NAMED:
        roots = data_roots(data_root)
        download_to = roots[0] if data_root else roots[-1]
        return load_named(name, roots, download_to)
    if name.endswith(".npz"):
        return from_npz(Path(name))
    if is_object_name(name):
        return from_function(name)
    if Path(name).is_dir():
        return from_folder(Path(name))
    raise DataError(
        f"unknown data {name!r}{did_you_mean(name, NAMED)}; expected one of {', '.join(NAMED)}, FILE.npz, "
        "a folder of class folders or package.module:function"
    )
