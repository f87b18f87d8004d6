"""``redense export``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from redense.experiment.export_settings import ExportSettings


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
