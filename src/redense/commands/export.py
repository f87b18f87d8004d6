"""``redense export``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from redense.commands.pages import Page
from redense.commands.parse import parse
from redense.experiment.export_settings import ExportSettings

PAGE = Page(
    "export",
    "RUN [flags]",
    "Write the model of one phase of a finished run to a file. RUN is the run's folder.",
    {
        "Which model": {
            "--phase PHASE": "dense, sparse, redense or control; by default the last",
            "--sparsity S": "not needed where the run has one",
            "--seed N": "by default the first",
            "--lineage NAME": "such as control-longer; by default the method",
        },
        "Which file": {
            "--format FORMAT": "safetensors; bitmask: one bit a weight and those that are not zero; onnx: checked "
            "against PyTorch, needs redense[onnx]",
            "--out FILE": "by default in the run's folder",
        },
    },
    {
        "redense export runs/digits --sparsity 0.5": "the re-dense model",
        "redense export runs/digits --phase sparse --sparsity 0.5 --format bitmask": "the sparse one, small",
        "redense export runs/digits --phase dense --format onnx": "for other programs",
    },
)


@dataclass(frozen=True)
class Export:
    """Write the model of one phase of a finished run to a file."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    settings: Annotated[ExportSettings, tyro.conf.arg(name="")] = field(default_factory=ExportSettings)

    def execute(self) -> None:
        """Write the file and say where it is and how large."""
        from redense.experiment.export import export

        path = export(self.run, **vars(self.settings))
        print(f"Written: {path}, {path.stat().st_size:,} bytes")


def command(words: Sequence[str]) -> Export:
    """Read the words after ``redense export``."""
    return parse(Export, PAGE, words)
