"""Audits are shown beside the very networks that they are of, and nothing that the recipe does not ask for."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from factories import arrays
from rich.console import Console

from redense.errors import FolderError
from redense.experiment.audit_rows import attack_names, read_rows
from redense.experiment.found import find
from redense.experiment.recipe import Recipe
from redense.experiment.report.audit_charts import roc_charts
from redense.experiment.report.audits import audit_summary
from redense.experiment.report.charts import rate_chart
from redense.experiment.results import Results
from redense.experiment.run import run
from redense.experiment.standing import standing_audits
from redense.experiment.write_report import write_report

pytestmark = pytest.mark.xdist_group("audited_images")  # the run of that name is made in one process


def repeated(folder, tmp_path, recipe, **changes):
    """Run a recipe in a copy of a finished folder; return the copy and what was printed."""
    copy, console = shutil.copytree(folder, tmp_path / "run"), wide()
    run(dataclasses.replace(recipe, **changes), copy, workers=0, console=console)
    return copy, text(console)


def wide():
    """A console whose text can be read back."""
    return Console(file=io.StringIO(), width=250)


def text(console):
    """What it printed, without the breaks of lines."""
    return " ".join(console.file.getvalue().split())


def test_audits_of_networks_trained_otherwise_are_nowhere(tmp_path):
    """Whatever changed them: here the data under the same name."""
    path = tmp_path / "data.npz"
    for shift in (0.0, 1.0):
        (x, y), (x_test, y_test) = arrays(240, 160)
        np.savez(path, x=x + shift, y=y, x_test=x_test, y_test=y_test)
        console = wide()
        settings = {"audit": ("lira",), "references": 2, "protocols": ("all", "half")} if not shift else {}
        recipe = Recipe(data=str(path), model="factories:small", sparsities=(0.5,), epochs=(1, 1, 1), **settings)
        results = run(recipe, tmp_path / "run", workers=0, console=console)
        assert bool(results.audits) == (not shift)
    found = find(tmp_path / "run")
    assert found.audits == ()
    assert "3 of the audits in audit.json are left out" in found.state
    printed = text(console)
    assert "In the audit" not in printed
    assert "AUC of" not in printed
    assert "3 of the audits in audit.json are left out" in printed
    assert "In the audit" not in write_report([tmp_path / "run"]).read_text()


def test_an_audit_stands_by_the_key_of_the_row_beside_it_alone(audited_images):
    """Change any one row's key: its audits go, of both protocols, and no other."""
    found = find(audited_images)
    results = found.results
    assert len(found.audits) == len(read_rows(audited_images)) == 2 * len(results.rows)
    for place, row in enumerate(results.rows):
        rows = list(results.rows)
        rows[place] = dataclasses.replace(row, checkpoint="another")
        standing, others = standing_audits(found.audits, dataclasses.replace(results, rows=tuple(rows)))
        assert others == 2
        gone = [one for one in found.audits if one not in standing]
        assert {(one.phase, one.seed) for one in gone} == {(row.phase, row.seed)}


@pytest.mark.parametrize("changes", [{"seeds": (1,)}, {"sparsities": (0.9,), "controls": ()}])
def test_what_is_read_is_what_the_recipe_asks_for(audited_images, recipe, tmp_path, changes):
    every = find(audited_images).recipe
    folder, printed = repeated(audited_images, tmp_path, every, **{"audit": (), **changes})
    found = find(folder)
    recipe = found.recipe
    assert {row.seed for row in found.audits} <= set(recipe.seeds)
    assert {row.phase.sparsity for row in found.audits} <= {None, *recipe.sparsities}
    assert {row.protocol for row in found.audits} <= set(recipe.audited_protocols)
    assert found.audits_left_out == ""
    seeds = len(recipe.seeds)
    assert all(one.seeds <= seeds for one in found.results.audits)
    assert all(one.protocol in recipe.audited_protocols for one in found.results.audits)
    if seeds == 1:
        assert "2 seeds" not in printed
    write_report([folder])


def test_unchanged_networks_keep_their_audits(audited_images, tmp_path):
    every = find(audited_images).recipe
    before = find(audited_images)
    folder, _ = repeated(audited_images, tmp_path, dataclasses.replace(every, audit=()), protocols=("all",))
    after = find(folder)
    assert after.audits == tuple(row for row in before.audits if row.protocol == "all")
    kept = [one for one in before.results.audits if one.protocol == "all"]
    assert len(kept) == len(after.results.audits) > 0
    assert [one.difference for one in after.results.audits] == [one.difference for one in kept]


