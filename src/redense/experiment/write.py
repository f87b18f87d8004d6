"""The fourth step of a run: write what was found into its folder."""

from __future__ import annotations

from pathlib import Path

from redense.experiment.report.figures import save_table_figure
from redense.experiment.report.traces import save_results_traces
from redense.experiment.results import FILE, Results
from redense.files.writing import write_whole


def write_results(results: Results, folder: Path) -> list[str]:
    """Write the results, finished or not; return the files' names."""
    write_whole(folder / FILE, results.to_json())
    write_whole(folder / "results.csv", results.to_csv())
    return [FILE, "results.csv"]


def write_pictures(results: Results, folder: Path) -> list[str]:
    """Draw results that have any rows; return the files' names."""
    save_table_figure(results, folder / "table.png")
    save_results_traces(results, folder / "accuracy-leakage.png")
    return ["table.png", "accuracy-leakage.png"]
