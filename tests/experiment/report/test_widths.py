"""What a run prints, at every width: all of its figures, whole."""

import dataclasses
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from redense.experiment.report.closing import closing_sentence
from redense.experiment.report.comparisons import comparisons_table
from redense.experiment.report.table import results_table
from redense.experiment.results import Results

PUBLISHED = Path(__file__).parents[3] / "docs" / "results"
FIGURE = re.compile(r"[-+]?\d+\.\d+|(?<![\d.])\.\d+")


@pytest.fixture(scope="module", params=["fashion-mnist", "dsd-against-control-digits"])
def results(request):
    return Results.from_json((PUBLISHED / f"{request.param}.json").read_text())


def printed(results, width):
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(results_table(results, "fmnist-cnn"), comparisons_table(results), closing_sentence(results))
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


def test_without_a_control_the_closing_sentence_says_so(results):
    without = dataclasses.replace(
        results, rows=tuple(row for row in results.rows if row.phase.kind != "control"), comparisons=()
    )
    assert "no control of the same budget was trained beside it (--controls longer llr)" in closing_sentence(without)
    assert closing_sentence(dataclasses.replace(results, rows=())) == ""


def test_the_closing_sentence_compares_with_the_best_control():
    results = Results.from_json((PUBLISHED / "dsd-against-control-digits.json").read_text())
    means = {}
    for group in results.groups():
        means[group[0].phase] = sum(row.test_accuracy for row in group) / len(group)
    best = max((phase for phase in means if phase.kind == "redense"), key=means.get)
    control = max((phase for phase in means if phase.beside == "redense"), key=means.get)
    sentence = closing_sentence(results)
    assert f"In short: {best.label}, the best of " in sentence
    assert f"{100 * (means[best] - means[control]):+.2f} points against {control.label}" in sentence
