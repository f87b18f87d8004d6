import csv
import dataclasses
import io
import json
import shutil
from functools import partial

import numpy as np
import pytest
from factories import arrays
from rich.console import Console

import redense
from redense.errors import DataError, FolderError, RecipeError, TrainingError
from redense.experiment.checkpoints import Store
from redense.experiment.dry_run import dry_run
from redense.experiment.recipe import Recipe
from redense.experiment.results import OPTIONAL_COLUMNS, ROW_COLUMNS, Results, Row
from redense.experiment.run import run
from redense.phases import PHASE_COLUMNS, sparse

ROW = [
    "lineage", "phase", "sparsity", "measured_sparsity", "rate", "beside", "round", "seed", "train_accuracy",
    "test_accuracy", "inference_accuracy", "inference_accuracy_cross_fitted", "inference_interval", "epochs",
    "seconds", "checkpoint",
]  # fmt: skip
"""What the public contract promises, in its order."""


@pytest.fixture
def results(undisturbed, tmp_path):
    """A finished run's results; its folder is tmp_path / "run"."""
    shutil.copytree(undisturbed, tmp_path / "run")
    return Results.from_json((tmp_path / "run" / "results.json").read_text())


def test_rows_come_in_the_tables_order(results):
    assert [(row.phase.kind, row.phase.sparsity) for row in results.rows] == [
        ("dense", None),
        ("sparse", 0.3),
        ("redense", 0.3),
        ("sparse", 0.9),
        ("redense", 0.9),
    ]


def test_results_json_has_the_promised_schema(results, tmp_path):
    values = json.loads((tmp_path / "run" / "results.json").read_text())
    assert values["format"] == 3
    assert values["recipe"]["epochs"] == [2, 2, 2]
    for row in values["rows"]:
        assert list(row) == [*ROW, "history"]
        assert row["rate"] == (0.1 if row["phase"] == "redense" else 1.0)
        assert len(row["history"]) == row["epochs"]
        assert all(0 <= row[name] <= 1 for name in ROW if name.endswith("accuracy"))
        assert row["lineage"] == "dsd"
        assert (tmp_path / "run" / "checkpoints" / row["checkpoint"]).is_dir()
        low, high = row["inference_interval"]
        assert 0.5 <= low <= row["inference_accuracy"] <= high <= 1


def test_every_field_of_a_row_is_written():
    fields = {field.name for field in dataclasses.fields(Row)} - {"phase"}
    assert fields == {*ROW_COLUMNS, *OPTIONAL_COLUMNS} - {*PHASE_COLUMNS}


def test_what_a_run_returns_is_what_it_writes(recipe, tmp_path):
    results = redense.run(recipe, tmp_path / "run", workers=0)
    assert Results.load(tmp_path / "run") == results


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 99}', "got format 99; expected 3; use the version of redense that wrote it, or a newer one"),
        ('{"format": 1, "rows": []}', "got format 1; expected 3; the same `redense run` command"),
        ("[]", "cannot be read as the results of a run"),
        ("7", "cannot be read as the results of a run"),
        ('{"format": 3, "rows": [{}]}', "cannot be read as the results of a run .recipe is missing"),
    ],
)
def test_results_of_another_format_are_refused(text, message, tmp_path):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(FolderError, match=message):
        Results.load(tmp_path)
    with pytest.raises(FolderError, match="no such folder; expected a run's folder"):
        Results.load(tmp_path / "elsewhere")


def test_results_csv_has_the_same(results, tmp_path):
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run" / "results.csv").read_text())))
    assert [float(row["test_accuracy"]) for row in rows] == [row.test_accuracy for row in results.rows]
    assert [float(row["inference_high"]) for row in rows] == [row.inference_interval[1] for row in results.rows]


def test_zeros_are_where_they_should_be(results):
    for row in results.rows:
        if row.phase.kind == "sparse":
            assert row.measured_sparsity == pytest.approx(row.phase.sparsity, abs=0.02)
        else:  # weights of units that never fire get no gradient, so some stay at zero after a sparse phase
            assert row.measured_sparsity < (row.phase.sparsity or 1e-9)


