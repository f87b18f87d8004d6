"""A run's report: its numbers are the run's, it holds together without the rest, and gives nothing away."""

import dataclasses
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st
from pages import charts, is_in_order, library, paragraphs

from redense.commands.main import main
from redense.commands.report import Report
from redense.data import load
from redense.errors import DataError, FolderError
from redense.experiment.audit_rows import read_rows
from redense.experiment.checkpoints import Store
from redense.experiment.comparison import Comparison, PValue
from redense.experiment.found import Found, find
from redense.experiment.recipe import Recipe, load_recipe
from redense.experiment.report.conclusion import conclusion, last_groups
from redense.experiment.report.examples import shrunk
from redense.experiment.report.figures import style
from redense.experiment.report.looks import look
from redense.experiment.report.page import report_html
from redense.experiment.report.provenance import command
from redense.experiment.report.side_by_side import told_apart
from redense.experiment.results import Results, Row
from redense.experiment.shown import read_shown
from redense.experiment.write_report import write_report
from redense.methods import CONTROLS, METHODS
from redense.metrics.spread import Spread
from redense.page.chart import BASELINE
from redense.phases import Phase, dense, sparse
from redense.text import NO_BREAK

pytestmark = pytest.mark.xdist_group("audited_images")  # the run of that name is made in one process

MOST_BYTES = 4_000_000


def values(chart, view=0):
    return {series["name"]: series for series in chart["views"][view]["series"]}


def test_a_run_writes_its_report_and_the_numbers_are_those_of_its_results(audited_images):
    page = (audited_images / "report.html").read_text()
    rows = json.loads((audited_images / "results.json").read_text())["rows"]
    drawn = charts(page)
    for quantity, chart in (("test_accuracy", "accuracy"), ("inference_accuracy", "inference")):
        found = values(drawn[chart])
        for kind, name in (("sparse", "sparse"), ("redense", "re-dense")):
            expected = [_mean(rows, quantity, phase=kind, sparsity=sparsity) for sparsity in (0.3, 0.9)]
            np.testing.assert_allclose(found[name]["y"], expected, rtol=1e-6)
        dense = _mean(rows, quantity, phase="dense")
        np.testing.assert_allclose(found["dense"]["y"], dense, rtol=1e-6)
        np.testing.assert_allclose(found["control-llr"]["y"], _mean(rows, quantity, lineage="control-llr"), rtol=1e-6)
        assert f"{dense:.2f} ±" in page
    curve = values(drawn["training"])["sparse 30%"]
    histories = np.mean([row["history"] for row in rows if (row["phase"], row["sparsity"]) == ("sparse", 0.3)], axis=0)
    np.testing.assert_allclose(curve["y"][1:], 100 * histories[:, 0], rtol=1e-6)
    assert curve["x"] == [2, 3, 4]  # from the end of the dense phase's two epochs
    leakage = values(drawn["leakage"])["sparse 30%"]
    np.testing.assert_allclose([leakage["x"], leakage["y"]], 100 * histories.T, rtol=1e-6)


def _mean(rows, quantity, **what):
    return 100 * np.mean([row[quantity] for row in rows if what.items() <= row.items()])


def test_the_audits_numbers_are_those_of_audit_json(audited_images):
    page = (audited_images / "report.html").read_text()
    rows = json.loads((audited_images / "audit.json").read_text())["rows"]
    drawn = charts(page)
    first = next(row for row in rows if row["seed"] == 0)["result"]
    assert first["verdict"]["sentence"].replace("'", "&#39;") in page.replace("&nbsp;", " ")
    assert f"{first['attacks'][0]['auc']:.4f}" in page
    view = values(drawn["roc-phases"])["dense"]
    fpr, tpr = first["curves"][first["primary"]]
    least = 100 / first["nonmembers"]
    points = [(100 * x, 100 * y) for x, y in zip(fpr, tpr, strict=True) if 100 * min(x, y) > least]
    drawn_points = list(zip(view["x"], view["y"], strict=True))
    assert len(points) > 3
    for point in points:
        assert any(np.allclose(point, one, rtol=1e-5) for one in drawn_points)
    assert all(len(x) <= 400 for row in rows for x, _ in row["result"]["curves"].values())


