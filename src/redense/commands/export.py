"""``redense export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Export:
    """Write the model of one phase of a finished run to a file."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    phase: Literal["dense", "sparse", "redense"] = "redense"
    """Which phase."""
    sparsity: float | None = None
    """Which sparsity; not needed where the run has one."""
    seed: int | None = None
    """Which seed, by default the first."""
    round: int | None = None
    """Which round, by default the last."""
    format: Literal["safetensors", "bitmask", "onnx"] = "safetensors"
    """A plain state_dict, bitmask and values (see redense.load_sparse), or ONNX (needs redense[onnx])."""
    out: Path | None = None
    """The file, by default in the run's folder."""
    data_root: Path | None = None
    """For ONNX: where named data lie."""

    def execute(self) -> None:
        """Write the file and say where it is and how large."""
        from redense.experiment.export import export

        path = export(**vars(self))
        print(f"Written: {path}, {path.stat().st_size:,} bytes")
