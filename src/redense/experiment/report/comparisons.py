"""The comparisons of a run's phases: a table of paired differences, and what they amount to in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from redense.experiment.comparison import TESTED, Comparison
from redense.experiment.report.seeds import best_group
from redense.experiment.wording import QUANTITIES, difference_interval, difference_text
from redense.terminal import Fitting, below, prose, table_of
from redense.text import p_figure

if TYPE_CHECKING:
    from redense.experiment.results import Results

ONE_SEED = (
    "One seed: McNemar's exact test compares these two networks on these test examples (p after Holm's correction over "
    "all lines). It says nothing about the next seed, and so not which phase is better: train several."
)
WILCOXON = "Wilcoxon's test, not corrected, decides nothing. "
INTERVALS = (
    "Each interval is for one comparison by itself, so it may lie on one side of 0 where no difference is shown. No "
    "difference shown is not the same as none: the interval says how large one may be."
)


def comparisons_table(results: Results) -> RenderableType:
    """Draw a table a quantity, of results with comparisons; then verdicts on the last phase against the controls."""
    parts: list[RenderableType] = []
    for quantity in TESTED:
        found = [comparison for comparison in results.comparisons if comparison.quantity == quantity]
        if found:
            parts += [_table(f"{QUANTITIES[quantity].figure.capitalize()}, A - B, points", found), ""]
    parts.append(prose(note(results)))
    against_control = [one for one in with_opponent(results, results.comparisons) if one.first.kind == "control"]
    said = sentences(results, against_control)
    parts += ["", *map(prose, said)] if said else []
    return Group(*parts)


def leakage_sentences(results: Results) -> list[str]:
    """Say what the last phase gives away at equal test accuracy, against what it has to beat."""
    return sentences(results, with_opponent(results, results.at_equal_accuracy))


def with_opponent(results: Results, comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Choose the comparisons of the last phase with what it has to beat."""
    against = results.opponent()
    return [one for one in comparisons if one.first.kind == against and results.recipe.is_final(one.second)]


def audit_sentences(results: Results, short: bool = False) -> list[str]:
    """Say how phases compare in the run's audits; with `short` the last one with what it has to beat."""
    return sentences(results, with_opponent(results, results.audits) if short else results.audits)


def sentences(results: Results, comparisons: Sequence[Comparison]) -> list[str]:
    """Put comparisons into words: of what one seed cannot tell, only what is about the phase that the conclusion names.

    The others are in `results.json` and on the page.
    """
    best = best_group(results)
    return [
        one.sentence
        for one in comparisons
        if one.claimed or one.replicates is not None or best is None or one.second == best[0].phase
    ]


def compared(comparison: Comparison) -> str:
    """Name the phases of a comparison, as what is taken from what."""
    return f"{comparison.second.label} - {comparison.first.label}"


def _table(title: str, comparisons: list[Comparison]) -> Fitting:
    """Draw the wide table; narrow, without Wilcoxon's p; narrower, the interval below the difference."""
    if not any(comparison.claimed for comparison in comparisons):
        names = ("difference", "only A right", "only B right", "McNemar p")
        rows = [(*_networks(one), "networks differ" if one.networks_differ else "") for one in comparisons]
        layouts = [(_drawn(title, names, comparisons, rows, broken), "") for broken in (False, True)]
        few = [(difference, p, verdict) for difference, _, _, p, verdict in rows]
        short = _drawn(title, (names[0], names[3]), comparisons, few, True)
        return Fitting([*layouts, (short, "how many examples only one of the two has right")])
    wide = [(*_claim(one), one.outcome or "") for one in comparisons]
    shorter = [(difference, interval, p, verdict) for difference, interval, p, _, verdict in wide]
    stacked = [(below(difference, interval), p, verdict) for difference, interval, p, verdict in shorter]
    left_out = "Wilcoxon's p-values"
    names = ("difference", "95% interval", "p", "Wilcoxon p, alone")
    return Fitting(
        [
            (_drawn(title, names, comparisons, wide, False), ""),
            (_drawn(title, names[:3], comparisons, shorter, False), left_out),
            (_drawn(title, (names[0], names[2]), comparisons, stacked, True), left_out),
        ]
    )


def _drawn(
    title: str, names: Sequence[str], comparisons: Sequence[Comparison], rows: Sequence[Sequence[str]], broken: bool
) -> Table:
    """Draw a line a comparison; what is no figure may be broken over lines if that is allowed."""
    table = table_of(title, *names, "", text=[title, ""], broken=[title, ""] if broken else [])
    for comparison, cells in zip(comparisons, rows, strict=True):
        table.add_row(compared(comparison), *cells)
    return table


def _claim(comparison: Comparison) -> tuple[str, str, str, str]:
    """Return the difference, its interval, and the p-values of Student's and Wilcoxon's test."""
    texts, wilcoxon = (difference_text(comparison), difference_interval(comparison)), comparison.wilcoxon
    return *texts, _p(comparison.p), _p(None if wilcoxon is None else wilcoxon.raw)


def _networks(comparison: Comparison) -> tuple[str, str, str, str]:
    """Return the difference, how many examples one network alone has right, and McNemar's p-value."""
    only = str(comparison.only_second), str(comparison.only_first)
    return difference_text(comparison), *only, _p(comparison.p_shown)


def note(results: Results) -> str:
    """Say which tests compare phases, and how far what they say reaches."""
    seeds = sorted({one.seeds for one in results.comparisons if one.claimed})
    in_turn = any(one.claimed and one.replicates is not None for one in results.audits)
    parts = [] if seeds else [ONE_SEED]
    if seeds or in_turn:
        compared = (*results.comparisons, *results.at_equal_accuracy, *results.audits)
        claims = sum(comparison.claimed for comparison in compared)
        parts.append(
            f"{_test(seeds, in_turn)}, after Holm's correction over all {claims} claims of this run: in at most 5% of "
            f"runs on these examples is any of them false, if trainings scatter symmetrically. {WILCOXON * bool(seeds)}"
            f"{INTERVALS}"
        )
    return " ".join(parts)


def _test(seeds: Sequence[int], in_turn: bool) -> str:
    """Name the test of what is claimed over so many seeds, and of models in turn."""
    if not seeds:
        return "p of models in turn: a jackknife over their pairs"
    over = " to ".join(str(number) for number in dict.fromkeys((seeds[0], seeds[-1])))
    other = ", and of models in turn a jackknife over their pairs" * in_turn
    return f"Paired over {over} seeds. p: Student's t-test, which alone decides{other}"


def _p(value: float | None) -> str:
    return "-" if value is None else p_figure(value)
