import dataclasses
import inspect
import re
import time
from typing import get_args

import pytest

from redense.auditing.protocols import OF_RUNS
from redense.errors import FolderError, RecipeError
from redense.experiment.equal_accuracy import Trace
from redense.experiment.recipe import SETS, Recipe, load_recipe, shipped_recipes
from redense.methods import CONTROLS, METHODS
from redense.sparsity.checks import DistributionName

KNOWN = {
    "method": METHODS,
    "controls": CONTROLS,
    "protocols": OF_RUNS,
    "distribution": get_args(DistributionName),
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsities": (-0.1,)}, "sparsities: got -0.1"),
        ({"sparsities": (1.0,)}, "sparsities: got 1"),
        ({"sparsities": (float("nan"),)}, r"sparsities.0.: got nan; expected a number"),
        ({"sparsities": (0.5, 0.5)}, "got 0.5 twice"),
        ({"sparsities": ()}, "got none"),
        ({"sparsities": 0.5}, "expected a list of numbers"),
        ({"sparsities": "0.5"}, "expected a list of numbers"),
        ({"sparsities": ("a",)}, "sparsities.0.: got 'a'; expected a number"),
        ({"epochs": ()}, r"epochs: got \(\); expected a list of 3 integers"),
        ({"epochs": (1, 1)}, r"epochs: got \(1, 1\); expected a list of 3 integers"),
        ({"epochs": (0, 1, 1)}, "at least 1 in each phase"),
        ({"epochs": (1, 0, 1)}, "at least 1 sparse and re-dense"),
        ({"epochs": (1, -3, 1)}, "at least 1 sparse and re-dense"),
        ({"epochs": (1, 1.5, 1)}, "epochs.1.: got 1.5; expected an integer"),
        ({"epochs": (True, 1, 1)}, "epochs.0.: got True; expected an integer"),
        ({"seeds": (1, 1)}, "got 1 twice"),
        ({"seeds": (-1,)}, "seeds: got -1"),
        ({"lr": 0.0}, "lr: got 0"),
        ({"lr": -1.0}, "lr: got -1"),
        ({"lr": float("nan")}, "lr: got nan"),
        ({"lr": float("inf")}, "lr: got inf"),
        ({"rates": (1, 1, 0)}, "rates: got .1.0, 1.0, 0.0.; expected three finite factors above 0"),
        ({"rounds": 0}, "rounds: got 0"),
        ({"batch_size": 0}, "batch_size: got 0; expected an integer of 1 or more"),
        ({"batch_size": 1.0}, "expected an integer"),
        ({"momentum": 1.0}, "momentum: got 1.0; expected a fraction from 0 .included. to 1 .excluded."),
        ({"weight_decay": -0.1}, "weight_decay: got -0.1; expected a finite number of 0 or more"),
        ({"weight_decay": float("inf")}, "weight_decay: got inf"),
        ({"optimizer": "lion"}, "expected one of adam, adamw, sgd"),
        ({"distribution": "even"}, "expected one of uniform, global"),
        ({"data": 3}, "expected a string"),
        ({"method": "acd"}, "method: got 'acd'.*expected one of dsd"),
        ({"controls": ("long",)}, "controls: got 'long'; did you mean 'longer'.; expected some of longer, llr"),
        (
            {"controls": ("llr",), "rates": (1.0, 1.0, 1.0)},
            "controls: got llr alone, and no rate falls.*expected another",
        ),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(**settings)


def test_every_shipped_recipe_loads():
    assert set(shipped_recipes()) == {"digits", "fashion-mnist", "fashion-mnist-published"}
    assert load_recipe("digits") == Recipe()
    assert load_recipe("fashion-mnist").epochs == (10, 10, 10)
    # the recipe behind the published numbers, by its name and its former one
    published = load_recipe("fashion-mnist-published")
    assert published == load_recipe("fashion-mnist-reference")
    assert dataclasses.asdict(published) == dataclasses.asdict(
        Recipe(data="fashion-mnist", model="fmnist-cnn", epochs=(50, 50, 50), batch_size=32, lr=1e-3)
    )


OWN_PHASES = 'method = "phases"\n[[phases]]\nkind = "sparse"\nepochs = 5\n'


def test_toml_and_python_are_one(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('data = "location30"\nsparsities = [0.5]\nepochs = [1, 2, 3]\nlr = 1\nexclude = ["conv*"]\n')
    assert load_recipe(str(file)) == Recipe(
        data="location30", sparsities=(0.5,), epochs=(1, 2, 3), lr=1, exclude=("conv*",)
    )


def test_recipes_survive_json():
    recipe = Recipe(sparsities=(0.1, 0.2), seeds=(3, 4), exclude=("a",))
    assert Recipe.from_mapping(recipe.to_mapping(), source="test") == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparsites = [0.5]", "unknown setting 'sparsites'; did you mean 'sparsities'"),
        ("workers = 2", "unknown setting 'workers'; expected one of data, .* flags of `redense run` say"),
        (f"epochs = [2, 2, 2]\n{OWN_PHASES}", 'epochs: got it beside method = "phases", which does not heed it'),
        (f"rates = [1, 1, 1]\n{OWN_PHASES}", 'rates: got it beside method = "phases"'),
        ('epochs = "10"', "epochs: got '10'; expected a list of 3 integers"),
        ("epochs = [1, 2", "not valid TOML"),
        ("lr = true", "lr: got True; expected a finite number above 0"),
    ],
)
def test_bad_files(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(file))


