import dataclasses
import json
import math
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from consoles import printed
from hypothesis import given
from hypothesis import strategies as st

from redense.experiment.found import Found
from redense.experiment.recipe import Recipe
from redense.experiment.report.charts import accuracy_charts, leakage_chart, training_charts
from redense.experiment.report.columns import TERMINAL, columns_of
from redense.experiment.report.comparisons import comparisons_table
from redense.experiment.report.figures import STYLES, style, table_figure
from redense.experiment.report.looks import LOOKS, ON_THE_WAY, in_view
from redense.experiment.report.page import report_html
from redense.experiment.report.published import published
from redense.experiment.report.table import plain_table, results_table
from redense.experiment.report.traces import results_traces, spread_apart, thinned_trace
from redense.experiment.results import Results, Row
from redense.files.writing import png_bytes, write_png
from redense.methods import CONTROLS, METHODS
from redense.page.chart import BASELINE
from redense.phases import Phase, dense, sparse
from redense.text import visible

PUBLISHED = Path(__file__).parents[3] / "docs" / "results"
HOLM = "after Holm's correction over all "


def row(phase, sparsity, seed=0, test=0.9, round=None):
    round = int(phase != "dense") if round is None else round
    return Row(
        phase=Phase(phase, 10, 0.1 if phase == "redense" else 1.0, sparsity, round), measured_sparsity=0.0, seed=seed,
        train_accuracy=1.0, test_accuracy=test, inference_accuracy=0.56789 + 0.001 * seed,
        inference_accuracy_cross_fitted=0.565 + 0.001 * seed, inference_interval=(0.55, 0.58), seconds=1.0,
        checkpoint=phase,
    )  # fmt: skip


FASHION = Recipe(data="fashion-mnist", model="fmnist-cnn", sparsities=(0.3,))
ONE_SEED = Results(FASHION, 60_000, 10_000, (row("dense", None), row("sparse", 0.3), row("redense", 0.3, test=0.91)))


def test_every_kind_of_phase_and_every_control_has_a_look_of_its_own():
    """`LOOKS`, the controls in the order of their table, `ON_THE_WAY`, and after them `BASELINE`."""
    assert len(LOOKS) + len(CONTROLS) == ON_THE_WAY == BASELINE - 1
    assert len({(one.colour, one.line, one.marker) for one in STYLES}) == len(STYLES) == BASELINE
    lists = re.findall(r"const ([A-Z]+) = (\[.*\]);", files("redense.page").joinpath("static/page.js").read_text())
    assert len(lists) == 7
    for name, found in lists:
        values = json.loads(found)
        assert len(set(values)) == len(values) == BASELINE + 1, name


def drawn(table):
    return [" ".join(line.split()) for line in printed(table, 130).splitlines()]


def test_the_table_has_the_published_numbers_beside_ours():
    # the published study's table, first three rows
    assert drawn(results_table(ONE_SEED, "fmnist-cnn"))[:4] == [
        "phase train % test % inference % inference, 95% published: train test inference",
        "dense 100.00 90.00 56.79 [55.00, 58.00] 99.77 90.89 57.89",
        "sparse 30% 100.00 90.00 56.79 [55.00, 58.00] 99.89 91.17 56.95",
        "re-dense 30% 100.00 91.00 56.79 [55.00, 58.00] 100.00 91.59 57.02",
    ]


def test_other_data_have_no_published_numbers():
    assert not published(Recipe(data="digits"), "fmnist-cnn")
    assert not published(FASHION, "mlp")
    digits = dataclasses.replace(ONE_SEED, recipe=Recipe(sparsities=(0.3,)))
    assert "published" not in plain_table(digits)


def test_as_text_results_have_no_published_numbers_whatever_network_they_name():
    for model in ("auto", "fmnist-cnn", "mlp"):
        results = dataclasses.replace(ONE_SEED, recipe=dataclasses.replace(FASHION, model=model))
        assert "published" not in str(results)
        assert "90.89" not in str(results)  # the published study's dense phase


