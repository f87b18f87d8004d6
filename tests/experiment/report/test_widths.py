"""What a run prints, at every width: all of its figures, whole."""

import dataclasses
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from redense.experiment.report.comparisons import comparisons_table
from redense.experiment.report.conclusion import conclusion
from redense.experiment.report.table import results_table
from redense.experiment.results import Results

PUBLISHED = Path(__file__).parents[3] / "docs" / "results"
FIGURE = re.compile(r"[-+]?\d+\.\d+|(?<![\d.])\.\d+")


@pytest.fixture(scope="module", params=["fashion-mnist", "dsd-against-control-digits"])
def results(request):
    return Results.from_json((PUBLISHED / f"{request.param}.json").read_text())


def printed(results, width):
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(results_table(results, "fmnist-cnn"), comparisons_table(results), *conclusion(results))
    return console.file.getvalue()


def test_no_figure_is_cut_at_any_width(results):
    wide = set(FIGURE.findall(printed(results, 200)))
    dropped = {figure for line in printed(results, 200).splitlines() for figure in FIGURE.findall(line)[-1:]}
    for width in (60, 70, 80, 100, 120, 150):
        text = printed(results, width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        missing = wide - set(FIGURE.findall(text))
        if missing - dropped:
            assert "Left out at this width: the published study's figures" in text
        assert "Left out at this width" in text or not missing


def test_without_a_control_the_conclusion_says_so(results):
    without = dataclasses.replace(
        results,
        recipe=dataclasses.replace(results.recipe, controls=()),
        rows=tuple(row for row in results.rows if row.phase.kind != "control"),
        comparisons=tuple(one for one in results.comparisons if one.first.kind != "control"),
    )
    said = conclusion(without)[0]
    if len(results.recipe.seeds) > 1:
        assert "no control of the same budget was trained beside it (--controls longer llr)" in said
    else:
        assert "With one seed nothing is shown about phases" in said


def test_the_conclusion_compares_with_the_control_that_is_nearest():
    results = Results.from_json((PUBLISHED / "dsd-against-control-digits.json").read_text())
    found = [
        one
        for one in results.comparisons
        if (one.quantity, one.first.kind, one.second.kind) == ("test_accuracy", "control", "redense")
    ]
    least = {one.second: min(other.difference for other in found if other.second == one.second) for one in found}
    nearest = max(least, key=least.get)
    assert not any(one.shown and one.difference > 0 for one in found)
    said = conclusion(results)[0]
    assert said.startswith("At no sparsity is re-dense training shown to beat every control of the same budget:")
    assert f"the nearest, {nearest.label}, lies {100 * abs(least[nearest]):.2f} points" in said
