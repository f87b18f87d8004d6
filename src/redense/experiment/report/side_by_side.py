"""Several runs in one table and one chart: what each reaches in its last phase, and what that gives away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from redense.auditing.verdict import in_figures
from redense.experiment.report.comparisons import with_opponent
from redense.experiment.report.conclusion import short_name
from redense.experiment.report.seeds import (
    in_percent,
    inference_estimate,
    inference_interval,
    last_groups,
    mean_over_seeds,
    percent_interval,
    percent_over_seeds,
)
from redense.experiment.wording import difference_interval, difference_text
from redense.page.chart import BASELINE, Axis, Chart, Series, View

if TYPE_CHECKING:
    from redense.experiment.found import Found
    from redense.experiment.results import Results, Row

HEAD = [
    "run",
    "last phase",
    "test %",
    "inference %",
    "inference, 95% interval",
    "test, points above its nearest rival",
    "strongest attack %",
    "seeds",
]
CAPTION = (
    "The last phase of every run at every sparsity; a dash: not measured, not compared over seeds, or not audited. The "
    "nearest rival: of the controls, else of what the method is held against. The strongest attack is from the first "
    "seed's audit."
)


def told_apart(runs: Sequence[Found]) -> list[Found]:
    """Call runs whose folders have one name by as many folders above, too, as tell them apart."""
    paths = [run.folder.resolve() for run in runs]
    return [replace(run, called=_short(path, paths)) for run, path in zip(runs, paths, strict=True)]


def _short(path: Path, others: Sequence[Path]) -> str:
    unlike = [other.parts for other in others if other != path]
    ends = (path.parts[-length:] for length in range(1, len(path.parts)))
    end = next((end for end in ends if all(other[-len(end) :] != end for other in unlike)), path.parts)
    return str(Path(*end))


def side_by_side(runs: Sequence[Found]) -> list[list[str]]:
    """Write a line a run and last phase; one line for a run that has none yet."""
    return [line for run in runs for line in _lines(run)]


def runs_chart(runs: Sequence[Found]) -> list[Chart]:
    """Draw what the last phases give away against how accurate they are, a line a run, a point a sparsity."""
    series = tuple(_series(run, place) for place, run in enumerate(runs) if last_groups(run.results))
    if not series:
        return []
    caption = (
        "The last phase of every run, a point a sparsity: further right is more accurate, further up gives more away. "
        "Bars: 95% intervals of the inference accuracy."
    )
    axes = Axis("test accuracy, %"), Axis("inference accuracy, %")
    return [Chart("runs", "Leakage against accuracy, run by run", caption, *axes, (View("", series),))]


def _lines(run: Found) -> list[list[str]]:
    groups, name = last_groups(run.results), f"{run.name} ({run.recipe.data})"
    if not groups:
        return [[name, "none measured yet", *["-"] * (len(HEAD) - 2)]]
    return [
        [
            name,
            group[0].phase.label,
            percent_over_seeds(group, "test_accuracy"),
            percent_over_seeds(group, "inference_accuracy"),
            percent_interval(inference_interval(group)),
            _nearest(run.results, group),
            _audited(run, group),
            str(len(group)),
        ]
        for group in groups
    ]


def _nearest(results: Results, group: Sequence[Row]) -> str:
    """Write how far a phase is above what has to be beaten and comes nearest, over seeds."""
    found = [
        one
        for one in with_opponent(results, results.comparisons)
        if one.quantity == "test_accuracy" and one.second == group[0].phase and one.claimed
    ]
    if not found:
        return "-"
    nearest = min(found, key=lambda one: one.difference or 0.0)
    interval = "" if nearest.interval is None else f" {difference_interval(nearest)}"
    return f"{difference_text(nearest)}{interval} ({short_name(nearest.first)})"


def _audited(run: Found, group: Sequence[Row]) -> str:
    keys = {row.checkpoint for row in group}
    verdict = next((row.result.verdict for row in run.audits if row.checkpoint in keys), None)
    if verdict is None:
        return "-"
    if verdict.accuracy is None or verdict.interval is None:
        return verdict.kind
    return f"{' '.join(in_figures(verdict.accuracy, verdict.interval))} ({verdict.attack})"


def _series(run: Found, place: int) -> Series:
    groups = last_groups(run.results)
    leaks = [inference_estimate(group) for group in groups]
    return Series(
        run.name,
        [in_percent(mean_over_seeds(group, "test_accuracy"), None)[0] for group in groups],
        [value for value, _ in leaks],
        place % BASELINE,
        intervals=[interval for _, interval in leaks],
        places=[_place(group) for group in groups],
    )


def _place(group: Sequence[Row]) -> str:
    return f"{group[0].phase.label}: test accuracy {100 * mean_over_seeds(group, 'test_accuracy'):.2f}%"
