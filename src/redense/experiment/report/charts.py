"""Charts of a run's results: accuracy against sparsity, training epoch by epoch, leakage against accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from redense.auditing.protocols import PROTOCOLS
from redense.experiment.audit_rows import by_phase, by_protocol
from redense.experiment.equal_accuracy import mean_points
from redense.experiment.grouping import gathered
from redense.experiment.report.columns import INFERENCE_IS, guessing_text
from redense.experiment.report.looks import (
    AND_NONE,
    LOOKS,
    SPARSITY,
    begin_outside,
    drawn,
    in_view,
    look,
    of_all_rounds,
)
from redense.experiment.report.protocols import lowest_rate, primaries
from redense.experiment.report.seeds import (
    Estimate,
    any_several,
    in_percent,
    inference_estimate,
    over_seeds,
    tested_estimate,
)
from redense.metrics.roc import Array
from redense.metrics.spread import Spread
from redense.page.chart import BASELINE, Axis, Chart, Series, View
from redense.phases import NAMES, Phase, total
from redense.text import percent

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow
    from redense.experiment.equal_accuracy import Trace
    from redense.experiment.results import Results, Row
    from redense.experiment.shown import Shown

CONTROLS_TRAIN = " Controls train as long, without any mask."
MEASURED_ON = (
    "After every epoch the inference accuracy is measured on the test examples and as many of the training examples; "
    "the table measures it on all, so that last epochs may differ a little from it."
)
"""What histories are measured on, for all pictures of them."""
COLUMNS = 6
"""Phases without a sparsity that have as much room as all sparsities together."""
FEW_EPOCHS = 12
"""Epochs that have a tick each."""


def accuracy_charts(results: Results) -> list[Chart]:
    """Draw test and inference accuracy against sparsity."""
    groups = results.shown()
    over = over_seeds(groups, "over seeds", "over the test examples")
    noise = 100 * results.noise
    test = {group[0].phase: tested_estimate(group, results.nonmembers) for group in groups}
    leaks = {group[0].phase: inference_estimate(group) for group in groups}
    return [
        Chart(
            "accuracy",
            "Accuracy against sparsity",
            f"Test accuracy; bars are 95% intervals {over}.{CONTROLS_TRAIN * bool(results.recipe.controls)}",
            _sparsity_axis(results, test),
            Axis("test accuracy, %"),
            (against_sparsity(results, test),),
        ),
        Chart(
            "inference",
            "What confidence gives away",
            f"Inference accuracy: {INFERENCE_IS}. {guessing_text(results.noise)} Bars: 95% intervals "
            f"{over_seeds(groups, 'over seeds and examples', 'over examples')}.",
            _sparsity_axis(results, leaks),
            Axis("inference accuracy, %"),
            (against_sparsity(results, leaks, noise),),
        ),
    ]


def rate_chart(results: Results, audits: Sequence[AuditRow]) -> list[Chart]:
    """Draw the true-positive rate at the lowest false-positive rate shown, a view a protocol."""
    views: dict[str, tuple[dict[Phase, Estimate], float]] = {}
    for protocol, of_protocol in by_protocol(audits).items():
        for primary in primaries(of_protocol):
            rows = [row for row in of_protocol if row.found(primary)]
            lowest = lowest_rate(rows)
            if lowest is None:
                continue
            points = {phase: _rates(of_phase, primary, lowest) for phase, of_phase in by_phase(rows).items()}
            views[f"protocol {protocol}: {primary} at {percent(lowest)} FPR"] = points, 100 * lowest
    if not views:
        return []
    chosen = " and ".join(dict.fromkeys(title.partition(": ")[2] for title in views))
    caption = (
        "Of the training examples (members), how many are picked out by an attack that was chosen beforehand, while it "
        f"wrongly accuses at most a small share of the others: {chosen} (FPR: the share wrongly accused). Bars: 95% "
        f"intervals, over seeds where there are several{_without_bars(views)}."
    )
    every = [phase for points, _ in views.values() for phase in points]
    axes = _sparsity_axis(results, every), Axis("members found, %")
    pictures = tuple(
        against_sparsity(results, points, lowest, title, "guessing", every) for title, (points, lowest) in views.items()
    )
    return [Chart("tpr", "Members picked out at few false accusations", caption, *axes, pictures, "audit")]


def _without_bars(views: Mapping[str, tuple[Mapping[Phase, Estimate], float]]) -> str:
    """Say why some points have no bar, if any has none."""
    bare = any(interval is None for points, _ in views.values() for _, interval in points.values())
    return "; no bar: the same in every seed" if bare else ""


def against_sparsity(
    results: Results,
    points: Mapping[Phase, Estimate],
    noise: float | None = None,
    title: str = "",
    noise_name: str = "pure noise",
    every: Iterable[Phase] = (),
) -> View:
    """Draw phases with a sparsity as points, beside each other, and the dense phase and controls as levels.

    A level ends in a column of its own, right of all sparsities; `every` phase of the chart's views has one, by default
    those of `points`.
    """
    pruned, levels = drawn(points, results.recipe)
    columns = _columns(results, every or points)
    first, last = _span(results)
    step = (last - first) / 60
    series = []
    for place, (kind, chosen) in enumerate(pruned.items()):
        shift = step * (place - (len(pruned) - 1) / 2)
        series.append(
            Series(
                NAMES[kind],
                [100 * (phase.sparsity or 0.0) + shift for phase in chosen],
                [points[phase][0] for phase in chosen],
                LOOKS[kind],
                intervals=[points[phase][1] for phase in chosen],
                places=[percent(phase.sparsity or 0.0) for phase in chosen],
            )
        )
    for phase in levels:
        value, interval = points[phase]
        places = ("any sparsity",) * 2
        series.append(
            Series(phase.series, (first, columns[phase]), (value,) * 2, look(phase), "level", (None, interval), places)
        )
    if noise is not None:
        ends = first, max([last, *columns.values()])
        series.append(Series(noise_name, ends, (noise, noise), BASELINE, "level", places=("any sparsity",) * 2))
    return View(title, tuple(series))


def training_charts(results: Results, shown: Shown | None) -> list[Chart]:
    """Draw test accuracy and training loss after every epoch, the phases one after another on one axis."""
    curves: dict[str, tuple[str, str, Callable[[Row], Sequence[float]]]] = {
        "training": (
            "Test accuracy while training",
            "test accuracy, %",
            lambda row: [100 * test for test, _ in row.history],
        )
    }
    if shown is not None and shown.losses:
        losses = shown.losses
        curves["losses"] = ("Training loss", "mean cross-entropy", lambda row: losses.get(row.checkpoint, ()))
    means = _means(results.groups(), "; ")
    caption = f"After every epoch, phase after phase on one axis{means}. Dotted lines: a new phase begins."
    epochs = max(total(phases) for phases in results.recipe.lineages())
    few = tuple((float(epoch), str(epoch)) for epoch in range(1, epochs + 1)) if epochs <= FEW_EPOCHS else ()
    return [
        Chart(key, title, caption, Axis("epochs since the start", ticks=few), Axis(label), tuple(views), "show")
        for key, (title, label, read) in curves.items()
        if (views := _training_views(results, read))
    ]


def _training_views(results: Results, read: Callable[[Row], Sequence[float]]) -> list[View]:
    curves = {group[0].phase: _mean_curve([read(row) for row in group]) for group in results.groups()}
    chains = results.recipe.lineages()
    views = []
    for sparsity in results.recipe.sparsities:
        series: dict[Phase, Series] = {}
        marks: dict[float, str] = {}
        for chain in (chain for chain in chains if all(phase.is_at(sparsity) for phase in chain)):
            for place, phase in enumerate(chain):
                curve, start = curves.get(phase, []), total(chain[:place])
                if not curve or phase in series:
                    continue
                before = curves.get(chain[place - 1], [])[-1:] if place else []  # lines that go on where the last ended
                x = [float(start + epoch) for epoch in range(1 - len(before), len(curve) + 1)]
                series[phase] = Series(phase.label, x, [*before, *curve], look(phase), group=of_all_rounds(phase))
                if place and phase.kind != "control":
                    marks.setdefault(float(start), NAMES[phase.kind])
        if series:
            views.append(View(f"sparsity {percent(sparsity)}", tuple(series.values()), tuple(marks.items())))
    return views


def leakage_chart(results: Results, audits: Sequence[AuditRow]) -> list[Chart]:
    """Draw inference against test accuracy, epoch by epoch, of the table's models and of targets on halves."""
    of_table = gathered((phase, trace) for (phase, _), trace in results.traces().items())
    views, groups = _leakage_views(results, of_table, ""), [*of_table.values()]
    for protocol, rows in by_protocol(row for row in audits if not PROTOCOLS[row.protocol].of_table).items():
        traces = gathered((row.phase, row.trace) for row in rows if row.trace.points)
        views += _leakage_views(results, traces, f", targets of protocol {protocol}")
        groups += traces.values()
    if not views:
        return []
    caption = (
        f"A point an epoch{_means(groups, ', ')}: further right is more accurate, further up gives more away. The open "
        f"marker is a phase's first epoch, the large one its last. {MEASURED_ON}{_hidden(views)}"
    )
    axes = Axis("test accuracy, %"), Axis("inference accuracy, %")
    return [Chart("leakage", "Leakage against accuracy", caption, *axes, tuple(views), "show")]


