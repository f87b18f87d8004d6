"""The data sets that have a name: where their files lie, how they are checked, read and fetched."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from redense.data.dataset import Dataset, checked
from redense.errors import DataError
from redense.files.writing import TEMPORARY, check_inside, make_folder

Arrays = tuple[npt.ArrayLike, npt.ArrayLike]

SPLIT_SEED = 0
"""Fixed for good: the splits of digits and location30 are part of what those names mean."""
LARGEST = 2**28
"""Bytes that a file of the catalogue may have; the largest has 155 MB."""


@dataclass(frozen=True)
class NamedDataset:
    """One entry of the catalogue.

    `files` maps the files that must lie below the data root to their MD5 or SHA-256 (None where no checksum of the
    unpacked file is published; the reader checks its structure instead); `fetch` puts them there.
    """

    summary: str
    download: str
    files: dict[str, str | None]
    read: Callable[[Path], Dataset]
    fetch: Callable[[Path], None]

    def missing(self, root: Path) -> list[str]:
        """List the files that are not below `root`."""
        return [name for name in self.files if not os.path.isfile(root / name)]

    def verify(self, root: Path) -> None:
        """Compare every file with its published checksum; raise `DataError` for one that differs, or is too large."""
        for name, expected in self.files.items():
            size = os.path.getsize(root / name)
            if size > LARGEST:  # before a byte of it is read
                raise DataError(
                    f"{root / name}: has {size:,} bytes; expected at most {LARGEST:,}: delete the file and run again"
                )
            if expected is None:
                continue
            kind = "md5" if len(expected) == 32 else "sha256"
            with (root / name).open("rb") as file:
                found = hashlib.file_digest(file, kind).hexdigest()
            if found != expected:
                raise DataError(
                    f"{root / name}: damaged or truncated: {kind.upper()} is {found}, expected {expected}; "
                    "delete the file and run again"
                )


def _read_digits(_root: Path) -> Dataset:
    """Read scikit-learn's 8x8 digits, enlarged to 28x28; 1,000 members and 797 non-members, stratified."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = torch.from_numpy(digits.images / 16.0)[:, None]
    large = torch.nn.functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    x_train, x_test, y_train, y_test = train_test_split(
        large.numpy().astype(np.float32),
        digits.target,
        train_size=1000,
        stratify=digits.target,
        random_state=SPLIT_SEED,
    )
    return checked("digits", (x_train, y_train), (x_test, y_test), num_classes=10)


