"""What a run's reference models give away, each the target in turn: a table of phases, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from redense.experiment.phase_means import PhaseMean, compared_figures, figure_name
from redense.phases import Phase
from redense.terminal import prose, table_of
from redense.text import interval_text


def replicates_summary(means: Sequence[PhaseMean]) -> RenderableType:
    """Draw the mean over models and the range of one further training, a line a phase and figure."""
    models = sorted({one.replicates for one in means})
    heading = (
        f"{means[0].attack} on {' or '.join(map(str, models))} reference models in turn: each was trained on a "
        "random half of all examples, and is attacked by the others but the one trained on the other half. Intervals "
        "are 95%, each for one figure by itself."
    )
    return Group("", prose(heading), "", _table(means))


def _table(means: Sequence[PhaseMean]) -> Table:
    names = ("phase", "figure", "mean", "one further training")
    table = table_of(*names, text=names[:2], broken=names[:2])
    by_phase: dict[Phase, dict[str, PhaseMean]] = {}
    for one in means:
        by_phase.setdefault(one.phase, {})[one.figure] = one
    for phase, found in by_phase.items():
        for figure in compared_figures([*found]):
            table.add_row(phase.label, figure_name(figure), *_cells(found[figure]))
    return table


def _cells(found: PhaseMean) -> tuple[str, str]:
    if found.interval is None or found.prediction is None:
        return f"{found.mean:.3f}", "-"
    return f"{found.mean:.3f} {interval_text(found.interval, 1, 3)}", interval_text(found.prediction, 1, 3)