@pytest.mark.parametrize("sparsities", [(0.3, 0.9), (0.9,)])
def test_attacks_that_phases_lack_are_dashes(audited_images, sparsities):
    """As where training was interrupted and reference models are missing of some phases, the first or others."""
    found = find(audited_images)
    rows = [
        without(row, "LiRA") if row.phase.sparsity in sparsities or (len(sparsities) > 1 and row.seed) else row
        for row in found.audits
    ]
    console = wide()
    console.print(audit_summary(rows))
    line = next(line for line in console.file.getvalue().splitlines() if line.startswith("LiRA online"))
    assert " -" in line
    for charts in (roc_charts(found.results, rows), rate_chart(found.results, rows)):
        for view in (view for chart in charts for view in chart.views if view.title.startswith("protocol")):
            attack = view.title.partition(": ")[2].partition(" at ")[0]
            has = {row.phase for row in rows if row.found(attack)}
            assert 0 < len(view.series) <= len(has) + 1  # and guessing
    assert attack_names(rows)[-1].startswith("LiRA")
    assert not any(name.startswith("LiRA") for name in attack_names([row for row in rows if not lira(row)]))


def lira(row):
    return any(one.attack.startswith("LiRA") for one in row.result.attacks)


def without(row, family):
    """A row as it is without the reference models that a family needs."""
    attacks = tuple(one for one in row.result.attacks if not one.attack.startswith(family))
    curves = {name: curve for name, curve in row.result.curves.items() if not name.startswith(family)}
    verdict = dataclasses.replace(row.result.verdict, attack=None)
    result = dataclasses.replace(row.result, attacks=attacks, curves=curves, primary="confidence", verdict=verdict)
    return dataclasses.replace(row, result=result)


@pytest.mark.parametrize("text", ['{"format": 2, "rows": []}', "{"])
def test_audits_of_an_older_format_are_left_out_and_said(undisturbed, recipe, tmp_path, text):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    (folder / "audit.json").write_text(text)
    folder, printed = repeated(folder, tmp_path / "again", recipe)
    assert find(folder).audits == ()
    assert "audits are left out" in printed
    assert "redense audit" in find(folder).state
    assert (folder / "audit.json").read_text() == text


@pytest.mark.parametrize("name", ["audit.json", "shown.json"])
def test_newer_files_are_refused_before_training(undisturbed, recipe, tmp_path, name, monkeypatch):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    (folder / name).write_text('{"format": 99}')
    for act in (
        lambda: run(dataclasses.replace(recipe, sparsities=(0.5,)), folder, workers=0),
        lambda: write_report([folder]),
    ):
        with pytest.raises(FolderError, match=f"{name}: got format 99; .* use the version of redense that wrote it"):
            act()
    assert (folder / name).read_text() == '{"format": 99}'
    assert len(list((folder / "checkpoints").iterdir())) == 5


def test_the_row_beside_a_target_is_of_its_phase_and_seed(audited_images):
    keys = {(row.phase, row.seed): row.checkpoint for row in Results.load(audited_images).rows}
    for row in read_rows(audited_images):
        assert row.beside_row == keys[row.phase, row.seed]
        assert (row.checkpoint == row.beside_row) == (row.protocol == "all")


@pytest.mark.parametrize(
    ("edit", "value", "message"),
    [
        ("attacks", [], r"attacks: got \[\]; expected some"),
        ("primary", "no such", "primary: got 'no such'; expected an attack made"),
        ("curves", {}, r"curves: got \[\]; expected those of attacks"),
    ],
)
def test_an_audit_without_what_it_names_is_refused(audited_images, tmp_path, edit, value, message):
    values = json.loads((audited_images / "audit.json").read_text())
    values["rows"][0]["result"][edit] = value
    (tmp_path / "audit.json").write_text(json.dumps(values))
    with pytest.raises(FolderError, match=rf"audit.json: cannot be read .*{message}.* run `redense audit"):
        read_rows(tmp_path)


def test_a_run_writes_results_anew_whose_audits_rest_on_nothing(undisturbed, recipe, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    values = json.loads((folder / "results.json").read_text())
    compared = values["comparisons"][0]
    nothing = {"quantity": "tpr", "seeds": 0, "difference": 0.1, "attack": "x", "fpr": 0.1, "protocol": "all"}
    values["audits"] = [{"first": compared["first"], "second": compared["second"], **nothing}]
    (folder / "results.json").write_text(json.dumps(values))
    with pytest.raises(FolderError, match="seeds: got 0; expected 1 or more"):
        Results.load(folder)
    run(recipe, folder, workers=0)
    assert (folder / "results.json").read_bytes() == (undisturbed / "results.json").read_bytes()
