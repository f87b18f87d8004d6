"""The fourth step of a run: write what was found into its folder."""

from __future__ import annotations

from pathlib import Path

from redense.experiment.checkpoints import Store
from redense.experiment.report.figures import table_figure
from redense.experiment.report.traces import results_traces
from redense.experiment.results import FILE, Results
from redense.experiment.shown import write_shown
from redense.experiment.weights import shown_of
from redense.experiment.write_report import write_report
from redense.files.writing import write_png, write_whole


def write_results(results: Results, folder: Path) -> list[str]:
    """Write the results, finished or not; return the files' names."""
    write_whole(folder / FILE, results.to_json(), inside=folder)
    write_whole(folder / "results.csv", results.to_csv(), inside=folder)
    return [FILE, "results.csv"]


def write_pictures(results: Results, folder: Path) -> list[str]:
    """Draw results that have any rows; return the files' names."""
    write_png(folder / "table.png", table_figure(results), inside=folder)
    write_png(folder / "accuracy-leakage.png", results_traces(results), inside=folder)
    return ["table.png", "accuracy-leakage.png"]


def write_page(results: Results, store: Store) -> list[str]:
    """Write the report of results with any rows, and what it shows of their checkpoints; return the page's name."""
    write_shown(shown_of(results, store), store.root)
    return [write_report([store.root]).name]