def test_accuracies_are_those_of_the_stored_model(results, recipe, tmp_path):
    import numpy as np
    import torch

    from redense.experiment.checkpoints import Store
    from redense.metrics import balanced_accuracy
    from redense.models.registry import build

    data = redense.data.load(recipe.data)
    row = results.rows[-1]
    model = build(recipe.model, data.input_shape, data.num_classes)
    model.load_state_dict(Store(tmp_path / "run").load(row.checkpoint).model)
    model.eval()
    probabilities = [model(torch.from_numpy(x)).double().softmax(1) for x in (data.x_train, data.x_test)]
    labels = [torch.from_numpy(y) for y in (data.y_train, data.y_test)]
    right = [(p.argmax(1) == y).double().mean().item() for p, y in zip(probabilities, labels, strict=True)]
    assert (row.train_accuracy, row.test_accuracy) == pytest.approx(right)
    confidence = torch.cat([p.gather(1, y[:, None])[:, 0] for p, y in zip(probabilities, labels, strict=True)])
    members = np.arange(len(confidence)) < len(data.y_train)
    assert row.inference_accuracy == pytest.approx(balanced_accuracy(confidence.detach(), members), abs=1e-9)


def test_the_same_run_again_changes_nothing(results, recipe, tmp_path):
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert redense.run(recipe, tmp_path / "run") == results
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_a_new_sparsity_and_seed_train_only_what_is_new(results, recipe, tmp_path):
    more = dataclasses.replace(recipe, sparsities=(0.3, 0.5, 0.9), seeds=(0, 1))
    extended = run(more, tmp_path / "run", workers=2)
    assert len(extended.rows) == 2 * 7
    assert set(results.rows) < set(extended.rows)


def test_failed_jobs_leave_what_is_finished(recipe, tmp_path):
    broken = dataclasses.replace(recipe, model="mlp", optimizer="sgd", lr=1e30, rates=(1e-32, 1e-32, 1.0))
    with pytest.raises(TrainingError, match="2 of 5 phases failed.*\n.*re-dense 30%, seed 0: the loss became"):
        redense.run(broken, tmp_path / "run", workers=0)
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["phase"] for row in rows] == ["dense", "sparse", "sparse"]


