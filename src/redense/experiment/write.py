"""The fourth step of a run: write what was found into its folder."""

from __future__ import annotations

from pathlib import Path

from redense.experiment.report.figures import save_table_figure
from redense.experiment.report.traces import save_results_traces
from redense.experiment.results import Results
from redense.files import write_whole


def write_results(results: Results, folder: Path) -> list[str]:
    """Write the results, and the pictures of them once there are any rows; return the files' names."""
    write_whole(folder / "results.json", results.to_json())
    write_whole(folder / "results.csv", results.to_csv())
    written = ["results.json", "results.csv"]
    if results.rows:
        save_table_figure(results, folder / "table.png")
        save_results_traces(results, folder / "accuracy-leakage.png")
        written += ["table.png", "accuracy-leakage.png"]
    return written
