"""``redense report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from redense.commands.pages import Page
from redense.commands.parse import parse
from redense.errors import RecipeError
from redense.text import visible

PAGE = Page(
    "report",
    "RUN ... [flags]",
    "Write the report of a run, finished or not, as one HTML file; of several runs, side by side.",
    {
        "Flags": {
            "--out FILE": "the file to write; report.html in the folder of a single run if left out",
            "--show-examples": "show the most exposed training examples themselves. They are training data: mind whom "
            "the page is sent to",
        }
    },
    {
        "redense report runs/digits": "the page of one run, made again",
        "redense report runs/a runs/b --out both.html": "two runs side by side",
    },
)


@dataclass(frozen=True)
class Report:
    """Write the report of a run, finished or not, as one HTML file; of several runs, side by side."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The runs' folders."""
    out: Path | None = None
    """The file to write; by default report.html in the folder of a single run."""
    show_examples: bool = False
    """Show the most exposed training examples themselves. They are training data: mind whom the page is sent to."""

    def execute(self) -> None:
        """Write the report and say where it is."""
        if not self.runs:
            raise RecipeError("report: got no run; expected the folder of one, or of several with --out FILE")
        from redense.experiment.write_report import write_report

        path = write_report(self.runs, self.out, self.show_examples)
        print(f"Written: {visible(path)}, {path.stat().st_size:,} bytes")


def command(words: Sequence[str]) -> Report:
    """Read the words after ``redense report``."""
    return parse(Report, PAGE, words)
