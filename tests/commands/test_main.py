import dataclasses
import json
import os
import re
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from calling import call
from factories import arrays
from processes import environment

from redense import RecipeError
from redense.commands.main import COMMANDS
from redense.commands.parse import flags, take_recipe
from redense.commands.run import Run, command
from redense.experiment.engines.kinds import ENGINES
from redense.experiment.recipe import FORMER_RECIPES, shipped_recipes


def changed(arguments, flags):
    """Let flags take the place of those of the same name, since none may be given twice."""
    names = {str(word) for word in flags if str(word).startswith("--")}
    kept, dropping = [], False
    for word in arguments:
        dropping = str(word) in names if str(word).startswith("--") else dropping
        kept += [] if dropping else [word]
    return [*kept, *flags]


@pytest.fixture
def small(npz):
    settings = ["run", "--data", npz, "--model", "factories:small", "--sparsities", "0.5", "--epochs", "1", "1", "1"]
    return [*settings, "--workers", "0"]


def test_run_prints_summary_table_and_files(small, tmp_path, capsys):
    status, output, _ = call([*small, "--out", tmp_path / "run"], capsys)
    assert status == 0
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "total 147" in lines
    assert "1.weight 72 36" in lines
    assert any(line.startswith("re-dense 50% ") for line in lines)
    assert any("pure noise gives" in line for line in lines)
    assert "\x1b" not in output, "no colours where there is no terminal"
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"results.json", "results.csv", "table.png"}
    again, table, _ = call([*small, "--out", tmp_path / "run"], capsys)
    assert (again, table.splitlines()[-9:]) == (0, output.splitlines()[-9:])


def test_dry_run_prints_the_plan_and_writes_nothing(small, tmp_path, capsys):
    status, output, _ = call([*small, "--seeds", "0", "1", "--dry-run", "--out", tmp_path / "run"], capsys)
    assert status == 0
    assert "6 of 6 jobs to train, 6 epochs" in output
    assert all(word in output for word in ("time ", "disk ", "memory ", "re-dense 50%"))
    assert re.search(r"^total .*\n\nPlan *$", output, re.MULTILINE), "a blank line between parts"
    assert not (tmp_path / "run").exists()
    call([*small, "--out", tmp_path / "run"], capsys)
    _, output, _ = call([*small, "--seeds", "0", "1", "--dry-run", "--out", tmp_path / "run"], capsys)
    assert "3 of 6 jobs to train" in output


@pytest.mark.parametrize("width", ["150", "80", "60"])
def test_the_plan_tells_the_seeds_apart_whatever_the_width(width, small, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    _, output, _ = call([*small, "--seeds", "0", "1", "--dry-run", "--out", tmp_path / "run"], capsys)
    plan = output.split("Plan")[1]
    assert [line.split()[:3] for line in plan.splitlines() if line.startswith("dense")] == [
        ["dense", "seed", "0"],
        ["dense", "seed", "1"],
    ]


def test_an_engine_that_is_not_installed_is_named_before_anything_is_planned(small, tmp_path, capsys, monkeypatch):
    ray = dataclasses.replace(ENGINES["ray"], extra="no_such_module_anywhere")
    monkeypatch.setitem(ENGINES, "ray", ray)
    for more in ([], ["--dry-run"]):
        status, output, errors = call([*small, "--engine", "ray", *more, "--out", tmp_path / "run"], capsys)
        assert (status, "Plan" in output) == (2, False)
        assert errors == "redense: engine: ray is not installed; pip install 'redense[no_such_module_anywhere]'\n"
    assert not (tmp_path / "run").exists()


def test_lines_that_say_how_far_a_run_is_are_parted_from_its_tables(small, tmp_path, capsys):
    _, output, _ = call([*small, "--out", tmp_path / "run"], capsys)
    assert re.search(r"^\[3/3\] .*\n\nWeights kept", output, re.MULTILINE)


def test_a_recipe_file_and_flags_over_it(npz, tmp_path, capsys):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'data = "{npz}"\nmodel = "mlp"\nepochs = [1, 1, 1]\nsparsities = [0.3]\nlr = 0.01\n')
    arguments = ["run", recipe, "--lr", "0.02", "--seeds", "4", "--workers", "0", "--out", tmp_path / "run"]
    status, _, _ = call(arguments, capsys)
    assert status == 0
    stored = (tmp_path / "run" / "recipe.json").read_text()
    assert '"lr": 0.02' in stored
    assert '"epochs": [\n  1,\n  1,\n  1\n ]' in stored