def test_charts_against_sparsity_have_room_for_whole_markers(audited_images):
    """Right of the last column, and left of where lines begin, as much as half a column."""
    drawn = charts((audited_images / "report.html").read_text())
    for key in ("accuracy", "inference"):
        low, high = drawn[key]["x"]["ends"]
        places = [x for view in drawn[key]["views"] for series in view["series"] for x in series["x"]]
        names = [name for _, name in drawn[key]["x"]["ticks"] if not name.endswith("%")]
        assert low < min(places) < max(places) < high
        assert high - max(places) > 0.02 * (high - low)
        assert {"dense", "control-llr"} <= {*names}


def test_headings_are_in_order_and_names_of_tables_and_charts_unlike(audited_images, tmp_path):
    """Also where one audit is all there is; of several runs see below."""
    read_rows(audited_images)[0].result.to_html(tmp_path / "one.html")
    for path in (audited_images / "report.html", audited_images / "audit.html", tmp_path / "one.html"):
        assert is_in_order(path.read_text()), path.name


def test_pages_with_charts_name_the_library_and_others_do_not(audited_images, tmp_path):
    shutil.copy(audited_images / "recipe.json", tmp_path)
    bare = write_report([tmp_path])
    for path in (audited_images / "report.html", audited_images / "audit.html", bare):
        page = path.read_text()
        assert ("charts by plotly.js" in page.split("<footer>")[1].split("</footer>")[0]) == (path != bare)
        assert (library() in page) == (path != bare)


def test_no_interval_of_running_text_is_broken_over_lines(audited_images):
    for name in ("report.html", "audit.html"):
        texts = paragraphs((audited_images / name).read_text())
        whole = [text for text in texts if re.search(rf"\[[-+.\d]+,{NO_BREAK}[-+.\d]+\]", text)]
        assert whole
        assert [text for text in texts if re.search(r"\[[-+.\d]+, |\bp [<=]", text)] == []


def test_weights_are_those_of_the_checkpoints(audited_images):
    """Against the obvious count, weight by weight."""
    results, store, shown = Results.load(audited_images), Store(audited_images), read_shown(audited_images)
    keys = {row.phase.label: row.checkpoint for row in results.rows if row.seed == 0}
    dense, sparse, redense = (store.load(keys[name]) for name in ("dense", "sparse 30%", "re-dense 30%"))
    assert [weights.name for weights in shown.weights] == ["", *sparse.masks]
    for weights in shown.weights[1:]:
        mask = sparse.masks[weights.name]
        expected = {
            ("dense", "end"): dense.model[weights.name],
            ("sparse 30%", "pruned"): dense.model[weights.name] * mask,
            ("sparse 30%", "end"): sparse.model[weights.name],
            ("re-dense 30%", "end"): redense.model[weights.name],
        }
        states = {(state.phase.label, state.moment): state for state in weights.states}
        edges = np.linspace(-weights.reach, weights.reach, 82)
        for moment, tensor in expected.items():
            state, flat = states[moment], tensor.flatten().numpy().astype(float)
            others = flat[flat != 0]
            inside = [(others >= low) & (others < high) for low, high in itertools.pairwise(edges)]
            assert sum(abs(sum(one) - count) for one, count in zip(inside, state.counts, strict=True)) <= 2
            assert state.zeros == sum(flat == 0)
            assert state.zeros + state.beyond + sum(state.counts) == weights.size == len(flat)
            assert state.kept == (int(mask.sum()) if "sparse" in moment[0] else weights.size)
    kept = values(charts((audited_images / "report.html").read_text())["kept"])["sparse 90%"]
    assert kept["y"] == pytest.approx([10] * len(kept["y"]), abs=3)


def test_a_page_is_small_names_no_address_and_holds_no_example(audited_images, npz):
    page = (audited_images / "report.html").read_text()
    assert len(page.encode()) < MOST_BYTES
    own = page.replace(library(), "").replace("http://www.w3.org/2000/svg", "")  # a name, no address
    assert not re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}", own)
    assert "data:image" not in own
    assert "<img" not in own


