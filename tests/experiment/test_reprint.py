import dataclasses
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import arrays

from redense.commands.run import Run
from redense.data.origin import AGAIN, origin
from redense.errors import DataError, FolderError
from redense.experiment import finished
from redense.experiment.finished import FILE, conditions, digests
from redense.experiment.recipe import Recipe
from redense.experiment.reprint import reprint
from redense.experiment.resources import Resources
from redense.experiment.run import run
from redense.phases import dense, sparse

HERE = Resources(workers=0)


def digits(**settings):
    plain = {"data": "digits", "model": "mlp", "sparsities": (0.5,), "epochs": (1, 1, 1), "batch_size": 256}
    return Recipe(**{**plain, **settings})


def printed(capsys, recipe, folder, resources=HERE):
    """What ``redense run`` prints on standard output."""
    capsys.readouterr()
    Run(recipe=recipe, out=folder, resources=resources).execute()
    return capsys.readouterr().out


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def again(recipe, folder, **others):
    """Whether the folder is printed again, by the short way."""
    from redense.commands.console import console

    return reprint(recipe, folder, **{"data_root": None, "resources": HERE, "console": console(), **others})


def assert_alike(capsys, monkeypatch, recipe, folder, widths=("80",)):
    """Assert that the short way prints what the long way prints of what is finished, and writes nothing; return it."""
    for width in widths:
        monkeypatch.setenv("COLUMNS", width)
        with monkeypatch.context() as patched:
            patched.setattr("redense.experiment.reprint.reprint", lambda *_, **__: False)
            expected = printed(capsys, recipe, folder)
        before = contents(folder)
        assert "The report:" in expected
        with monkeypatch.context() as patched:
            patched.setattr("redense.experiment.run.run", lambda *_, **__: pytest.fail("the long way was taken"))
            assert printed(capsys, recipe, folder) == expected
        assert contents(folder) == before
    return expected


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of data in a file: recipe and folder. Copy the folder before anything is written there."""
    (x, y), (x_test, y_test) = arrays()
    place = tmp_path_factory.mktemp("done")
    np.savez(place / "mine.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    recipe = digits(data=str(place / "mine.npz"))
    run(recipe, place / "run", workers=0)
    return recipe, place / "run"


@pytest.fixture
def copied(done, tmp_path):
    recipe, folder = done
    shutil.copytree(folder, tmp_path / "run")
    return recipe, tmp_path / "run"


def test_one_seed_is_printed_again(capsys, monkeypatch, copied):
    assert_alike(capsys, monkeypatch, *copied)


@pytest.mark.xdist_group("audited_run")
def test_seeds_controls_audits_and_replicates_are_printed_again(
    capsys, monkeypatch, audited_run, audited_recipe, tmp_path
):
    """Of somebody's own model and data, which are let pass here: what is printed does not depend on whose they are."""
    monkeypatch.setattr(finished, "is_object_name", lambda _: False)
    monkeypatch.setattr("redense.data.origin.origin", lambda *_: {})
    monkeypatch.setattr("redense.files.writing.png_bytes", lambda _: b"PNG")  # which would take most of the time
    shutil.copytree(audited_run[0], tmp_path / "run")
    assert "reference models in turn" in assert_alike(capsys, monkeypatch, audited_recipe, tmp_path / "run")


@pytest.mark.evidence
@pytest.mark.parametrize(
    "settings",
    [
        {"method": "acdc", "epochs": (4, 4, 4)},
        {"method": "spdf"},
        {"method": "prune"},
        {"rounds": 2, "validation": 0.2, "keep": "best"},
        {"controls": ("longer", "llr", "early"), "seeds": (0, 1, 2)},
        {"audit": ("lira", "rmia"), "references": 2, "seeds": (0, 1)},
        {"data": "location30"},
        {"data": "fashion-mnist", "model": "auto", "batch_size": 4096},
    ],
)
def test_every_kind_of_run_is_printed_again(capsys, monkeypatch, settings, tmp_path):
    if settings.get("data") and not os.environ.get("REDENSE_DATA"):
        pytest.skip("needs its data in $REDENSE_DATA")
    recipe = digits(**settings)
    run(recipe, tmp_path / "run", workers=0)
    assert_alike(capsys, monkeypatch, recipe, tmp_path / "run", widths=("60", "80", "150"))


def assert_light(recipe, folder):
    """Assert that the command line prints the folder again without loading what takes long to load."""
    check = (
        "import sys; from redense.commands.main import main; main(sys.argv[1:]);"
        "sys.exit(', '.join({'torch', 'sklearn', 'matplotlib', 'scipy.stats'} & set(sys.modules)) or 0)"
    )
    words = ["run", "--data", recipe.data, "--model", "mlp", "--sparsities", "0.5", "--epochs", "1", "1", "1"]
    words += ["--batch-size", "256", "--workers", "0", "--out", str(folder)]
    ended = subprocess.run([sys.executable, "-c", check, *words], capture_output=True, text=True)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert "In short:" in ended.stdout
    assert "Loading" not in ended.stdout


def test_neither_torch_nor_scikit_learn_is_loaded_for_it(done):
    assert_light(*done)


@pytest.mark.evidence
def test_nor_for_the_digits_that_come_with_scikit_learn(tmp_path):
    run(digits(), tmp_path / "run", workers=0)
    assert_light(digits(), tmp_path / "run")