def _read_location30(root: Path) -> Dataset:
    """Read the one CSV in the archive: class 1 to 30, then 446 binary features; 1,600 random members."""
    with tarfile.open(root / LOCATION30_FILE) as archive:
        member = next(entry for entry in archive if entry.isfile())
        extracted = archive.extractfile(member)
        if extracted is None:
            raise DataError(f"{root / LOCATION30_FILE}: {member.name} cannot be read; expected one CSV file")
        rows = np.array(list(csv.reader(io.TextIOWrapper(extracted, "ascii"))), dtype=np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    x, y = rows[order, 1:].astype(np.float32), rows[order, 0] - 1
    return checked("location30", (x[:1600], y[:1600]), (x[1600:], y[1600:]), num_classes=30)


def _fetch_location30(root: Path) -> None:
    from torchvision.datasets.utils import download_url

    path = root / LOCATION30_FILE
    download_url(LOCATION30_URL, str(path.parent), path.name)


def _read_idx(folder: str) -> Callable[[Path], Dataset]:
    """Read the four files of MNIST and its like as they are: torchvision, which would do, takes seconds to import."""

    def read(root: Path) -> Dataset:
        images, labels, *test = (_idx_array(root / file) for file in _idx_files(folder, (None,) * 4))
        return checked(folder, (images, labels), (test[0], test[1]), num_classes=10)

    return read


def _idx_array(path: Path) -> npt.NDArray[np.uint8]:
    """Read an IDX file of bytes: two zeros, the type (8), the number of dimensions, each as 32 bits, the values."""
    raw = np.fromfile(path, dtype=np.uint8)
    if raw[:3].tolist() != [0, 0, 8]:
        raise ValueError(f"{path.name} is no IDX file of bytes")
    start = 4 + 4 * int(raw[3])
    return raw[start:].reshape(raw[4:start].view(">i4"))


def _read_torchvision(class_name: str) -> Callable[[Path], Dataset]:
    def read(root: Path) -> Dataset:
        import torchvision

        cls = getattr(torchvision.datasets, class_name)
        train, test = (cls(str(root), train=is_train, download=False) for is_train in (True, False))
        classes = len(train.classes)
        return checked(class_name, _torchvision_arrays(train), _torchvision_arrays(test), classes)

    return read


def _torchvision_arrays(split: object) -> Arrays:
    """Take the arrays [n, h, w, c] that CIFAR holds in memory."""
    data = np.asarray(split.data)  # type: ignore[attr-defined]
    return data.transpose(0, 3, 1, 2), np.asarray(split.targets)  # type: ignore[attr-defined]


def _fetch_torchvision(class_name: str) -> Callable[[Path], None]:
    def fetch(root: Path) -> None:
        import torchvision

        cls = getattr(torchvision.datasets, class_name)
        for is_train in (True, False):
            cls(str(root), train=is_train, download=True)

    return fetch


def _idx_files(folder: str, checksums: tuple[str | None, ...]) -> dict[str, str | None]:
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return {f"{folder}/raw/{part}-ubyte": checksum for part, checksum in zip(parts, checksums, strict=True)}


LOCATION30_FILE = "location30/dataset_location.tgz"
LOCATION30_URL = "https://github.com/privacytrustlab/datasets/raw/master/dataset_location.tgz"

NAMED = {
    "digits": NamedDataset(
        "1,797 handwritten digits of scikit-learn, enlarged to 28x28, 10 classes; 1,000 members",
        "nothing (part of scikit-learn)",
        {},
        _read_digits,
        lambda _root: None,
    ),
    "fashion-mnist": NamedDataset(
        "70,000 grey images of clothes, 28x28, 10 classes; 60,000 members",
        "31 MB",
        _idx_files(
            "FashionMNIST",
            (
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "9018921c3c673c538a1fc5bad174d6f9",
                "8181f5470baa50b63fa0f6fddb340f0a",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
        ),
        _read_idx("FashionMNIST"),
        _fetch_torchvision("FashionMNIST"),
    ),
    "mnist": NamedDataset(
        "70,000 grey handwritten digits, 28x28, 10 classes; 60,000 members",
        "12 MB",
        _idx_files("MNIST", (None, None, None, None)),
        _read_idx("MNIST"),
        _fetch_torchvision("MNIST"),
    ),
    "cifar10": NamedDataset(
        "60,000 colour photographs, 3x32x32, 10 classes; 50,000 members",
        "170 MB",
        {
            "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
            "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
            "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
            "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
        _read_torchvision("CIFAR10"),
        _fetch_torchvision("CIFAR10"),
    ),
    "cifar100": NamedDataset(
        "60,000 colour photographs, 3x32x32, 100 classes; 50,000 members",
        "169 MB",
        {
            "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
            "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
        },
        _read_torchvision("CIFAR100"),
        _fetch_torchvision("CIFAR100"),
    ),
    "location30": NamedDataset(
        "5,010 check-in profiles, 446 binary features, 30 classes; 1,600 members",
        "0.3 MB",
        {LOCATION30_FILE: "927203f85a868f8ee17a0ded1dc61699efe602167beabe34fbf45b4b1de94b33"},
        _read_location30,
        _fetch_location30,
    ),
}


def data_roots(data_root: Path | None = None) -> list[Path]:
    """List the folders in which named data sets are looked for, first to last.

    `data_root`, then ``$REDENSE_DATA``, then the user's cache folder. A download goes to `data_root` if it is
    given, else to the cache.
    """
    import platformdirs

    if data_root is not None and not os.path.isdir(data_root):
        raise DataError(f"--data-root {data_root}: no such folder; create it or name another")
    cache = platformdirs.user_cache_path("redense")
    variable = os.environ.get("REDENSE_DATA")
    return [*([data_root] if data_root else []), *([Path(variable)] if variable else []), cache]


def load_named(name: str, data_root: Path | None = None) -> Dataset:
    """Load a named data set from the first of `data_roots` that holds all its files; else download it.

    Raises `DataError` when a file is damaged, or when one is missing and cannot be downloaded.
    """
    entry, roots = NAMED[name], data_roots(data_root)
    download_to = roots[0] if data_root else roots[-1]
    root = next((root for root in roots if not entry.missing(root)), None)
    if root is None:
        _download(name, entry, roots, download_to)
        root = download_to
    try:
        entry.verify(root)
        return entry.read(root)
    except DataError:
        raise
    except Exception as error:  # the system, archives, torchvision and NumPy each have kinds of their own
        raise DataError(
            f"data {name}: cannot be read from {root} ({error}); delete {', '.join(entry.files)} there and run again"
        ) from error


def _download(name: str, entry: NamedDataset, roots: list[Path], root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=root) as beside:
            # torchvision names mirrors on standard output, which belongs to the table
            with contextlib.redirect_stdout(sys.stderr):
                entry.fetch(Path(beside))
            for file in entry.missing(root):
                make_folder((root / file).parent, inside=root)
                check_inside(root, root / file)
                (Path(beside) / file).replace(root / file)
    except Exception as error:  # torchvision, the network and archives each have kinds of their own
        missing = [root / file for file in entry.missing(root)]
        _remove_empty_parents(missing, root)
        places = ", ".join(str(place) for place in roots)
        reason = " ".join(str(error).split())
        raise DataError(
            f"data {name}: not found in {places}, and the download failed ({reason}); "
            f"put these files there by hand: {', '.join(map(str, missing))}"
        ) from None


def _remove_empty_parents(files: list[Path], root: Path) -> None:
    """Take away the folders that a failed download made; whatever holds anything stays."""
    folders = {folder for file in files for folder in file.parents if folder == root or root in folder.parents}
    for folder in sorted(folders, reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