def test_a_finished_folder_is_drawn_without_torch_and_scikit_learn(audited_images, tmp_path):
    script = (
        "import sys; from redense.experiment.write_report import write_report; from pathlib import Path; "
        f"write_report([Path({str(audited_images)!r})], Path({str(tmp_path / 'report.html')!r})); "
        "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "report.html").read_text() == (audited_images / "report.html").read_text()


def test_what_the_checkpoints_gave_is_taken_anew_when_it_is_missing(audited_images, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(audited_images, folder)
    before = read_shown(folder)
    (folder / "shown.json").write_text('{"format": 0}')
    assert write_report([folder]) == folder / "report.html"
    assert read_shown(folder) == before
    shutil.rmtree(folder / "checkpoints")
    (folder / "shown.json").unlink()
    write_report([folder])
    assert {"accuracy", "training"} <= set(charts((folder / "report.html").read_text()))
    assert "weights" not in charts((folder / "report.html").read_text())


def test_an_unfinished_run_has_a_report(undisturbed, audited_images, tmp_path):
    (tmp_path / "begun").mkdir()
    shutil.copy(audited_images / "recipe.json", tmp_path / "begun")
    page = write_report([tmp_path / "begun"]).read_text()
    assert "No phase is measured yet." in page
    assert "This run is not finished: 0 of 16 phases of the table are measured." in page
    shutil.copy(undisturbed / "results.json", tmp_path / "begun")
    assert "5 of 16 phases" in write_report([tmp_path / "begun"]).read_text()
    assert "not finished" not in (undisturbed / "report.html").read_text()


def test_several_runs_stand_side_by_side_and_need_a_name(audited_images, undisturbed, tmp_path):
    page = write_report([audited_images, undisturbed], tmp_path / "both.html").read_text()
    assert {"runs", "run1-accuracy", "run2-accuracy", "run1-roc-phases"} <= set(charts(page))
    last = [group for run in (audited_images, undisturbed) for group in last_groups(Results.load(run))]
    table = page.split("<tbody>")[1].split("</tbody>")[0]
    assert table.count("<tr>") == len(last) > 2
    for group in last:
        assert f"{100 * np.mean([row.test_accuracy for row in group]):.2f}" in table
    drawn = charts(page)["runs"]["views"][0]["series"]
    np.testing.assert_allclose(
        [x for series in drawn for x in series["x"]],
        [100 * np.mean([row.test_accuracy for row in group]) for group in last],
        rtol=1e-6,
    )
    assert is_in_order(page)
    ids = re.findall(r' id="([^"]+)"', page.replace(library(), ""))
    assert len(ids) == len(set(ids))
    with pytest.raises(FolderError, match="got 2 runs and no file"):
        write_report([audited_images, undisturbed])
    with pytest.raises(FolderError, match="no recipe.json"):
        write_report([tmp_path])


FOLDERS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda parts: Path("/", *parts))


@given(st.lists(FOLDERS, min_size=1, max_size=4))
def test_runs_beside_each_other_are_told_apart_by_as_few_folders_as_that_takes(paths):
    """Against the obvious: ends of paths, longer and longer."""
    recipe = Recipe()
    found = [Found(path, recipe, Results(recipe, 0, 0, ()), (), None, None) for path in paths]
    names = [run.name for run in told_apart(found)]
    for path, name in zip(paths, names, strict=True):
        shorter = name.partition("/")[2] if not name.startswith("/") else name[1:]
        assert f"/{path}".endswith(f"/{name}")
        assert all((one == name) == (other == path) for one, other in zip(names, paths, strict=True))
        if shorter:
            assert any(f"/{other}".endswith(f"/{shorter}") for other in paths if other != path)


def test_several_runs_of_one_name_have_others_on_their_page(undisturbed, tmp_path):
    folders = [tmp_path / one / "run" for one in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
        for name in ("recipe.json", "results.json"):
            shutil.copy(undisturbed / name, folder)
    page = write_report(folders, tmp_path / "both.html").read_text()
    for name in ("first/run", "second/run"):
        assert re.search(rf'<li><a href="#run\d-run">{name}</a>', page)
        assert f'<th scope="row">{name} (' in page
        assert name in {series["name"] for series in charts(page)["runs"]["views"][0]["series"]}


def test_examples_are_shown_only_where_they_are_the_runs_and_no_code_is_called(audited_images, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=images, y=np.arange(12) % 2, x_test=images[:4], y_test=np.arange(4) % 2)
    found = _on_data(find(audited_images), str(tmp_path / "images.npz"))
    exposed = dataclasses.replace(
        found.audits[0],
        result=dataclasses.replace(found.audits[0].result, exposed=(_exposed(3, 0.5), _exposed(5, 0.75))),
    )
    shown = dataclasses.replace(found, audits=(exposed,))
    page = report_html([shown], show_examples=True)
    assert page.count("data:image/png;base64,") == 2
    assert page.index("train 5, class") < page.index("train 3, class")
    assert "These are training data" in page
    assert "data:image/png" not in report_html([shown])
    other = dataclasses.replace(shown, plan=dataclasses.replace(shown.plan, data="another"))
    with pytest.raises(DataError, match="another fingerprint"):
        report_html([other], show_examples=True)
    with pytest.raises(DataError, match="no images"):
        report_html([_on_data(shown, find(audited_images).recipe.data)], show_examples=True)
    beyond = dataclasses.replace(exposed, result=dataclasses.replace(exposed.result, exposed=(_exposed(99_999, 0.5),)))
    results = dataclasses.replace(shown.results, members=10**6)
    with pytest.raises(DataError, match=r"training example 99999, and .*images\.npz has 12; run `redense audit"):
        report_html([dataclasses.replace(shown, results=results, audits=(beyond,))], show_examples=True)
    called = dataclasses.replace(shown, recipe=dataclasses.replace(shown.recipe, data="factories:data"))
    with pytest.raises(DataError, match="calls no code"):
        report_html([called], show_examples=True)


@pytest.mark.parametrize(("height", "width"), [(400, 400), (300, 20), (8, 8), (97, 96)])
def test_pictures_are_small_and_keep_their_sides(height, width):
    """Against the mean of every block, pixel by pixel."""
    image = np.random.default_rng(0).random((height, width, 3))
    small = shrunk(image)
    assert max(small.shape[:2]) <= 96
    if max(height, width) <= 96:
        assert small is image
        return
    rows, columns = (
        [place * side // kept for place in range(kept)] + [side]
        for side, kept in zip((height, width), small.shape[:2], strict=True)
    )
    for (top, bottom), (left, right) in itertools.product(
        itertools.islice(itertools.pairwise(rows), 3), itertools.islice(itertools.pairwise(columns), 3)
    ):
        expected = image[top:bottom, left:right].mean(axis=(0, 1))
        np.testing.assert_allclose(small[rows.index(top), columns.index(left)], expected)
    assert abs(small.shape[1] / small.shape[0] - width / height) < 0.02


def test_letters_that_nobody_sees_are_written_out(audited_images):
    found = find(audited_images)
    name = "coat\x1b[31m\u202eRED\x9b\x07"
    result = dataclasses.replace(found.audits[0].result, class_names=(name, name), exposed=(_exposed(3, 0.5),))
    row = dataclasses.replace(found.audits[0], result=result)
    recipe = dataclasses.replace(found.recipe, data=name)
    page = report_html([dataclasses.replace(found, recipe=recipe, audits=(row, *found.audits[1:]))])
    own = page.replace(library(), "")
    assert not [letter for letter in own if not letter.isprintable() and letter != "\n"]
    assert "coat\\x1b[31m\\u202eRED\\x9b\\x07" in own


def test_every_phase_has_a_look_of_its_own():
    """Of the phases of all methods and controls; sparsities and rounds share one."""
    for method in (name for name in METHODS if name != "phases"):
        recipe = Recipe(method=method, controls=tuple(CONTROLS), sparsities=(0.5,))
        phases = dict.fromkeys(phase for chain in recipe.lineages() for phase in chain)
        kinds = {(phase.kind, phase.lineage if phase.kind == "control" else "", phase.beside) for phase in phases}
        looks = {(look(phase), style(phase)) for phase in phases}
        assert len(looks) == len(kinds) == len({colour for _, (colour, _, _) in looks})
        assert len({line for _, (_, line, _) in looks}) == len({mark for _, (_, _, mark) in looks}) == len(kinds)
        assert BASELINE not in {number for number, _ in looks}


def test_zeros_are_the_mean_over_seeds(audited_images):
    found = find(audited_images)
    rows = tuple(
        dataclasses.replace(row, measured_sparsity=0.2 + 0.2 * row.seed) if row.phase.kind == "redense" else row
        for row in found.results.rows
    )
    page = report_html([dataclasses.replace(found, results=dataclasses.replace(found.results, rows=rows))])
    assert f"<td>{Spread.of([20, 40]).mean:.1f} ± {Spread.of([20, 40]).deviation:.1f}</td>" in page


def _on_data(found, data):
    """The same run, as if it had been trained on other data."""
    plan = dataclasses.replace(found.plan, data=load(data).fingerprint)
    return dataclasses.replace(found, recipe=dataclasses.replace(found.recipe, data=data), plan=plan)


def _exposed(example, risk):
    from redense.auditing.result import Exposed

    return Exposed(example, f"train {example}", 0, risk)


@given(st.sampled_from(["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a&b", "\u2028", "'\""]))
def test_names_from_outside_are_shown_as_they_are(name):
    phase = Phase("dense", 1, 1.0, None, 0)
    row = Row(phase, 0.0, 0, 1.0, 0.9, 0.56, 0.55, (0.55, 0.57), 1.0, "key", ((0.9, 0.56),))
    recipe = Recipe(data=name, model="mlp", epochs=(1, 1, 1))
    page = report_html([Found(_Named(name), recipe, Results(recipe, 100, 100, (row,)), (), None, None)])
    assert "<script>alert" not in page
    assert "<img" not in page.replace(library(), "")
    assert page.count("<script") - library().count("<script") == 3


class _Named:
    """A folder of any name, also one that no disk would take."""

    def __init__(self, name):
        self.name = name

    def resolve(self):
        return self


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        load_recipe("digits"),
        load_recipe("fashion-mnist-published"),
        Recipe(
            data="a b/'c'.npz",
            seeds=(3, 1),
            controls=("longer", "llr"),
            audit=("lira",),
            exclude=("layer1.*",),
            lr=3e-4,
        ),
        *(Recipe(method=method) for method in METHODS if method != "phases"),
        Recipe(method="phases", phases=(dense(5, rate=(1.0, 0.1)), sparse(2, masks="random"), dense(1, rate=0.5))),
    ],
)
def test_the_command_makes_the_recipe_again(recipe, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("redense.experiment.run.run", lambda recipe, out, **_: made.append((recipe, str(out))))
    words = shlex.split(command(recipe, tmp_path / "mine"))
    assert words[0] == "redense"
    main(words[1:])
    assert made == [(recipe, "runs/mine")]


def test_the_command_line_writes_it(audited_images, tmp_path, capsys):
    main(["report", str(audited_images), "--out", str(tmp_path / "page.html")])
    assert f"Written: {tmp_path / 'page.html'}" in capsys.readouterr().out
    assert tyro.cli(Report, args=["a", "b", "--out", "c"]).show_examples is False


@pytest.mark.parametrize("name", ["results.json", "recipe.json", "new.json", "page", "page.html.npz", "folder"])
def test_a_report_replaces_pages_and_nothing_else(name, undisturbed, tmp_path, capsys):
    (tmp_path / "results.json").write_text("a run's")
    (tmp_path / "folder").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(undisturbed), "--out", str(tmp_path / name)])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"--out: got {tmp_path / name}; expected a name that ends in .html" in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_report_may_replace_a_page_and_go_to_a_device(undisturbed, tmp_path):
    (tmp_path / "Page.HTML").write_text("old")
    assert write_report([undisturbed], tmp_path / "Page.HTML").read_text().startswith("<!doctype html>")
    assert write_report([undisturbed], Path("/dev/null")).is_char_device()


