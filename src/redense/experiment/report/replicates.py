"""What a run's reference models give away, each the target in turn: a table of phases, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from redense.experiment.grouping import gathered
from redense.experiment.phase_means import PhaseMean, compared_figures, figure_name
from redense.terminal import Fitting, below, prose, table_of
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


def _table(means: Sequence[PhaseMean]) -> Fitting:
    names = ("phase", "figure", "mean", "one further training")
    by_phase = gathered((one.phase, (one.figure, one)) for one in means)
    tables = {stacked: table_of(*names, text=names[:2], broken=names[:2]) for stacked in (False, True)}
    for stacked, table in tables.items():
        for phase, of_phase in by_phase.items():
            found = dict(of_phase)
            for figure in compared_figures([*found]):
                mean, interval, further = _cells(found[figure])
                put = below(mean, interval) if stacked else f"{mean} {interval}".strip()
                table.add_row(phase.label, figure_name(figure), put, further)
    return Fitting([(table, "") for table in tables.values()])


def _cells(found: PhaseMean) -> tuple[str, str, str]:
    """Return a mean, its interval and the range of one further training."""
    if found.interval is None or found.prediction is None:
        return f"{found.mean:.3f}", "", "-"
    return f"{found.mean:.3f}", interval_text(found.interval, 1, 3), interval_text(found.prediction, 1, 3)