def test_several_seeds_give_mean_and_deviation():
    rows = tuple(row("dense", None, seed, test) for seed, test in enumerate((0.90, 0.92)))
    results = Results(dataclasses.replace(FASHION, seeds=(0, 1)), 60_000, 10_000, rows)
    lines = drawn(results_table(results, "fmnist-cnn"))
    # no accuracy is above 100%, and a best balanced accuracy is not below 50%
    low, high = 0.5655 - math.hypot(0.0063531, 0.0155), 0.56839 + math.hypot(0.0063531, 0.01161)
    expected = f"dense 100.00 ± 0.00 91.00 ± 1.41 [78.29, 100.00] 56.84 ± 0.07 [{100 * low:.2f}, {100 * high:.2f}]"
    assert lines[1].startswith(expected)
    assert "Over seeds: mean ± standard deviation. Test, 95%: Student's interval" in " ".join(lines)


def test_the_value_of_pure_noise_is_told():
    assert "pure noise gives 50.34% here" in plain_table(ONE_SEED)
    assert str(ONE_SEED) == plain_table(ONE_SEED)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_figure_is_drawn(tmp_path, seeds):
    rows = tuple(dataclasses.replace(each, seed=seed) for seed in seeds for each in ONE_SEED.rows)
    results = Results(dataclasses.replace(FASHION, seeds=seeds), 60_000, 10_000, rows)
    write_png(tmp_path / "table.png", table_figure(results))
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["table.png"]


def said_of(dense_seeds, sparse_seeds):
    """What is said, by where, of a run of three seeds of which so many are measured yet; and its page's captions."""
    history = ((0.8, 0.51), (0.9, 0.52))
    rows = [row("dense", None, seed) for seed in range(dense_seeds)]
    rows += [row("sparse", 0.3, seed) for seed in range(sparse_seeds)]
    rows = tuple(dataclasses.replace(each, history=history) for each in rows)
    recipe = dataclasses.replace(FASHION, seeds=(0, 1, 2), epochs=(10, 10, 10))
    results = Results(recipe, 60_000, 10_000, rows).compared()
    page = report_html([Found(Path("run"), results.recipe, results, (), None, None)])
    drawn_here = [*accuracy_charts(results), *training_charts(results, None), *leakage_chart(results, [])]
    return {
        **{chart.key: chart.caption for chart in drawn_here},
        "table.png": table_figure(results).get_suptitle(),
        "table": " ".join(plain_table(results).split()),
        "page": "".join(re.findall(r"<caption>.*?</caption>", page)),
    }


def test_bars_and_means_are_over_the_seeds_that_there_are_and_not_over_those_asked_for():
    one, mixed, whole = said_of(1, 1), said_of(2, 1), said_of(3, 3)
    assert set(one) == {"accuracy", "inference", "training", "leakage", "table.png", "table", "page"}
    for where, text in one.items():
        assert not re.search("over seeds|seeds, bars|±|deviation|test, 95%", text), where
    for where, text in mixed.items():
        assert re.search("where a phase has one seed yet|1 to 2 seeds", text), where
    for where, text in whole.items():
        assert re.search("over seeds|over 3 seeds", text), where
        assert "one seed" not in text, where
    assert "bars are 95% intervals over the test examples." in one["accuracy"]
    says = "over seeds; where a phase has one seed yet, over the test examples."
    assert f"bars are 95% intervals {says}" in mixed["accuracy"]
    assert "mean over 1 to 2 seeds" in mixed["table.png"]
    assert "mean over 2 seeds" in said_of(2, 2)["table.png"]
    assert "Paired over 2 to 3 seeds" in " ".join(drawn(comparisons_table(begun(3, 2))))