BAD = [
    (["--sparsities", "-0.1"], "sparsities: got -0.1"),
    (["--sparsities", "1"], "sparsities: got 1"),
    (["--sparsities", "nan"], "sparsities[0]: got nan"),
    (["--sparsities", "0.3", "0.3"], "got 0.3 twice"),
    (["--sparsities"], "sparsities: got none"),
    (["--epochs", "1", "0", "1"], "at least 1 sparse and re-dense"),
    (["--epochs", "-1", "1", "1"], "expected three integers (dense, sparse, re-dense), 0 or more dense"),
    (["--epochs", "1", "1"], "--epochs: got 1 1; expected 3 whole numbers"),
    (["--method", "phases", "--phases", "[" * 100_000], "--phases: got JSON that is nested too deep"),
    (["--lr", "0"], "lr: got 0"),
    (["--lr", "nan"], "lr: got nan"),
    (["--rates", "1", "1", "-1"], "rates: got (1.0, 1.0, -1.0); expected three finite factors above 0"),
    (["--data", "fashion-mnits"], "did you mean 'fashion-mnist'"),
    (["--data", "missing.npz"], "no such file"),
    (["--data", "factories:failing_data"], "raised FileNotFoundError"),
    (["--model", "resnet19"], "did you mean 'resnet18'"),
    (["--model", "factories:failing"], "raised ZeroDivisionError"),
    (["--model", "factories:missing"], "no function 'missing'"),
    (["--model", "factories:no_module"], "expected a torch.nn.Module"),
    (["--model", "factories:too_few_outputs"], "one logit a class"),
    (["--model", "fmnist-cnn"], "--model mlp for tables"),
    (["--exclude", "conv9"], "'conv9' matches no layer"),
    (["--exclude", "*"], "nothing is left to prune"),
    (["--sparsities", "0.999"], "leaves 1.weight (72 weights) without any"),
    (["--device", "cuda"], "no CUDA device"),
    (["--workers", "-2"], "workers: got -2"),
    (["--frobnicate"], "run: unknown flag --frobnicate; redense run --help"),
    (["--distribution", "even"], "even"),
    (["--data-root", "/nowhere/at/all", "--data", "location30"], "no such folder"),
]


