"""Charts of a run's results: accuracy against sparsity, training epoch by epoch, leakage against accuracy."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from redense.experiment.report.seeds import inference_interval
from redense.methods import CONTROLS, control_of
from redense.metrics import balanced_accuracy_of_noise, clopper_pearson
from redense.metrics.roc import Array
from redense.metrics.spread import Spread
from redense.page.chart import Axis, Chart, Interval, Series, View
from redense.phases import NAMES, Phase, PhaseKind, total
from redense.text import percent

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow
    from redense.experiment.equal_accuracy import Trace
    from redense.experiment.recipe import Recipe
    from redense.experiment.results import Results, Row
    from redense.experiment.shown import Shown

Estimate = tuple[float, Interval]
"""A figure and its interval, in percent."""
LOOKS = {"dense": 0, "sparse": 1, "redense": 2}
MARKERS = 5
"""The first marker of controls: those before are of sparsities."""
FEW_EPOCHS = 12
"""Epochs that have a tick each."""
NOISE = 7
"""The look of what is no phase."""


def look(phase: Phase) -> int:
    """Return the look of a phase, the same in every chart."""
    return LOOKS[phase.kind] if phase.kind != "control" else 3 + list(CONTROLS.values()).index(control_of(phase))


def drawn(phases: Iterable[Phase], recipe: Recipe) -> tuple[dict[PhaseKind, list[Phase]], list[Phase]]:
    """Choose what pictures against sparsity show: what is pruned, by kind, and what has no sparsity.

    Of several rounds at a sparsity that is the last, in the order of sparsities; of controls the end of their budget.
    """
    known = list(phases)
    pruned: dict[PhaseKind, list[Phase]] = {}
    for kind in dict.fromkeys(phase.kind for phase in known if phase.sparsity is not None):
        in_order = sorted((phase for phase in known if phase.kind == kind), key=lambda phase: phase.round)
        latest = {phase.sparsity or 0.0: phase for phase in in_order}
        pruned[kind] = [latest[sparsity] for sparsity in sorted(latest)]
    return pruned, [phase for phase in known if phase.kind == "dense" or recipe.is_beside_final(phase)]


def marker(phase: Phase, results: Results) -> int:
    """Return the marker of a phase where all sparsities, and a control's phases, are in one picture."""
    if phase.kind == "control":
        return MARKERS + (phase.beside == "sparse")
    return 0 if phase.sparsity is None else 1 + results.recipe.sparsities.index(phase.sparsity)


def accuracy_charts(results: Results) -> list[Chart]:
    """Draw test and inference accuracy against sparsity."""
    groups = results.groups()
    several = len(results.recipe.seeds) > 1
    over = "over seeds" if several else "over the test examples"
    noise = 100 * balanced_accuracy_of_noise(results.members, results.nonmembers)
    test = {group[0].phase: test_estimate(group, results.nonmembers) for group in groups}
    leaks = {group[0].phase: inference_estimate(group) for group in groups}
    return [
        Chart(
            "accuracy",
            "Accuracy against sparsity",
            f"Test accuracy; bars are 95% intervals {over}. Controls train as long without any mask.",
            _sparsity_axis(results),
            Axis("test accuracy, %"),
            (against_sparsity(results, test),),
        ),
        Chart(
            "inference",
            "What confidence gives away",
            "Inference accuracy: how often the best threshold on the model's confidence tells training from test "
            f"examples. 50% is guessing; on so many examples pure noise gives {noise:.2f}%. Bars: 95% intervals"
            f"{' over seeds and examples' if several else ' over examples'}.",
            _sparsity_axis(results),
            Axis("inference accuracy, %"),
            (against_sparsity(results, leaks, noise),),
        ),
    ]