FINAL, LONGER, LLR = (
    Phase("redense", 10, 0.1, 0.3, 1),
    Phase("control", 10, 0.1, None, 1, "control-longer", "redense"),
    Phase("control", 20, 0.1, None, 1, "control-llr", "redense"),
)


def _compared(first, difference, p):
    found = Comparison("test_accuracy", first, FINAL, 5, difference, (difference - 0.001, difference + 0.001))
    return dataclasses.replace(found, t=PValue(p, p))


@pytest.mark.parametrize(
    ("longer", "llr", "says"),
    [
        (
            (0.02, 0.001),
            (0.01, 0.01),
            "Re-dense 30% beats every control of the same budget: by 1.00 points of test accuracy against the nearest",
        ),
        ((0.02, 0.001), (0.01, 0.06), "At no sparsity is re-dense training shown to beat every control"),
        ((0.02, 0.001), (-0.01, 0.01), "lies 1.00 points of test accuracy below control-llr"),
    ],
)
def test_a_gain_is_claimed_only_over_every_control(longer, llr, says):
    recipe = Recipe(sparsities=(0.3,), epochs=(10, 10, 10), seeds=tuple(range(5)), controls=("longer", "llr"))
    rows = tuple(Row(FINAL, 0.0, seed, 1.0, 0.9, 0.56, 0.55, (0.55, 0.57), 1.0, f"{seed}") for seed in recipe.seeds)
    results = Results(recipe, 100, 100, rows, (_compared(LONGER, *longer), _compared(LLR, *llr)))
    assert says in conclusion(results)[0]
    begun = dataclasses.replace(results, rows=rows[:1], comparisons=())
    assert conclusion(begun)[0].startswith("Nothing is compared with the last phase over several seeds")
    alone = dataclasses.replace(begun, recipe=dataclasses.replace(recipe, seeds=(0,)))
    assert conclusion(alone)[0].startswith("One seed does not show which phase is more accurate")
