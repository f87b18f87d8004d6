"""What there is on this machine that a run depends on, and whether training works here."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from redense import __version__
from redense.data.named import NAMED, data_roots
from redense.errors import TrainingError
from redense.experiment.engines.choose import usable_cores
from redense.experiment.precision import why_slow
from redense.experiment.recipe import Recipe
from redense.experiment.run import run
from redense.experiment.tracking import TRACKERS
from redense.files.cgroups import available_bytes, memory_left
from redense.files.temporary import temporary_folder

EXTRAS: dict[str, str] = {
    "keras": "keras",
    "lightning": "lightning",
    "onnx": "onnxruntime",
    "pandas": "pandas",
    "ray": "ray",
    "transformers": "transformers",
    **{name: tracker.module for name, tracker in TRACKERS.items()},
}
"""Each extra, and the module that tells whether it is installed."""
NEEDED = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib", "rich", "tyro")
"""Packages whose versions tell most about a defect."""
SELF_TEST = Recipe(model="mlp", sparsities=(0.5,), epochs=(1, 1, 1))
MEASURED_WITHIN = 0.01
"""How far the sparse phase's sparsity may be from 0.5: whole weights of small tensors are pruned."""


def findings(data_root: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield what is found, by name."""
    yield "redense", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield "packages", ", ".join(_versions())
    yield "device", _device()
    yield "bfloat16", _bfloat16()
    yield "threads", f"{torch.get_num_threads()} of PyTorch; {_cores()}; OMP_NUM_THREADS {_variable()}"
    yield "memory", f"{available_bytes() / 1e9:.1f} GB free; control group: {_limit()}"
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB free in {Path.cwd()}"
    yield "data", _data(data_root)
    yield "extras", _extras()


def self_test() -> str:
    """Train a small network dense, sparse and dense again, which takes some seconds; say how it went.

    Raises `TrainingError` where the sparse phase has other zeros than it should.
    """
    started = time.perf_counter()
    with temporary_folder("redense-doctor-") as folder:
        rows = {row.phase.kind: row for row in run(SELF_TEST, folder, workers=0, device="cpu").rows}
    found = rows["sparse"].measured_sparsity
    if abs(found - 0.5) > MEASURED_WITHIN:
        raise TrainingError(
            f"self-test: the sparse phase has {100 * found:.2f}% zeros; expected 50%; please report it with the above"
        )
    seconds, accuracy = time.perf_counter() - started, 100 * rows["redense"].test_accuracy
    return f"passed in {seconds:.1f} s: {100 * found:.0f}% zeros while sparse, test accuracy {accuracy:.1f}% at the end"


def _versions() -> Iterator[str]:
    """Name what the core needs, with the versions that there are."""
    for name in NEEDED:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} missing"


def _device() -> str:
    if torch.cuda.is_available():
        return f"cuda, {torch.cuda.get_device_name()} (CUDA {torch.version.cuda})"
    return "cpu; PyTorch finds no CUDA device"


def _bfloat16() -> str:
    slow = why_slow("cuda" if torch.cuda.is_available() else "cpu")
    return f"slower than float32: {slow}" if slow else "has units for --precision bf16"


def _cores() -> str:
    usable, cores = usable_cores()
    return f"{usable} cores" if usable == cores else f"{usable} of {cores} cores, by a quota of the control group"


def _variable() -> str:
    return os.environ.get("OMP_NUM_THREADS") or "not set"


def _limit() -> str:
    left = memory_left()
    return "no limit" if left is None else f"{left / 1e9:.1f} GB left of its limit"


def _data(data_root: Path | None) -> str:
    roots = data_roots(data_root)
    found = [name for name, entry in NAMED.items() if any(not entry.missing(root) for root in roots)]
    return f"{', '.join(found)}; looked in {', '.join(map(str, roots))}"


def _extras() -> str:
    there = [name for name, module in EXTRAS.items() if find_spec(module)]
    missing = [name for name in EXTRAS if name not in there]
    lacking = f"; not installed: {', '.join(missing)} (pip install 'redense[NAME]')" if missing else ""
    return f"{', '.join(there) or 'none'}{lacking}"
