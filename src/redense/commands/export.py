"""``redense export``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import tyro

from redense.commands.pages import Page
from redense.commands.parse import parse
from redense.errors import RecipeError
from redense.experiment.export_settings import ExportSettings
from redense.models.names import OWN
from redense.text import visible

PAGE = Page(
    "export",
    "RUN [flags] | --model ... [flags]",
    "Write the model of one phase of a finished run to a file (RUN is its folder), or a model of your own as ONNX.",
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
            "--out FILE": "by default in the run's folder, or beside the weights",
        },
        "A model of your own": {
            "--model MODEL": OWN,
            "--weights FILE": "its state_dict, safetensors",
            "--input N ...": "the shape of one example, such as 3 32 32; of tokens where it begins with an embedding",
            "--classes N": "given to a factory that takes num_classes",
        },
    },
    {
        "redense export runs/digits --sparsity 0.5": "the re-dense model",
        "redense export runs/digits --phase sparse --sparsity 0.5 --format bitmask": "the sparse one, small",
        "redense export runs/digits --phase dense --format onnx": "for other programs",
        "redense export --model mine:build --weights model.safetensors --input 3 32 32": "a model of yours, as ONNX",
    },
)


@dataclass(frozen=True)
class Export:
    """Write the model of one phase of a finished run to a file, or a model of your own as ONNX."""

    run: tyro.conf.Positional[Path | None] = None
    """The run's folder."""
    weights: Path | None = None
    """Of a model of your own: its state_dict, safetensors."""
    input: tuple[int, ...] = ()
    """Of a model of your own: the shape of one example."""
    classes: int = 10
    """Of a model of your own: what its factory gets where it takes num_classes."""
    settings: Annotated[ExportSettings, tyro.conf.arg(name="")] = field(default_factory=ExportSettings)

    def execute(self) -> None:
        """Write the file and say where it is and how large."""
        path = self._own() if self.run is None else self._of_run(self.run)
        print(f"Written: {visible(path)}, {path.stat().st_size:,} bytes")

    def _of_run(self, run: Path) -> Path:
        for name in ("weights", "input"):
            if getattr(self, name):
                raise RecipeError(f"{name}: a run has its own; leave it out")
        from redense.experiment.export import export

        return export(run, **vars(self.settings))

    def _own(self) -> Path:
        """Write a model that belongs to no run."""
        settings = self.settings
        if settings.model is None:
            raise RecipeError("export: got neither; expected a run's folder, or --model with --weights and --input")
        if self.weights is None or not self.input:
            missing = [f"--{name}" for name in ("weights", "input") if not getattr(self, name)]
            raise RecipeError(f"export: --model also needs {' and '.join(missing)}")
        if min(self.input) < 1:
            raise RecipeError(f"input: got {' '.join(map(str, self.input))}; expected the shape of one example")
        if settings.format not in ("onnx", ExportSettings.format):
            raise RecipeError(f"format: got {settings.format}; a model of your own is written as onnx alone")
        for each in fields(settings):
            if each.name not in ("model", "format", "out") and getattr(settings, each.name) != each.default:
                raise RecipeError(f"{each.name}: belongs to a run; leave it out")
        from redense.models.integers import blank
        from redense.models.registry import build, load_weights
        from redense.onnx import export_onnx

        model = build(settings.model, self.input, self.classes)
        load_weights(settings.model, model, self.weights)
        path = self.weights.with_suffix(".onnx") if settings.out is None else settings.out
        export_onnx(model, blank(model, self.input), path)
        return path


def command(words: Sequence[str]) -> Export:
    """Read the words after ``redense export``."""
    return parse(Export, PAGE, words)
