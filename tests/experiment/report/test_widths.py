"""What a run prints, at every width: all of its figures, whole."""

import dataclasses
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from consoles import printed
from rich.console import Group

from redense.experiment.comparison import over_seeds
from redense.experiment.family import corrected
from redense.experiment.recipe import Recipe
from redense.experiment.report.comparisons import comparisons_table
from redense.experiment.report.conclusion import conclusion
from redense.experiment.report.table import results_table
from redense.experiment.results import Results, Row
from redense.terminal import Fitting

PUBLISHED = Path(__file__).parents[3] / "docs" / "results"
FIGURE = re.compile(r"[-+]?\d+\.\d+|(?<![\d.])\.\d+")


@pytest.fixture(scope="module", params=["fashion-mnist", "dsd-against-control-digits"])
def results(request):
    return Results.from_json((PUBLISHED / f"{request.param}.json").read_text())


def shown(results, width):
    parts = results_table(results, "fmnist-cnn"), comparisons_table(results), *conclusion(results)
    return printed(Group(*parts), width)


def test_no_figure_is_cut_at_any_width(results):
    wide = set(FIGURE.findall(shown(results, 200)))
    dropped = {figure for line in shown(results, 200).splitlines() for figure in FIGURE.findall(line)[-1:]}
    for width in (60, 70, 80, 100, 120, 150):
        text = shown(results, width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        missing = wide - set(FIGURE.findall(text))
        said = " ".join(text.split())
        if missing - dropped:
            assert "the published study's figures" in said or "train accuracy" in said
        assert "Left out at this width" in text or not missing


LEFT_OUT = {
    "train %": "train accuracy",
    "published: train": "the published study's figures",
    "test": "the published study's figures",
    "inference": "the published study's figures",
    "Wilcoxon p, alone": "Wilcoxon's p-values",
    "only A right": "how many examples only one of the two has right",
    "only B right": "how many examples only one of the two has right",
}
"""What is said to be left out, by the column that is."""


def odd(one, two, seeds):
    """Results of one seed or two, of such accuracies."""
    found = Results.from_json((PUBLISHED / "dsd-against-control-digits.json").read_text())
    rows = tuple(
        dataclasses.replace(row, train_accuracy=one, test_accuracy=(one, two)[row.seed], inference_accuracy=two)
        for row in found.rows
        if row.seed < seeds and row.phase.sparsity in (None, 0.5)
    )
    recipe = dataclasses.replace(found.recipe, seeds=tuple(range(seeds)), sparsities=(0.5,))
    some = dataclasses.replace(found, recipe=recipe, rows=rows, at_equal_accuracy=(), audits=())
    right = {row.checkpoint: np.random.default_rng(row.seed).random(300) < row.test_accuracy for row in rows}
    return some.compared(right.__getitem__)


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(("one", "two"), [(0.0, 1.0), (0.2011, 0.0707)])
def test_every_figure_of_odd_results_is_whole_or_its_column_is_said_to_be_left_out(one, two, seeds):
    found = odd(one, two, seeds)
    fittings = [
        part
        for table in (results_table(found, "fmnist-cnn"), comparisons_table(found))
        for part in table.renderables
        if isinstance(part, Fitting)
    ]
    assert len(fittings) >= 2
    for fitting, width in itertools.product(fittings, range(40, 201, 5)):
        text = printed(fitting, width)
        said = " ".join(text.split())
        whole = set(re.split(r"\s{2,}|\n", text)) | {part for line in text.splitlines() for part in line.split()}
        assert max(map(len, text.splitlines())) <= width
        for column in fitting.tables[0][0].columns[1:]:
            left_out = LEFT_OUT.get(str(column.header))
            if left_out is not None and left_out in said.partition("Left out at this width: ")[2]:
                continue
            for cell in map(str, column.cells):
                assert not cell or cell in whole or (" " in cell and cell in text)


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
        assert "One seed does not show which phase is more accurate" in said


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


def test_the_conclusion_is_about_the_last_round():
    recipe = Recipe(epochs=(2, 1, 1), sparsities=(0.5,), seeds=(0, 1, 2), rounds=2, controls=("longer",))
    gain = {"round 1": 0.05, "round 2": -0.05}
    comparisons, rows = [], []
    for phase in recipe.lineages()[0][1:]:
        beside = next(one for one in recipe.lineages()[1] if (one.beside, one.round) == (phase.kind, phase.round))
        above = gain[f"round {phase.round}"]
        comparisons.append(over_seeds("test_accuracy", beside, phase, [above, above + 0.001, above - 0.001]))
        rows += [
            Row(one, 0.0, seed, 0.9, 0.8 + 0.001 * seed, 0.5, 0.5, (0.5, 0.6), 1.0, "key")
            for one in (phase, beside)
            for seed in recipe.seeds
        ]
    results = Results(recipe, 100, 100, tuple(rows), tuple(corrected(comparisons)))
    said = conclusion(results)[0]
    assert said.startswith("At no sparsity is re-dense training shown to beat every control")
    assert "re-dense 50% (round 2) lies 5.00 points of test accuracy below control-longer" in said