def _means(groups: Sequence[Sequence[object]], before: str) -> str:
    """Say that lines are means, where any phase of these groups has several seeds."""
    return f"{before}{over_seeds(groups, 'the mean over seeds', 'that one')}" if any_several(groups) else ""


def _leakage_views(results: Results, traces: Mapping[Phase, Sequence[Trace]], what: str) -> list[View]:
    views = []
    for sparsity in results.recipe.sparsities:
        means = {phase: 100 * mean_points(found) for phase, found in traces.items() if phase.is_at(sparsity)}
        if means:
            series = tuple(_leakage(phase, mean) for phase, mean in means.items())
            views.append(View(f"sparsity {percent(sparsity)}{what}", series, ends=_ends(means)))
    return views


def _hidden(views: Sequence[View]) -> str:
    """Name the lines that begin outside of any picture."""
    names = [
        name
        for view in views
        if view.ends is not None
        for name in begin_outside({one.name: np.array([one.x, one.y]).T for one in view.series}, view.ends)
    ]
    found = " and ".join(dict.fromkeys(names))
    return (
        f" First epochs outside the picture, which zooming out or the table below it shows: {found}." if found else ""
    )


def _leakage(phase: Phase, points: Array) -> Series:
    x, y = points.T.tolist()
    places = [f"epoch {epoch}, test accuracy {value:.2f}%" for epoch, value in enumerate(x, 1)]
    return Series(phase.label, x, y, look(phase), places=places, ends=True, group=of_all_rounds(phase))