def rate_chart(results: Results, audits: Sequence[AuditRow]) -> list[Chart]:
    """Draw the true-positive rate at the lowest false-positive rate shown, a view a protocol."""
    views = []
    for protocol in dict.fromkeys(row.protocol for row in audits):
        of_protocol = [row for row in audits if row.protocol == protocol]
        for primary in primaries(of_protocol):
            rows = [row for row in of_protocol if row.attack(primary)]
            fprs = [rate.fpr for rate in rows[0].result.attack(primary).rates if rate.point is not None]
            if not fprs:
                continue
            points = {
                phase: _rates([row for row in rows if row.phase == phase], primary, fprs[-1]) for phase in _phases(rows)
            }
            title = f"protocol {protocol}: {primary} at {percent(fprs[-1])} FPR"
            views.append(against_sparsity(results, points, 100 * fprs[-1], title, "guessing"))
    if not views:
        return []
    caption = (
        "Of the members, how many an attack chosen beforehand picks out while it wrongly accuses so few of the others. "
        "Bars: 95% intervals, over seeds where there are several."
    )
    axes = _sparsity_axis(results), Axis("true-positive rate, %")
    return [Chart("tpr", "Members picked out at few false accusations", caption, *axes, tuple(views), "audit")]


def primaries(rows: Sequence[AuditRow]) -> list[str]:
    """Name the attacks chosen beforehand: several where some phases lack the reference models of the best."""
    return list(dict.fromkeys(row.result.primary for row in rows))


def against_sparsity(
    results: Results,
    points: Mapping[Phase, Estimate],
    noise: float | None = None,
    title: str = "",
    noise_name: str = "pure noise",
) -> View:
    """Draw phases with a sparsity as points, beside each other, and the dense phase and controls as levels."""
    pruned, levels = drawn(points, results.recipe)
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
    for place, phase in enumerate(levels):
        value, interval = points[phase]
        end = last + step * (1 + 1.5 * place)
        places = ("any sparsity",) * 2
        series.append(Series(phase.series, (first, end), (value,) * 2, look(phase), "level", (None, interval), places))
    if noise is not None:
        ends = first, last + step * (1 + 1.5 * len(levels))
        series.append(Series(noise_name, ends, (noise, noise), NOISE, "level", places=("any sparsity",) * 2))
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
    caption = "After every epoch, phase after phase on one axis; the mean over seeds. Dotted lines: a new phase begins."
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
        for chain in (chain for chain in chains if _at(chain, sparsity)):
            for place, phase in enumerate(chain):
                curve, start = curves.get(phase, []), total(chain[:place])
                if not curve or phase in series:
                    continue
                before = curves.get(chain[place - 1], [])[-1:] if place else []  # lines that go on where the last ended
                x = [float(start + epoch) for epoch in range(1 - len(before), len(curve) + 1)]
                series[phase] = Series(phase.label, x, [*before, *curve], look(phase))
                if place and phase.kind != "control":
                    marks.setdefault(float(start), NAMES[phase.kind])
        if series:
            views.append(View(f"sparsity {percent(sparsity)}", tuple(series.values()), tuple(marks.items())))
    return views


def leakage_chart(results: Results, audits: Sequence[AuditRow]) -> list[Chart]:
    """Draw inference against test accuracy, epoch by epoch, of the table's models and of targets on halves."""
    from redense.experiment.equal_accuracy import Trace

    traces = [(row.phase, Trace(row.history, results.nonmembers)) for row in results.rows if row.history]
    views = _leakage_views(results, traces, "")
    for protocol in dict.fromkeys(row.protocol for row in audits if row.protocol != "all"):
        of_protocol = [(row.phase, row.trace) for row in audits if row.protocol == protocol and row.trace.points]
        views += _leakage_views(results, of_protocol, f", targets of protocol {protocol}")
    if not views:
        return []
    caption = (
        "A point an epoch, the mean over seeds: further right is more accurate, further up gives more away. The open "
        "marker is a phase's first epoch, the large one its last."
    )
    axes = Axis("test accuracy, %"), Axis("inference accuracy, %")
    return [Chart("leakage", "Leakage against accuracy", caption, *axes, tuple(views), "show")]