def begun(sparse_seeds, redense_seeds):
    """Results of a run of three seeds of which so many sparse and re-dense networks are measured yet."""
    rows = [row("dense", None, seed) for seed in range(3)]
    rows += [row("sparse", 0.3, seed, 0.8 + 0.01 * seed) for seed in range(sparse_seeds)]
    rows += [row("redense", 0.3, seed) for seed in range(redense_seeds)]
    return Results(dataclasses.replace(FASHION, seeds=(0, 1, 2)), 60_000, 10_000, tuple(rows)).compared()


@pytest.mark.parametrize("sparsities", [(0.3,), (0.5, 0.52, 0.9)])
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_everything_has_its_interval_at_its_sparsity_and_nothing_covers_another(seeds, sparsities):
    """Also with one sparsity and one seed; the dense phase and controls stand beside, with names of their own."""
    longer = Phase("control", 10, 0.1, None, 1, "control-longer", "redense")
    kinds = [("dense", None), *((kind, sparsity) for sparsity in sparsities for kind in ("sparse", "redense"))]
    rows = [row(*kind, seed, test=0.9 - 0.01 * seed) for seed in seeds for kind in kinds]
    rows += [dataclasses.replace(one, phase=longer) for one in rows if one.phase.kind == "dense"]
    recipe = dataclasses.replace(FASHION, seeds=seeds, sparsities=sparsities)
    figure = table_figure(Results(recipe, 60_000, 10_000, tuple(rows)))
    for axes in figure.axes:
        bars = [tuple(segment) for one in axes.containers for segment in one.lines[2][0].get_segments()]
        assert len(bars) == len(kinds) + 1
        assert all(low < high for (_, low), (_, high) in bars)
        places = sorted(x for (x, _), _ in bars)
        gap = min(np.diff(sorted(100 * np.array(sparsities))), default=10)
        assert min(np.diff(places)) > gap / 7
        assert all(min(abs(x - 100 * sparsity) for sparsity in sparsities) < gap / 2 for x in places[:-2])
        assert np.ptp(axes.get_ylim()) >= 2
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names[len(sparsities) :] == ["dense", "control-\nlonger"]
    for chart in accuracy_charts(Results(recipe, 60_000, 10_000, tuple(rows))):
        ticks = {name: x for x, name in chart.x.ticks}
        assert list(ticks) == [
            *(f"{percent:g}%" for percent in (100 * np.array(sparsities))),
            "dense",
            "control-longer",
        ]
        shown = {series.name: series for series in chart.views[0].series}
        inside = [x for name in ("sparse", "re-dense") for x in shown[name].x]
        for name in ("dense", "control-longer"):
            assert shown[name].x[-1] == ticks[name] > max(inside)
        assert (
            min(np.diff(sorted([max(inside), ticks["dense"], ticks["control-longer"]])))
            > np.ptp([*ticks.values()]) / 20
        )


def test_phases_are_told_by_line_and_marker_too():
    every = [row("dense", None), row("sparse", 0.3), row("redense", 0.3)]
    phases = [one.phase for one in every]
    phases += [Phase("control", 10, 0.1, None, 1, f"control-{name}", "redense") for name in ("longer", "llr")]
    for part in ("colour", "line", "marker"):
        assert len({getattr(style(phase), part) for phase in phases}) == len(phases)


def test_traces_are_thinned_trace_and_keep_their_ends():
    points = np.arange(400.0).reshape(200, 2)
    assert len(thinned_trace(points)) == 12
    np.testing.assert_array_equal(thinned_trace(points)[[0, -1]], points[[0, -1]])
    np.testing.assert_array_equal(thinned_trace(points[:3]), points[:3])


@given(st.lists(st.sampled_from(["dense", "sparse", "redense"]), min_size=1, max_size=3, unique=True))
def test_a_picture_has_room_for_all_but_the_way_of_the_dense_phase(kinds):
    way = np.array([[10.0, 50.0], [90.0, 52.0]])
    points = {row(kind, None if kind == "dense" else 0.3).phase: way + len(kind) for kind in kinds}
    seen = {tuple(point) for point in in_view(points).tolist()}
    for phase, found in points.items():
        assert tuple(found[-1]) in seen
        assert (tuple(found[0]) in seen) == (phase.kind != "dense" or kinds == ["dense"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=13))