def _ends(means: Mapping[Phase, Array]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return where the axes end: around what has to be seen; None for a single phase, whose epochs decide."""
    if len(means) < 2:
        return None
    x, y = in_view(means).T
    return (x.min() - _margin(x), x.max() + _margin(x)), (y.min() - _margin(y), y.max() + _margin(y))


def _margin(values: Array) -> float:
    return 0.08 * float(np.ptp(values)) + 0.05


def _mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over seeds after each epoch that all have: what stops early has fewer in some."""
    whole = [curve for curve in curves if curve]
    shortest = min(map(len, whole), default=0)
    return [float(value) for value in np.mean([curve[:shortest] for curve in whole], axis=0)] if whole else []


def _span(results: Results) -> tuple[float, float]:
    """Return where levels begin and end, in percent: beside a single sparsity too."""
    sparsities = [100 * sparsity for sparsity in results.recipe.sparsities]
    room = max(5.0, 0.06 * (max(sparsities) - min(sparsities)))
    return min(sparsities) - room, max(sparsities) + room


def _columns(results: Results, phases: Iterable[Phase]) -> dict[Phase, float]:
    """Give each phase that has no sparsity a place right of all sparsities, as wide apart as its name needs."""
    _, levels = drawn(dict.fromkeys(phases), results.recipe)
    first, last = _span(results)
    return {phase: last + (last - first) * (place + 0.5) / COLUMNS for place, phase in enumerate(levels)}


def _sparsity_axis(results: Results, phases: Iterable[Phase]) -> Axis:
    """Name the sparsities, and after them the phases that have none."""
    sparsities = [(100 * sparsity, percent(sparsity)) for sparsity in sorted(results.recipe.sparsities)]
    columns = [(x, phase.series) for phase, x in _columns(results, phases).items()]
    first, last = _span(results)
    step = (last - first) / COLUMNS / 2  # a marker is whole, and so is the name below it
    ends = first - step, max([last, *(x for x, _ in columns)]) + step
    return Axis(AND_NONE if columns else SPARSITY, ends=ends, ticks=(*sparsities, *columns))


def _rates(rows: Sequence[AuditRow], attack: str, fpr: float) -> Estimate:
    points = [row.result.attack(attack).shown_rates[fpr] for row in rows]
    spread = Spread.of((point.tpr for point in points), (0.0, 1.0))
    return in_percent(spread.mean, spread.interval if len(points) > 1 else points[0].tpr_interval)
