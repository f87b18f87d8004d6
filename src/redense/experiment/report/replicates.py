"""What a run's reference models give away, each the target in turn: a table of phases, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from redense.auditing.table import interval_text
from redense.experiment.replicates import PhaseReplicates, ReplicatedDifference, figure_name
from redense.metrics.jackknife import ReplicatedMean


def replicates_summary(
    replicates: Sequence[PhaseReplicates], differences: Sequence[ReplicatedDifference]
) -> RenderableType:
    """Draw the mean over models and the range of one further training, a line a phase and figure; then sentences."""
    first = replicates[0]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    title = f"Replicates: {first.primary}"
    for name in (title, "", "models", "mean, 95% interval", "one further training"):
        table.add_column(name, justify="left" if name in (title, "") else "right", no_wrap=True)
    for one in replicates:
        for figure in one.compared:
            found = one.mean(figure)
            table.add_row(one.phase.label, figure_name(figure), str(found.replicates), *_cells(found))
    return Group("", table, _NOTE, "", *(one.sentence for one in differences))


_NOTE = (
    "Models trained on random halves of all examples, each attacked by the others but the one trained on the other "
    "half. p is corrected (Holm) over all claims; each interval is for one comparison by itself."
)


def _cells(found: ReplicatedMean) -> tuple[str, str]:
    mean = f"{found.mean:.4f}"
    if found.interval is None or found.prediction is None:
        return mean, "-"
    return f"{mean} {interval_text(found.interval, 1, 4)}", interval_text(found.prediction, 1, 4)