def _leakage_views(results: Results, traces: Sequence[tuple[Phase, Trace]], what: str) -> list[View]:
    from redense.experiment.equal_accuracy import mean_points

    by_phase: dict[Phase, list[Trace]] = {}
    for phase, trace in traces:
        by_phase.setdefault(phase, []).append(trace)
    views = []
    for sparsity in results.recipe.sparsities:
        series = [
            _leakage(phase, 100 * mean_points(found))
            for phase, found in by_phase.items()
            if phase.sparsity is None or phase.sparsity == sparsity
        ]
        if series:
            views.append(View(f"sparsity {percent(sparsity)}{what}", tuple(series), ends=_ends(series)))
    return views


def _leakage(phase: Phase, points: Array) -> Series:
    x, y = points.T.tolist()
    places = [f"epoch {epoch}, test accuracy {value:.2f}%" for epoch, value in enumerate(x, 1)]
    return Series(phase.label, x, y, look(phase), places=places, ends=True)


def _ends(series: Sequence[Series]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Leave room for all but the first phase's epochs, which would take most of it; its last is always there."""
    x = [value for one in series for value in (one.x if one.look else one.x[-1:])]
    y = [value for one in series for value in (one.y if one.look else one.y[-1:])]
    if len(series) < 2:
        return None
    return (min(x) - _margin(x), max(x) + _margin(x)), (min(y) - _margin(y), max(y) + _margin(y))


def _margin(values: Sequence[float]) -> float:
    return 0.08 * (max(values) - min(values)) + 0.05


def _mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over seeds after each epoch that all have: what stops early has fewer in some."""
    whole = [curve for curve in curves if curve]
    shortest = min(map(len, whole), default=0)
    return [float(value) for value in np.mean([curve[:shortest] for curve in whole], axis=0)] if whole else []


def _at(chain: Sequence[Phase], sparsity: float) -> bool:
    return all(phase.sparsity is None or phase.sparsity == sparsity for phase in chain)


def _phases(rows: Sequence[AuditRow]) -> list[Phase]:
    return list(dict.fromkeys(row.phase for row in rows))


def _span(results: Results) -> tuple[float, float]:
    """Return where levels begin and end, in percent: beside a single sparsity too."""
    sparsities = [100 * sparsity for sparsity in results.recipe.sparsities]
    room = max(5.0, 0.06 * (max(sparsities) - min(sparsities)))
    return min(sparsities) - room, max(sparsities) + room


def _sparsity_axis(results: Results) -> Axis:
    ticks = tuple((100 * sparsity, percent(sparsity)) for sparsity in sorted(results.recipe.sparsities))
    return Axis("sparsity", ticks=ticks)


def test_estimate(group: Sequence[Row], examples: int) -> Estimate:
    """Return the mean over seeds with Student's interval; of one seed, the exact interval over the test examples."""
    spread = Spread.of((row.test_accuracy for row in group), (0.0, 1.0))
    if len(group) > 1:
        return 100 * spread.mean, _percent(spread.interval)
    return 100 * spread.mean, _percent(clopper_pearson(round(spread.mean * examples), examples))


def inference_estimate(group: Sequence[Row]) -> Estimate:
    """Return the mean over seeds of the inference accuracy, with the interval that the table has."""
    mean = statistics.fmean(row.inference_accuracy for row in group)
    return 100 * mean, _percent(inference_interval(group))


def _rates(rows: Sequence[AuditRow], attack: str, fpr: float) -> Estimate:
    points = [rate.point for row in rows for rate in row.result.attack(attack).rates if rate.fpr == fpr and rate.point]
    spread = Spread.of((point.tpr for point in points), (0.0, 1.0))
    return 100 * spread.mean, _percent(spread.interval if len(points) > 1 else points[0].tpr_interval)


def _percent(interval: Interval) -> Interval:
    return None if interval is None else (100 * interval[0], 100 * interval[1])