def test_labels_are_apart_inside_and_in_order(heights):
    heights = sorted(heights)
    found = spread_apart(heights, 0.07)
    assert np.all(np.diff(found) > 0.0699)
    assert min(found) > 0.01
    assert max(found) < 0.99


def test_traces_are_drawn_a_panel_a_sparsity(tmp_path):
    history = ((0.8, 0.51), (0.9, 0.52))
    phases = (*ONE_SEED.rows, row("sparse", 0.5), row("redense", 0.5))
    rows = tuple(dataclasses.replace(each, seed=seed, history=history) for seed in (0, 1) for each in phases)
    longer = [
        dataclasses.replace(rows[0], phase=Phase("control", 10, 0.1, None, 1, "control-longer", "redense"), seed=seed)
        for seed in (0, 1)
    ]
    recipe = dataclasses.replace(FASHION, seeds=(0, 1), sparsities=(0.3, 0.5))
    results = Results(recipe, 60_000, 10_000, (*rows, *longer)).compared()
    write_png(tmp_path / "traces.png", results_traces(results))
    figure = results_traces(results)
    drawn = {axes.get_title(): len(axes.lines) for axes in figure.axes if axes.get_visible()}
    assert drawn == {f"sparsity {percent}%": 4 for percent in (30, 50)}  # dense, sparse, re-dense, the control
    found = [(one.second.label, one.first.label) for one in results.at_equal_accuracy]
    assert found[0] == ("re-dense 30%", "control-longer beside re-dense")


def test_comparisons_say_what_they_rest_on():
    rows = tuple(
        dataclasses.replace(each, seed=seed, test_accuracy=each.test_accuracy + noise)
        for seed, noise in enumerate((0.0, 0.001, -0.001))
        for each in (row("sparse", 0.3), row("redense", 0.3, test=0.91 + 0.1 * noise))
    )
    several = Results(dataclasses.replace(FASHION, seeds=(0, 1, 2)), 60_000, 10_000, rows).compared()
    lines = drawn(comparisons_table(several))
    assert lines[0] == "Test accuracy, A - B, points difference 95% interval p Wilcoxon p, alone"
    assert lines[1].startswith("re-dense 30% - sparse 30% +1.00 [")
    assert lines[1].endswith("higher")
    assert any(line.startswith("Paired over 3 seeds. p: Student's t-test, which alone decides") for line in lines)
    assert "over all 2 claims" in " ".join(lines)
    correct = {"sparse": np.array([True, False, False]), "redense": np.array([True, True, False])}
    alone = Results(FASHION, 60_000, 10_000, rows[:2]).compared(correct.__getitem__)
    lines = drawn(comparisons_table(alone))
    assert lines[1] == "re-dense 30% - sparse 30% +33.33 1 0 1.00"
    assert "not which phase is better: train several" in " ".join(lines)
    assert "claims of this run" not in " ".join(lines)


@pytest.mark.parametrize(
    ("audited", "said"),
    [
        ("fashion-mnist", "train several. p of models in turn: a jackknife over their pairs, {}6"),
        (
            "location30",
            "Student's t-test, which alone decides, and of models in turn a jackknife over their pairs, {}48",
        ),
    ],
)
def test_claims_of_models_in_turn_say_what_they_rest_on(audited, said):
    """Of one seed, too, which claims nothing by itself."""
    results = Results.from_json((PUBLISHED / f"audit-{audited}.json").read_text())
    text = " ".join(drawn(comparisons_table(results)))
    assert f"{said.format(HOLM)} claims of this run: in at most 5% of runs on these examples is any" in text
    assert "Each interval is for one comparison by itself" in text
    assert ("Wilcoxon's test" in text) == (len(results.recipe.seeds) > 1)


