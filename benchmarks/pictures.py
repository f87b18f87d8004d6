"""Draw the pictures of `docs/images/` anew from the results that `docs/results/` holds; nothing is trained.

    python benchmarks/pictures.py [FOLDER]

Writes into docs/images, or into FOLDER. The pictures of audits are not among them: `redense audit` draws those. The
sensitivity of layers is that of the table in docs/dsd.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from redense import Results
from redense.experiment.report.figures import save_table_figure
from redense.experiment.report.traces import save_results_traces
from redense.sparsity.sensitivity import Sensitivity

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {
    "fashion-mnist": "fashion-mnist",
    "dsd-against-control-fashion-mnist": "dsd-against-control-fashion-mnist",
}
"""Pictures of test and inference accuracy against sparsity, and the results that they show."""
TRACES = {
    "accuracy-leakage-fashion-mnist": "dsd-against-control-fashion-mnist",
    "accuracy-leakage-location30": "dsd-against-control-location30",
}
"""Pictures of inference against test accuracy, epoch by epoch."""


def main(folder: Path) -> None:
    """Draw all pictures into a folder, and name them."""
    for pictures, save in ((TABLES, save_table_figure), (TRACES, save_results_traces)):
        for name, source in pictures.items():
            results = Results.from_json((DOCS / "results" / f"{source}.json").read_text())
            save(results, folder / f"{name}.png")
            print(folder / f"{name}.png")
    layers((DOCS / "dsd.md").read_text()).save_png(folder / "sensitivity.png")
    print(folder / "sensitivity.png")


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
