"""The table: a row a phase and sparsity, the published study's numbers beside ours."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table

from redense.experiment.report.published import published
from redense.metrics import balanced_accuracy_of_noise
from redense.metrics.spread import Spread

if TYPE_CHECKING:
    from redense.experiment.results import Results, Row

PLAIN_WIDTH = 150
_OVER_SEEDS = (
    "mean ± standard deviation over seeds; test, 95%: Student's interval of the mean over seeds, on these examples;",
    "inference, 95%: over seeds and examples, low end from thresholds judged on other examples than chose them",
)


def results_table(results: Results, model: str) -> RenderableType:
    """Draw the table in percent: mean ± standard deviation where there are several seeds, else the interval."""
    study = published(results.recipe, model)
    several = len(results.recipe.seeds) > 1
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("phase", no_wrap=True)
    names = ("train %", "test %", "test, 95%", "inference %", "inference, 95%")
    for name in (name for name in names if several or name != "test, 95%"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("published: train", "test", "inference") if study else ():
        table.add_column(name, justify="right", no_wrap=True, style="dim")
    for group in results.shown():
        first = group[0]
        cells = [first.phase.label]
        cells += [_percent(group, "train_accuracy"), _percent(group, "test_accuracy")]
        if several:
            cells.append(_interval(Spread.of((row.test_accuracy for row in group), (0.0, 1.0)).interval))
        cells.append(_percent(group, "inference_accuracy"))
        cells.append(_interval(_inference(group).interval if several else first.inference_interval))
        if study:
            # published for one round of sparse and re-dense
            known = study.get((first.phase.kind, first.phase.sparsity)) if first.phase.round <= 1 else None
            cells += [f"{value:.2f}" for value in known] if known else ["-"] * 3
        table.add_row(*(cell.replace("[", r"\[") for cell in cells))
    return Group(table, "", *_footnotes(results))


def plain_table(results: Results) -> str:
    """Return the table as plain text, without the published study's numbers."""
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(results_table(results, results.recipe.model))
    return captured.get().rstrip()


def _footnotes(results: Results) -> list[str]:
    noise = 100 * balanced_accuracy_of_noise(results.members, results.nonmembers)
    seeds = len(results.recipe.seeds)
    return [
        "inference = membership-inference accuracy: how often the best threshold on the model's confidence tells",
        f"training from test examples ({results.members:,} and {results.nonmembers:,}, weighted alike). "
        f"50% = nothing leaks;",
        f"since the threshold is chosen on the same examples, pure noise gives {noise:.2f}% here.",
        *(_OVER_SEEDS if seeds > 1 else []),
    ]


def _inference(group: tuple[Row, ...]) -> Spread:
    return Spread.of_best_accuracy(
        [row.inference_accuracy for row in group],
        [row.inference_accuracy_cross_fitted for row in group],
        [row.inference_interval for row in group],
    )


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else "[{:.2f}, {:.2f}]".format(*(100 * end for end in ends))


def _percent(group: tuple[Row, ...], name: str) -> str:
    spread = Spread.of(100 * getattr(row, name) for row in group)
    return f"{spread.mean:.2f}" + (f" ± {spread.deviation:.2f}" if spread.deviation is not None else "")
