"""A run's report: its conclusion, tables and charts as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redense import __version__
from redense.auditing.page import TERMS, audit_values
from redense.auditing.protocols import PROTOCOLS
from redense.auditing.wording import risk_is
from redense.experiment.report.audit_charts import roc_charts
from redense.experiment.report.charts import CONTROLS_TRAIN, accuracy_charts, leakage_chart, rate_chart, training_charts
from redense.experiment.report.columns import INFERENCE_IS, PAGE, columns_of, guessing_text
from redense.experiment.report.comparisons import compared, note, with_opponent
from redense.experiment.report.conclusion import conclusion
from redense.experiment.report.examples import example_pictures
from redense.experiment.report.protocols import audited_name
from redense.experiment.report.provenance import command, origins, settings
from redense.experiment.report.seeds import any_several, over_seeds
from redense.experiment.report.side_by_side import CAPTION as SIDE_CAPTION
from redense.experiment.report.side_by_side import HEAD as SIDE_BY_SIDE
from redense.experiment.report.side_by_side import runs_chart, side_by_side, told_apart
from redense.experiment.report.table import notes
from redense.experiment.report.weight_charts import weight_charts
from redense.experiment.wording import difference_interval, difference_text
from redense.page.chart import Chart
from redense.page.render import render
from redense.text import p_figure

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow
    from redense.experiment.comparison import Comparison
    from redense.experiment.found import Found

EXPOSED_SHOWN = 4
"""Examples that a line of the table of the most exposed names."""
OVER_SEEDS, ONE_YET = "mean ± standard deviation over seeds", "that one's"
Cells = list[str]


def report_html(runs: Sequence[Found], show_examples: bool = False) -> str:
    """Render runs, one after another; where there are several, a table and a chart of their last phases come first."""
    runs = told_apart(runs) if len(runs) > 1 else runs
    numbers = range(1, len(runs) + 1) if len(runs) > 1 else [None]
    parts = [_part(run, number, show_examples) for run, number in zip(runs, numbers, strict=True)]
    title = _title(runs[0]) if len(runs) == 1 else f"{len(runs)} runs side by side"
    # audits are written out of the first seed; how to read them stands once, at the end
    results = [(row.name, row.result) for run in runs for row in run.audits[:1]]
    together = runs_chart(runs) if len(runs) > 1 else []
    return render(
        "report.html",
        ["redense.experiment.report", "redense.auditing"],
        [*together, *(chart for part in parts for group in part["charts"].values() for chart in group)],
        words=TERMS,
        title=title,
        together=together,
        side_by_side=[SIDE_BY_SIDE, side_by_side(runs), SIDE_CAPTION] if len(runs) > 1 else [],
        runs=parts,
        version=__version__,
        show_examples=show_examples,
        **{**audit_values(results), "audits": []},
    )


def _part(run: Found, number: int | None, show_examples: bool) -> dict[str, Any]:
    """Gather everything that the template says of a run; of several its `number` tells charts and tables apart."""
    prefix, of = ("", "") if number is None else (f"run{number}-", f", run {number}")
    results, audits, seed = run.results, run.audits, run.recipe.seeds[0]
    groups = results.shown()
    columns = columns_of(PAGE, any_several(groups))
    first = [row for row in audits if row.seed == seed]
    charts: dict[str, list[Chart]] = {
        "accuracy": [*accuracy_charts(results), *rate_chart(results, audits)] if results.rows else [],
        "roc": roc_charts(results, first),
        "training": [*training_charts(results, run.shown), *leakage_chart(results, audits)] if results.rows else [],
        "weights": weight_charts(run.shown) if run.shown else [],
    }
    return {
        "name": run.name,
        "title": _title(run),
        "prefix": prefix,
        "of": of,
        "conclusion": conclusion(results, audits),
        "state": run.state,
        "charts": {name: [replace(chart, key=prefix + chart.key) for chart in group] for name, group in charts.items()},
        "head": [f"{column.head}{' interval' * column.interval}" for column in columns],
        "over": f", {over_seeds(groups, OVER_SEEDS, ONE_YET)}" if any_several(groups) else "",
        "inference_is": INFERENCE_IS,
        "controls": CONTROLS_TRAIN * bool(results.recipe.controls),
        "notes": notes(results),
        "lines": [[column.cell(group) for column in columns] for group in groups],
        "comparisons": [_compared(one) for one in results.comparisons],
        "compared": note(results) if results.comparisons else "",
        "guessing": guessing_text(results.noise) if results.rows else "",
        "sentences": [one.sentence for one in (*with_opponent(results, results.at_equal_accuracy), *results.audits)],
        "audits": audit_values([(audited_name(row, first), row.result) for row in first])["audits"],
        "halves": any(PROTOCOLS[row.protocol].drawn for row in first),
        "seed": seed,
        "exposed_head": ["audit", *[f"no. {place}" for place in range(1, EXPOSED_SHOWN + 1)]],
        "exposed": [_exposed(row, audited_name(row, first)) for row in first if row.result.exposed],
        "risk_is": risk_is([row.result.nonmembers for row in first if row.result.exposed] or [0]),
        "pictures": example_pictures(run, first) if show_examples else [],
        "command": command(run.recipe, run.folder),
        "settings": settings(run.recipe),
        "origins": origins(run.plan, run.shown),
    }


def _title(run: Found) -> str:
    return f"{run.recipe.data}, {run.recipe.method.upper()}: the run {run.name!r}"


def _compared(one: Comparison) -> Cells:
    """Write a comparison of two phases: who, in what, by how much, and what that shows."""
    says: str
    if one.claimed:
        says = one.outcome or f"no difference that {one.seeds} seeds can show"
    else:
        says = "these networks differ" if one.networks_differ else "one seed: nothing about phases"
    return [
        compared(one),
        one.of.figure,
        f"{difference_text(one)}{one.of.unit}",
        says,
        difference_interval(one),
        "-" if one.p_shown is None else p_figure(one.p_shown),
    ]


def _exposed(row: AuditRow, name: str) -> Cells:
    """Name the most exposed members of an audit by place, class and risk, and nothing of their contents."""
    result = row.result
    exposed = result.exposed[:EXPOSED_SHOWN]
    most = [f"{one.name} (class {result.class_name(one.label)}, {one.risk:.4f})" for one in exposed]
    return [name, *most, *["-"] * (EXPOSED_SHOWN - len(most))]