@pytest.mark.parametrize(
    ("arguments", "message"), [({"workers": -1}, "workers: got -1"), ({"device": "tpu"}, "device: got 'tpu'")]
)
def test_bad_arguments(recipe, tmp_path, arguments, message):
    with pytest.raises(RecipeError, match=message):
        run(recipe, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_unseen_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        redense.nothing  # noqa: B018
    assert {"DSD", "Recipe", "run", "metrics"} <= set(dir(redense))


def test_controls_stand_beside_dsd_and_are_compared_with_it(recipe, tmp_path):
    settings = {**recipe.to_mapping(), "controls": ("longer", "llr"), "seeds": (0, 1)}
    results = redense.run(Recipe.from_mapping(settings, "test"), tmp_path / "run", workers=0)
    of_controls = [row for row in results.rows if row.phase.kind == "control"]
    phases = [row.phase for row in of_controls if row.seed == 0]
    assert [(phase.lineage, phase.beside, phase.epochs) for phase in phases] == [
        ("control-longer", "sparse", 2),
        ("control-longer", "redense", 2),
        ("control-llr", "redense", 4),
    ]
    assert all(row.phase.sparsity is None for row in of_controls)
    accuracies = {(row.phase, row.seed): row.test_accuracy for row in results.rows}
    compared = [one for one in results.comparisons if one.quantity == "test_accuracy"]
    assert sum(one.first.kind == "control" for one in compared) == 2 * 3
    for one in compared:
        differences = [accuracies[one.second, seed] - accuracies[one.first, seed] for seed in (0, 1)]
        assert one.difference == pytest.approx(np.mean(differences))
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [one["verdict"] for one in written["comparisons"]] == [one.verdict for one in results.comparisons]
    assert len(written["at_equal_accuracy"]) == len(results.at_equal_accuracy) > 0
    assert (tmp_path / "run" / "accuracy-leakage.png").read_bytes().startswith(b"\x89PNG")


def test_a_control_that_makes_no_sense_of_the_phases_is_left_out_and_said_to_be(recipe, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    recipe = dataclasses.replace(
        recipe, sparsities=(0.5,), epochs=(1, 1, 1), rates=(1.0, 1.0, 1.0), controls=("longer", "llr", "early")
    )
    said = "controls: llr is left out, as no rate falls, so that llr would be longer in one phase"
    dry_run(recipe, tmp_path / "run", console=console)
    assert console.file.getvalue().count(said) == 1
    results = run(recipe, tmp_path / "run", workers=0, console=console)
    assert console.file.getvalue().count(said) == 2
    lineages = [row.phase.lineage for row in results.rows if row.phase.kind == "control"]
    assert lineages == ["control-longer", "control-longer", "control-early"]


def test_one_seed_is_compared_by_the_examples_that_the_checkpoints_hold(results, tmp_path):
    store = Store(tmp_path / "run")
    keys = {row.phase: row.checkpoint for row in results.rows}
    for one in results.comparisons:
        first, second = (store.load(keys[phase]).test.correct for phase in (one.first, one.second))
        assert (one.only_first, one.only_second) == ((first & ~second).sum(), (second & ~first).sum())
    assert {one.quantity for one in results.comparisons} == {"test_accuracy"}


def test_the_vectorised_engine_has_keys_of_its_own_and_agrees(recipe, tmp_path):
    console = Console(file=io.StringIO(), width=140)
    recipe = dataclasses.replace(recipe, model="mlp", sparsities=(0.5,), epochs=(1, 1, 1))
    stacked = redense.run(recipe, tmp_path / "run", engine="vectorized", console=console)
    assert "Engine: vectorized on cpu (asked for)" in console.file.getvalue()
    plain = redense.run(recipe, tmp_path / "run", workers=0)
    assert not {row.checkpoint for row in stacked.rows} & {row.checkpoint for row in plain.rows}
    for one, other in zip(stacked.rows, plain.rows, strict=True):
        assert one.phase == other.phase
        assert one.test_accuracy == pytest.approx(other.test_accuracy, abs=0.05)


def test_a_network_that_cannot_be_stacked_is_trained_otherwise_and_the_run_says_why(recipe, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    redense.run(recipe, tmp_path / "run", engine="vectorized", workers=0, console=console)
    reason = "Engine: inline on cpu (the vectorised engine cannot train this model: it changes its buffer"
    assert reason in console.file.getvalue()


def test_lists_of_sparse_phases_alone_are_shown(tmp_path):
    """Nothing is trained without masks, so no column says so."""
    console = Console(file=io.StringIO(), width=200)
    phases = (sparse(1, rate=(1.0, 0.1)),)
    settings = {"data": "factories:data", "model": "factories:small", "method": "phases", "sparsities": (0.5,)}
    results = run(Recipe(**settings, phases=phases), tmp_path, workers=0, console=console)
    assert [row.phase.label for row in results.rows] == ["sparse 50%"]
    head = next(line for line in console.file.getvalue().splitlines() if line.startswith("tensor"))
    assert head.split() == ["tensor", "50%"]  # the heading's first line is above


@pytest.mark.parametrize("act", [run, partial(dry_run, console=Console(quiet=True))])
def test_halves_with_all_test_examples_are_refused_before_training(tmp_path, act):
    (x, y), (x_test, y_test) = arrays(96, 1)
    np.savez(tmp_path / "one.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    settings = {"data": str(tmp_path / "one.npz"), "model": "factories:small", "epochs": (1, 1, 1)}
    with pytest.raises(DataError, match="reference .: got 96 training and 1 test examples, .* all test examples; exp"):
        act(Recipe(**settings, audit=("lira",), references=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()
