"""The comparisons of a run's phases: a table of paired differences, and what they amount to in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from redense.experiment.comparison import Comparison, Tested
from redense.text import p_text

if TYPE_CHECKING:
    from redense.experiment.results import Results

TITLES: dict[Tested, str] = {
    "test_accuracy": "Test accuracy, A - B, points",
    "inference_accuracy": "Inference accuracy, A - B, points",
}


def comparisons_table(results: Results) -> RenderableType:
    """Draw a table a quantity; then verdicts on the last phase against the controls."""
    parts: list[RenderableType] = []
    for quantity, title in TITLES.items():
        found = [comparison for comparison in results.comparisons if comparison.quantity == quantity]
        if found:
            parts += [_table(title, found), ""]
    if not parts:
        return Group()
    parts.append(_note(results))
    final = results.recipe.final_phase.kind
    against_control = [
        comparison
        for comparison in results.comparisons
        if comparison.first.kind == "control" and comparison.second.kind == final
    ]
    parts += ["", *(comparison.sentence for comparison in against_control)]
    return Group(*parts)


def leakage_sentences(results: Results) -> list[str]:
    """Say what the last phase gives away at equal test accuracy, against the controls, else the dense phase."""
    against = "control" if results.recipe.controls else "dense"
    return [
        comparison.sentence
        for comparison in results.at_equal_accuracy
        if comparison.second.kind == results.recipe.final_phase.kind and comparison.first.kind == against
    ]


def audit_sentences(results: Results) -> list[str]:
    """Say how phases compare in the run's audits."""
    return [comparison.sentence for comparison in results.audits]


def _table(title: str, comparisons: list[Comparison]) -> Table:
    several = any(comparison.claimed for comparison in comparisons)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(title, no_wrap=True)
    names = ("95% interval", "p", "Wilcoxon p, alone") if several else ("only A right", "only B right", "McNemar p")
    for name in ("difference", *names, ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for comparison in comparisons:
        if several:
            low_high = comparison.interval
            interval = "-" if low_high is None else rf"\[{100 * low_high[0]:+z.2f}, {100 * low_high[1]:+z.2f}]"
            wilcoxon = comparison.wilcoxon
            cells = [interval, _p(comparison.p), _p(None if wilcoxon is None else wilcoxon.raw)]
        else:
            mcnemar = comparison.mcnemar
            p = None if mcnemar is None else mcnemar.holm
            cells = [str(comparison.only_second), str(comparison.only_first), _p(p)]
        difference = comparison.difference or 0.0
        if comparison.claimed:
            verdict = ("higher" if difference > 0 else "lower") if comparison.shown else ""
        else:
            verdict = "networks differ" if comparison.networks_differ else ""
        name = f"{comparison.second.label} - {comparison.first.label}"
        table.add_row(name, f"{100 * difference:+z.2f}", *cells, verdict)
    return table


def _note(results: Results) -> str:
    compared = (*results.comparisons, *results.at_equal_accuracy, *results.audits)
    claims = sum(comparison.claimed for comparison in compared)
    if not claims:
        return (
            "One seed: McNemar's exact test compares these two networks on these test examples (p after Holm's "
            "correction over all lines). It says nothing about the next seed, and so not which phase is better: train "
            "several."
        )
    seeds = max(comparison.seeds for comparison in results.comparisons)
    return (
        f"Paired over {seeds} seeds. p: Student's t-test, which alone decides, after Holm's correction over all "
        f"{claims} claims of this run: in at most 5% of runs is any of them false. Wilcoxon's test, not corrected, "
        "decides nothing. Each interval is for one comparison by itself."
    )


def _p(value: float | None) -> str:
    return "-" if value is None else p_text(value).removeprefix("p = ").removeprefix("p ")
