"""Draw the pictures of `docs/images/` anew from the results that `docs/results/` holds; nothing is trained.

    python benchmarks/pictures.py [FOLDER]

Writes into docs/images, or into FOLDER. ROC curves are those that `benchmarks/audit_results.py` stored; the sensitivity
of layers is that of the table in docs/dsd.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from redense import Phase, Results
from redense.auditing.figure import Panel, roc_panels
from redense.experiment.report.figures import table_figure
from redense.experiment.report.traces import results_traces
from redense.files.writing import write_png
from redense.sparsity.sensitivity import Sensitivity

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results"
TABLES = {
    "fashion-mnist": "fashion-mnist",
    "dsd-against-control-fashion-mnist": "dsd-against-control-fashion-mnist",
}
"""Pictures of test and inference accuracy against sparsity, and the results that they show."""
TRACES = {
    "accuracy-leakage-fashion-mnist": "dsd-against-control-fashion-mnist",
    "accuracy-leakage-location30": "dsd-against-control-location30",
    "audit-accuracy-fashion-mnist": "audit-fashion-mnist",
}
"""Pictures of inference against test accuracy, epoch by epoch."""
AUDITS = ("location30", "fashion-mnist")
"""Pictures of ROC curves, of the phases of the first seed in both protocols."""


def main(folder: Path) -> None:
    """Draw all pictures into a folder, and name them."""
    for pictures, draw in ((TABLES, table_figure), (TRACES, results_traces)):
        for name, source in pictures.items():
            results = Results.from_json((RESULTS / f"{source}.json").read_text())
            write_png(folder / f"{name}.png", draw(results))
            print(folder / f"{name}.png")
    for name in AUDITS:
        write_png(folder / f"audit-{name}.png", roc_panels(panels(RESULTS / f"audit-{name}-curves.json")))
        print(folder / f"audit-{name}.png")
    layers((DOCS / "dsd.md").read_text()).save_png(folder / "sensitivity.png")
    print(folder / "sensitivity.png")


def panels(path: Path) -> list[Panel]:
    """Read the ROC curves of the method's phases, of the first seed."""
    audits = [audit for audit in json.loads(path.read_text()) if audit["beside"] is None]
    return [
        Panel(
            f"{Phase.from_columns(audit)[0].label}, {audit['protocol']}, seed {audit['seed']}",
            audit["curves"],
            audit["nonmembers"],
            audit["strongest"],
        )
        for audit in audits
        if audit["seed"] == audits[0]["seed"]
    ]


def layers(text: str) -> Sensitivity:
    """Read the table of accuracies with one layer pruned, in percent, from a document."""
    lines = text[text.index("    pruned alone") :].splitlines()
    end = next(place for place, line in enumerate(lines) if "nothing pruned:" in line)
    cells = [line.split() for line in lines[1:end]]
    return Sensitivity(
        float(lines[end].split()[-1]) / 100,
        tuple(float(cell.rstrip("%")) / 100 for cell in lines[0].split()[2:]),
        {name: tuple(float(value) / 100 for value in values) for name, *values in cells},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else DOCS / "images")