@pytest.mark.parametrize(
    ("name", "message"),
    [("fashion-mnits", "did you mean 'fashion-mnist'"), ("missing.toml", "cannot be read"), ("", "unknown recipe")],
)
def test_unknown_recipes(name, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(name)


def test_the_former_name_of_a_protocol_is_read():
    assert Recipe(protocols=("reference", "half")) == Recipe(protocols=("all", "half"))
    assert Recipe.from_mapping({"protocols": ["reference"]}, "test") == Recipe()


def test_what_a_person_reads_about_choices_names_all_of_them():
    """The settings' own texts, which become the help of `redense run`, follow from the tables."""
    text = inspect.getsource(Recipe)
    documented = {name: text.partition(f"\n    {name}: ")[2].partition('"""')[2].partition('"""')[0] for name in KNOWN}
    for name, known in KNOWN.items():
        for choice in known:
            assert re.search(rf"\b{choice}\b", documented[name]), (name, choice)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("controls", ("longer", "llr", "longer")),
        ("protocols", ("half", "half")),
        ("protocols", ("reference", "all")),
        ("audit", ("lira", "lira")),
        ("exclude", ("0", "0")),
        ("seeds", (1, 1)),
        ("sparsities", (0.5, 0.5)),
    ],
)
def test_nothing_is_asked_for_twice(name, values):
    """Folders that were written when names could be are still read."""
    with pytest.raises(RecipeError, match=f"{name}: got .* twice; expected each value once"):
        Recipe(**{name: values})
    if name in SETS:
        written = {**Recipe(audit=("rmia",)).to_mapping(), name: [{"reference": "all"}.get(one, one) for one in values]}
        read = getattr(Recipe.from_written(written), name)
        assert len(read) == len(set(read)) > 0


def test_sparsities_that_are_written_alike_are_refused():
    with pytest.raises(RecipeError, match=r"sparsities: got 0.9 and 0.90000000001, both 90% in every table"):
        Recipe(sparsities=(0.9, 0.90000000001))
    assert len(Recipe(sparsities=(0.9, 0.900001)).sparsities) == 2


def test_lists_are_checked_however_long_they_are():
    with pytest.raises(RecipeError, match=r"phases\[0\]: got 'x'; expected a Phase"):
        Recipe(method="phases", phases=("x",) * 10_001)
    history = ((0.5, 0.5),) * 10_000
    with pytest.raises(FolderError, match=r"points\[10000\]\[0\]: got 1e\+308; expected a rate"):
        Trace((*history, (1e308, 0.5)), 100)


def test_many_seeds_are_told_apart_in_a_moment():
    """Each against all before it, 100,000 would take minutes, and a recipe of some megabytes has more."""
    started = time.monotonic()
    with pytest.raises(RecipeError, match="seeds: got 7 twice"):
        Recipe(seeds=(*range(100_000), 7))
    assert time.monotonic() - started < 20