@pytest.mark.parametrize(
    ("flags", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_clear_error_and_leaves_nothing(small, flags, message, tmp_path, capsys):
    import torch

    if flags[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    before = sorted(tmp_path.iterdir())
    status, output, errors = call(changed([*small, "--out", tmp_path / "run"], flags), capsys)
    assert status == 2
    assert message in " ".join((errors + output).split())
    assert "Traceback" not in errors
    assert len(errors.splitlines()) <= 8  # tyro frames what it reports itself
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "recipe", "others"),
    [
        (["mine.toml"], "mine.toml", []),
        (["--out", "X", "fashion-mnist"], "fashion-mnist", ["--out", "X"]),
        (["--out=X", "fashion-mnist"], "fashion-mnist", ["--out=X"]),
        (["--epochs", "1", "1", "1", "mine.toml"], "mine.toml", ["--epochs", "1", "1", "1"]),
        (["--sparsities", "0.3", "0.5", "fashion-mnist"], "fashion-mnist", ["--sparsities", "0.3", "0.5"]),
        (["--dry-run", "digits", "--seeds", "1"], "digits", ["--dry-run", "--seeds", "1"]),
        (["--dry_run", "digits"], "digits", ["--dry_run"]),
        (["--data", "digits", "--lr", "-1"], None, ["--data", "digits", "--lr", "-1"]),
        (["--exclude", "conv2d.toml"], None, ["--exclude", "conv2d.toml"]),
        (["--seeds", "0", "fashion-mnist-reference"], "fashion-mnist-reference", ["--seeds", "0"]),
    ],
)
def test_a_recipe_stands_anywhere_but_right_after_a_flag(words, recipe, others):
    assert take_recipe(words, flags(Run), (*shipped_recipes(), *FORMER_RECIPES)) == (recipe, others)


@pytest.mark.parametrize("words", [["mine.toml"], ["--lr", "0.5", "mine.toml"], ["mine.toml", "--lr", "0.5"]])
def test_a_recipes_values_are_the_defaults_wherever_it_stands(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('data = "location30"\nlr = 0.25\n')
    run = command(words)
    assert (run.source, run.recipe.data) == ("mine.toml", "location30")
    assert run.recipe.lr == (0.5 if "--lr" in words else 0.25)


def test_a_flag_that_the_recipes_method_does_not_heed(tmp_path, monkeypatch):
    """Phases of one's own have lengths and rates; one of a recipe of another method is no setting of this."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text('method = "phases"\n[[phases]]\nkind = "sparse"\nepochs = 5\n')
    assert command(["own.toml", "--lr", "0.5"]).recipe.phases
    for words in (["--epochs", "7", "7", "7"], ["--rates", "1", "1", "0.1"]):
        with pytest.raises(RecipeError, match=f"{words[0][2:]}: got it beside method"):
            command(["own.toml", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "digits", "mine.toml"], "recipe: got digits and mine.toml; expected one"),
        (["run", "digits", "--seeds", "0", "digits"], "recipe: got digits and digits; expected one"),
        (["run", "--epochs", "1", "1", "1", "--epochs", "1", "1", "1", "1"], "--epochs: got it 2 times"),
        (["run", "--batch-size=2", "--batch_size", "3"], "--batch-size: got it 2 times"),
        (["audit", "--model", "a", "--model", "b"], "--model: got it 2 times"),
        (["run", "--epochs", "1", "1", "1", "1"], "'1' follows --epochs, which takes 3 values, and is no recipe"),
        (["run", "--out", "X", "fashion-mnits"], "is no recipe; did you mean 'fashion-mnist'?"),
        (
            ["audti"],
            "unknown command 'audti': expected one of run, audit, report, export, data, doctor; did you mean 'audit'?",
        ),
        (["--sparsities", "0.5"], "unknown command '--sparsities'"),
    ],
)
def test_words_that_make_no_command_are_one_line(words, message, capsys):
    status, output, errors = call(words, capsys)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_a_mistyped_flag_is_suggested(capsys):
    status, _, errors = call(["run", "--sparsites", "0.3"], capsys)
    assert status == 2
    assert "--sparsities" in errors
    assert "redense export" not in errors, "flags of other commands are no suggestion"


@pytest.mark.parametrize("recipe", ["digist", "nothing.toml"])
def test_unknown_recipes(recipe, tmp_path, capsys):
    status, _, errors = call(["run", recipe, "--out", tmp_path / "run"], capsys)
    assert status == 2
    assert "redense: " in errors
    assert not (tmp_path / "run").exists()


def test_bad_data_leaves_nothing(tmp_path, capsys):
    (x, y), _ = arrays()
    x[3, 3] = np.nan
    np.savez(tmp_path / "nan.npz", x=x, y=y)
    status, _, errors = call(["run", "--data", tmp_path / "nan.npz", "--out", tmp_path / "run"], capsys)
    assert status == 2
    assert "1 values of the" in errors
    assert not (tmp_path / "run").exists()


def test_another_recipes_folder(small, tmp_path, capsys):
    call([*small, "--out", tmp_path / "run"], capsys)
    before = (tmp_path / "run" / "results.json").read_bytes()
    status, _, errors = call([*small, "--out", tmp_path / "run", "--lr", "0.5"], capsys)
    assert status == 2
    assert "lr was 0.001 and is now 0.5" in errors
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_divergence_exits_with_2_and_keeps_what_is_finished(small, tmp_path, capsys):
    flags = ["--optimizer", "sgd", "--lr", "1e30", "--rates", "1e-33", "1", "1", "--model", "mlp"]
    status, output, errors = call(changed([*small, "--out", tmp_path / "run"], flags), capsys)
    assert status == 2
    assert "sparse 50%, seed 0: the loss became" in errors
    assert "in epoch 1 of 1" in errors
    assert any(line.split()[:1] == ["dense"] for line in output.splitlines())
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["phase"] for row in rows] == ["dense"]


def test_data_lists_the_catalogue(capsys):
    status, output, _ = call(["data"], capsys)
    assert status == 0
    assert all(name in output for name in ("digits", "fashion-mnist", "cifar100", "location30"))
    status, _, errors = call(["data", "fashon-mnist"], capsys)
    assert status == 2
    assert "did you mean 'fashion-mnist'" in errors


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_names_every_flag_and_shows_commands_that_exist(name, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    status, output, _ = call([name, "--help"], capsys)
    lines = output.splitlines()
    module = import_module(f"redense.commands.{name}")
    assert status == 0
    assert len(lines) <= (42 if width >= 80 else 65)
    kind = getattr(module, name.capitalize())
    assert {flag for flag in flags(kind) if flag in output.replace("\n", " ").split()} == set(flags(kind))
    told = {line.split()[0] for group in module.PAGE.groups.values() for line in group}
    assert told <= set(flags(kind)), "help explains flags that there are"
    for example in module.PAGE.examples:
        assert {word for word in example.split() if word.startswith("--")} <= set(flags(kind))
        assert example in output, "a command can be copied"
    explained = [line for line in lines if not any(example in line for example in module.PAGE.examples)]
    assert max(map(len, explained)) <= max(width, len(lines[0]))
    assert call([name, "--help-all"], capsys)[0] == 0


def test_help_says_what_a_recipe_sets(capsys):
    assert "(10 10 10)" in " ".join(call(["run", "fashion-mnist", "--help"], capsys)[1].split())


def test_without_a_command_it_says_what_to_do(capsys):
    status, output, errors = call([], capsys)
    assert (status, errors) == (0, "")
    assert "Start here" in output
    assert all(f"  {name} " in output for name in COMMANDS)
    assert call(["--help"], capsys)[1] == output


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete_commands_and_flags(shell, capsys):
    _, output, _ = call(["--tyro-print-completion", shell], capsys)
    assert all(name in output for name in (*COMMANDS, "sparsities", "nonmembers"))


def test_the_doctor_says_what_there_is_and_trains(capsys, tmp_path):
    status, output, errors = call(["doctor", "--data-root", tmp_path], capsys)
    assert (status, errors) == (0, "")
    names = [line.split()[0] for line in output.splitlines() if not line.startswith("   ")]
    assert names[:4] == ["Loading", "redense", "packages", "device"]
    assert {"threads", "memory", "disk", "data", "extras"} <= set(names)
    assert "passed in" in output.splitlines()[-1] + output.splitlines()[-2]


def test_version(capsys):
    assert call(["--version"], capsys)[1].startswith("redense 0.")


def test_help_and_import_do_not_load_torch():
    check = "import sys, redense, redense.commands.main; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_a_crash_is_no_leak(monkeypatch, capsys):
    def crash(name, data_root):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr("redense.data.catalogue.catalogue", crash)
    status, _, errors = call(["data"], capsys)
    assert status == 70
    assert "ZeroDivisionError: nobody foresaw this" in errors
    assert errors.splitlines()[-1].startswith("redense: this error was not foreseen; please report it")


def leaves(arguments, stdout, folder):
    """Run the command with this standard output, in a process of its own."""
    command = [sys.executable, "-m", "redense", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment())


@pytest.mark.parametrize("arguments", [["data"], ["--version"], ["run", "--help"], ["data", "nothing"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_changes_no_status(arguments, unbuffered, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    read, write = os.pipe()
    os.close(read)  # as after `| head -0`
    try:
        found = leaves(arguments, write, tmp_path)
    finally:
        os.close(write)
    assert found.returncode == (2 if "nothing" in arguments else 0)
    assert "Traceback" not in found.stderr
    assert "Broken pipe" not in found.stderr


@pytest.mark.parametrize("output", ["closed", "full", "unread"])
def test_training_ends_well_whatever_becomes_of_standard_output(output, small, tmp_path):
    out = ["--out", str(tmp_path / "run")]
    if output == "closed":
        command = [sys.executable, "-m", "redense", *map(str, small), *out]
        found = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, env=environment())
    elif output == "full":
        with open("/dev/full", "w") as full:
            found = leaves([*small, *out], full, tmp_path)
        assert "No space left on device" in found.stderr
    else:
        read, write = os.pipe()
        os.close(read)
        found = leaves([*small, *out], write, tmp_path)
        os.close(write)
    assert found.returncode == 0
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())["rows"]) == 3


def test_a_broken_pipe_elsewhere_is_a_crash(monkeypatch, capsys):
    def crash(name, data_root):
        raise BrokenPipeError("a worker is gone")

    monkeypatch.setattr("redense.data.catalogue.catalogue", crash)
    assert call(["data"], capsys)[0] == 70