CHANGES = {
    "another sparsity": lambda recipe, _: {"recipe": dataclasses.replace(recipe, sparsities=(0.5, 0.7))},
    "another number of workers": lambda *_: {"resources": Resources(workers=1)},
    "another device": lambda *_: {"resources": Resources(device="cpu", workers=0)},
    "a tracker": lambda *_: {"resources": Resources(workers=0, track=("tensorboard",))},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_command_takes_the_long_way(capsys, done, change):
    recipe, folder = done
    changed = {"recipe": recipe, **change(recipe, folder)}
    assert again(recipe, folder)
    capsys.readouterr()
    assert not again(changed.pop("recipe"), folder, **changed)
    assert capsys.readouterr().out == ""


def test_other_versions_machines_devices_and_sources_take_the_long_way(capsys, done, monkeypatch):
    recipe, folder = done
    for name, other in (
        ("version", lambda _: "7"),
        ("machine", lambda: {"torch": "7"}),
        ("DEVICES", (str(folder / "results.*"),)),
        ("PACKAGE", Path(__file__).parent),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(finished, name, other)
            assert not again(recipe, folder), name
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert not again(recipe, folder)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert again(recipe, folder)


def test_other_data_under_the_same_name_take_the_long_way(copied, tmp_path):
    recipe, folder = copied
    data = Path(recipe.data)
    before = data.read_bytes()
    try:
        data.write_bytes(before[:-1] + b"\1")
        assert not again(recipe, folder)
        data.unlink()
        assert not again(recipe, folder)
    finally:
        data.write_bytes(before)
    assert again(recipe, folder)


def test_every_file_that_is_changed_gone_or_new_takes_the_long_way(copied):
    recipe, folder = copied
    names = digests(folder)
    assert {"results.json", "report.html", "table.png", "plan.json", "shown.json"} < set(names)
    assert any(name.endswith("model.safetensors") for name in names)
    for name in [*names.keys() - {"recipe.json"}, FILE]:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before[:-2] + b"\2" + before[-1:])
        assert not again(recipe, folder), name
        (folder / name).unlink()
        assert not again(recipe, folder), name
        (folder / name).write_bytes(before)
    recipe_file = (folder / "recipe.json").read_text()
    (folder / "recipe.json").write_text(recipe_file + " ")
    assert not again(recipe, folder)
    (folder / "recipe.json").unlink()
    with pytest.raises(FolderError, match="holds a run without its recipe.json"):  # as the long way does
        again(recipe, folder)
    (folder / "recipe.json").write_text(recipe_file)
    (folder / "results.json.part").write_text("")
    assert not again(recipe, folder)
    (folder / "results.json.part").unlink()
    assert again(recipe, folder)


def test_what_is_damaged_is_made_again_and_then_printed(capsys, copied):
    recipe, folder = copied
    expected = printed(capsys, recipe, folder)
    weights = next(folder.glob("checkpoints/*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    (folder / "table.png").unlink()
    assert "does not match its checksum" in " ".join(printed(capsys, recipe, folder).split())
    shutil.rmtree(folder / "damaged")
    assert (folder / "table.png").is_file()
    assert not again(recipe, folder)
    printed(capsys, recipe, folder)
    assert again(recipe, folder)
    assert printed(capsys, recipe, folder).partition("Weights kept")[2] == expected.partition("Weights kept")[2]


def test_another_run_in_the_folder_is_waited_for_by_neither_way(done):
    recipe, folder = done
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FolderError, match="another run is using this folder"):
            again(recipe, folder)


def test_a_dry_run_says_what_it_would_cost(capsys, done):
    recipe, folder = done
    capsys.readouterr()
    Run(recipe=recipe, out=folder, resources=HERE, dry_run=True).execute()
    shown = capsys.readouterr().out
    assert "Engine: inline" in shown
    assert "The report:" not in shown


def test_a_dry_run_says_between_which_rates_a_phase_moves(capsys, tmp_path):
    recipe = Recipe("digits", method="phases", phases=(dense(2, (1.0, 0.25)), sparse(1)), lr=0.004, sparsities=(0.5,))
    Run(recipe=recipe, out=tmp_path, resources=HERE, dry_run=True).execute()
    assert "0.004 to 0.001" in capsys.readouterr().out


def test_ones_own_code_is_always_run(undisturbed, recipe):
    assert conditions(recipe, None, HERE) is None
    assert conditions(dataclasses.replace(recipe, model="mlp", data="factories:data"), None, HERE) is None
    assert not (undisturbed / FILE).exists()


def test_the_key_needs_a_data_root_that_is_there():
    with pytest.raises(DataError, match="no such folder"):
        origin("digits", "/nowhere")


def test_a_folder_of_images_is_told_by_its_files_and_links_in_circles_end(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"1")
    first = origin(str(tmp_path))
    assert list(first) == [os.path.join("a", "1.png")]
    (tmp_path / "b").symlink_to(tmp_path)
    circular = origin(str(tmp_path))
    assert circular["b"] == AGAIN
    assert circular.items() > first.items()
    (tmp_path / "b").unlink()
    (tmp_path / "a" / "1.png").write_bytes(b"2")
    assert origin(str(tmp_path)) != first
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "a" / "1.png").symlink_to(tmp_path / "gone")
    assert origin(str(tmp_path)) is None


def test_named_data_are_told_by_the_files_of_the_first_place_that_has_them(tmp_path, monkeypatch):
    for place in ("one", "two"):
        (tmp_path / place / "location30").mkdir(parents=True)
        (tmp_path / place / "location30" / "dataset_location.tgz").write_text(place)
    monkeypatch.setenv("REDENSE_DATA", str(tmp_path / "two"))
    two = origin("location30")
    assert two != origin("location30", tmp_path / "one")
    assert list(two) == ["location30/dataset_location.tgz"]
    (tmp_path / "two" / "location30" / "dataset_location.tgz").write_text("one")
    assert origin("location30") == origin("location30", tmp_path / "one")