def test_no_p_value_is_shown_as_zero():
    rows = tuple(
        dataclasses.replace(each, seed=seed, test_accuracy=each.test_accuracy + 0.00001 * seed * (each.phase.round + 1))
        for seed in range(6)
        for each in (row("dense", None), row("redense", 0.3, test=0.95))
    )
    results = Results(dataclasses.replace(FASHION, seeds=tuple(range(6))), 60_000, 10_000, rows).compared()
    assert results.comparisons[0].p < 1e-6
    assert " < .001 " in drawn(comparisons_table(results))[1]


def test_every_phase_of_every_method_and_control_has_a_colour_of_its_own():
    for method in METHODS.values():
        own = (dense(1), sparse(1)) if method.name == "phases" else ()
        phases = method.phases(0.3, (20, 10, 10), (1.0, 1.0, 0.1), 1, own)
        every = {phase.series: phase for phase in phases}
        for name in CONTROLS:
            every |= {phase.series: phase for phase in CONTROLS[name].phases(phases)}
        assert len({style(phase) for phase in every.values()}) == len(every) == len(set(map(str, every)))
        rows = tuple(dataclasses.replace(ONE_SEED.rows[0], phase=phase) for phase in every.values())
        assert all(Phase.from_columns(row.to_mapping())[0] == row.phase for row in rows)


def test_another_method_has_no_published_numbers(monkeypatch):
    other = dataclasses.replace(METHODS["dsd"], name="other")
    monkeypatch.setitem(METHODS, "other", other)
    assert not published(dataclasses.replace(FASHION, method="other"), "fmnist-cnn")


def test_rounds_of_a_phase_share_an_entry_of_a_legend_and_pictures_show_what_a_method_yields():
    recipe = Recipe(method="acdc", sparsities=(0.5,), epochs=(10, 10, 10), controls=("longer",))
    phases = dict.fromkeys(phase for phases in recipe.lineages() for phase in phases)
    rows = [
        Row(phase, 0.5, 0, 1.0, 0.9, 0.55, 0.54, (0.5, 0.6), 1.0, str(place), ((0.9, 0.55),) * phase.epochs)
        for place, phase in enumerate(phases)
    ]
    results = Results(recipe, 600, 100, tuple(rows))
    of_rounds = {replace(phase, round=0).label for phase in phases}
    assert len(of_rounds) < len(phases) / 3
    for chart in [*training_charts(results, None), *leakage_chart(results, [])]:
        (view,) = chart.views
        assert {series.group for series in view.series} == of_rounds, chart.key
        assert [series.name for series in view.series] == [phase.label for phase in phases], chart.key
    yielded = {group[0].phase.series for group in results.shown()}
    for chart in accuracy_charts(results):
        assert {series.name for series in chart.views[0].series} - {"pure noise"} <= yielded, chart.key


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_table_has_a_column_each_and_intervals_of_the_test_accuracy_only_over_seeds(seeds):
    rows = [row("dense", None, seed) for seed in seeds]
    results = Results(Recipe(seeds=seeds), 100, 100, tuple(rows))
    shown = " ".join(drawn(results_table(results, "")))
    for column in columns_of(TERMINAL, len(seeds) > 1):
        assert column.head in shown
        assert column.cell(rows) in shown
    assert ("test, 95%" in shown) == (len(seeds) > 1)


@pytest.mark.parametrize("name", ["caf\udce9.npz", r"$\frac$", "a\nb\x1b[31m"])
def test_data_of_any_name_have_their_picture(name):
    figure = table_figure(replace(ONE_SEED, recipe=replace(FASHION, data=name)))
    assert png_bytes(figure).startswith(b"\x89PNG")
    assert figure.get_suptitle().startswith(f"{visible(name)}: ")
