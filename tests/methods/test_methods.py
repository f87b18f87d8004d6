import re
import tomllib
from dataclasses import astuple, replace
from pathlib import Path

import pytest

import redense
from redense.errors import RecipeError
from redense.experiment.recipe import Recipe
from redense.experiment.report.provenance import settings as shown_settings
from redense.methods import CONTROLS, LENGTHS, METHODS, dsd, prune, spdf
from redense.phases import Phase, dense, sparse

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
OF_A_TOTAL = [(name, {}) for name, method in METHODS.items() if method.takes == ("epochs", "rates")]
OF_A_TOTAL.append(("prune", {"gradual": False}))
"""Methods that divide a total of epochs, and what is set."""

DSD = METHODS["dsd"]


def test_what_is_compared_with_what():
    phases = [
        *dsd(0.3, (2, 1, 1), rounds=2),
        *dsd(0.5, (2, 1, 1), rounds=2),
        *CONTROLS["longer"].phases(dsd(0.0, (2, 1, 1), rounds=2)),
        *CONTROLS["llr"].phases(dsd(0.0, (2, 1, 1), rounds=2)),
    ]
    found = {(second.label, first.label) for first, second in DSD.compared(phases)}
    of_second_round = {first for second, first in found if second == "re-dense 30% (round 2)"}
    assert of_second_round == {
        "dense",
        "sparse 30% (round 2)",
        "control-longer beside re-dense (round 2)",
        "control-llr beside re-dense (round 2)",
    }
    assert {first for second, first in found if second == "sparse 50%"} == {"dense", "control-longer beside sparse"}
    assert not any(second.startswith("control") or second == "dense" for second, _ in found)


def test_what_matters_most_comes_first():
    phases = [
        *dsd(0.3, (2, 1, 1)),
        *dsd(0.5, (2, 1, 1)),
        *CONTROLS["llr"].phases(dsd(0.0, (2, 1, 1))),
        *CONTROLS["longer"].phases(dsd(0.0, (2, 1, 1))),
    ]
    assert [(second.label, first.label) for first, second in DSD.compared(phases)] == [
        ("re-dense 30%", "control-longer beside re-dense"),
        ("re-dense 50%", "control-longer beside re-dense"),
        ("re-dense 30%", "control-llr beside re-dense"),
        ("re-dense 50%", "control-llr beside re-dense"),
        ("re-dense 30%", "sparse 30%"),
        ("re-dense 50%", "sparse 50%"),
        ("re-dense 30%", "dense"),
        ("re-dense 50%", "dense"),
        ("sparse 30%", "control-longer beside sparse"),
        ("sparse 50%", "control-longer beside sparse"),
        ("sparse 30%", "dense"),
        ("sparse 50%", "dense"),
    ]


def test_controls_have_the_budget_and_the_rates_of_the_method():
    phases = dsd(0.5, (10, 5, 4), (1.0, 0.5, 0.1), rounds=2)
    assert [(p.epochs, p.rate) for p in CONTROLS["longer"].phases(phases)] == [(p.epochs, p.rate) for p in phases]
    assert [(p.epochs, p.rate) for p in CONTROLS["llr"].phases(phases)] == [(10, 1.0), (18, 0.1)]
    assert all(p.sparsity is None for control in CONTROLS.values() for p in control.phases(phases))


@pytest.mark.parametrize(
    ("phases", "fits"),
    [
        ([replace(sparse(2, 0.5, rate=(1.0, 0.1)), sparsity=None)], False),  # which controls share
        ([replace(sparse(2, 0.5, rate=(1.0, 0.1)), sparsity=None), dense(1, rate=0.1)], True),
        ([dense(1, rate=(0.1, 1.0)), replace(sparse(1, 0.5, rate=0.5), sparsity=None)], True),  # it rose before it fell
        ([dense(1, rate=(0.1, 1.0)), replace(sparse(1, 0.5), sparsity=None)], False),
    ],
)
def test_llr_wants_a_rate_that_falls_after_the_start(phases, fits):
    """And no control has a phase of no epochs."""
    phases = METHODS["phases"].phases(0.5, (1, 1, 1), (1.0, 1.0, 1.0), 1, tuple(phases))
    assert CONTROLS["llr"].fits(phases) == fits
    for name, control in CONTROLS.items():
        if name != "llr" or fits:
            listed = control.phases(phases)
            assert sum(phase.epochs for phase in listed) == sum(phase.epochs for phase in phases)
            assert all(phase.epochs for phase in listed), name


def test_labels_of_phases_are_distinct():
    phases = dsd(0.5, (2, 1, 1), (1, 1, 1), rounds=2)
    every = {*phases, *CONTROLS["longer"].phases(phases), *CONTROLS["llr"].phases(phases)}
    assert len({phase.label for phase in every}) == len(every) == 5 + 4 + 1
    assert Phase("dense", 2, 1, None, 0) in every


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, "sparsity: got 1.0; expected a fraction"),
        ({"sparsity": True}, "sparsity: got True"),
        ({"epochs": (1, 1)}, r"epochs: got \(1, 1\); expected three integers"),
        ({"epochs": (1, 1, 1.0)}, r"expected three integers"),
        ({"epochs": (-1, 1, 1)}, "0 or more dense"),
        ({"epochs": (0, 1, 0)}, "at least 1 sparse and re-dense"),
        ({"epochs": (1, 1), "unit": "steps"}, "steps: got"),
        ({"rates": (1.0, 1.0)}, "rates: got"),
        ({"rates": (1.0, 1.0, 0.0)}, "three finite factors above 0"),
        ({"rates": (1.0, 1.0, float("inf"))}, "three finite factors above 0"),
        ({"rounds": 0}, "rounds: got 0"),
        ({"rounds": 10**7}, "rounds: got 10000000; expected 1 to 10,000"),
    ],
)
def test_settings_that_make_no_phases(settings, message):
    with pytest.raises(RecipeError, match=message):
        dsd(**{"sparsity": 0.5, **settings})


def divides(lists, epochs, **settings):
    try:
        return bool(lists(0.5, epochs, **settings))
    except RecipeError:
        return False


@pytest.mark.parametrize(("name", "settings"), OF_A_TOTAL)
def test_the_fewest_epochs_of_a_method_are_those_that_its_readers_are_told(name, settings):
    lists = getattr(redense.methods, name)
    fewest = next(epochs for epochs in range(1, 100) if divides(lists, epochs, **settings))
    assert fewest > 1
    assert all(phase.epochs >= 1 for phase in lists(0.5, fewest, **settings))
    with pytest.raises(RecipeError, match=f"epochs: got {fewest - 1}; expected {fewest} or more in all"):
        lists(0.5, fewest - 1, **settings)
    (line,) = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    for place in (line.split("|")[3], lists.__doc__):
        assert re.search(rf"\b{fewest}{'' if settings else ' or more'}\b", place), place


RECIPES = {name: {"method": name} for name in METHODS} | {
    "phases": {"method": "phases", "phases": (dense(2), sparse(3, rate=(1.0, 0.1), masks="random"))}
}
OTHERS = {"epochs": (30, 10, 10), "rates": (0.9, 0.8, 0.3)}


@pytest.mark.parametrize("name", METHODS)
def test_a_page_shows_the_lengths_that_a_method_heeds_and_no_others(name):
    recipe = Recipe(**RECIPES[name])
    for setting, value in OTHERS.items():
        heeds = Recipe(**RECIPES[name], **{setting: value}).phases_at(0.5) != recipe.phases_at(0.5)
        assert heeds == (setting in METHODS[name].takes) == (setting in dict(shown_settings(recipe)))
    assert set(METHODS[name].takes) <= set(LENGTHS)


def test_phases_are_shown_as_they_were_trained():
    shown = {name: dict(shown_settings(Recipe(**settings))) for name, settings in RECIPES.items()}
    assert shown["phases"]["phases"] == "dense 2, sparse 3 with random masks at rate 1 to 0.1"
    assert shown["spdf"]["phases"] == "sparse 45 with random masks at rate 1 to 0.232, re-dense 15 at rate 0.232 to 0.1"
    assert "phases" not in shown["dsd"]
    assert shown["dsd"]["epochs"] == "20, 20, 20"


@pytest.mark.parametrize("method", ["acdc", "spdf", "prune"])
@pytest.mark.parametrize("rate", [0.0, float("nan"), (1.0, 0.0), (1.0, 0.1, 0.2)])
def test_a_rate_that_makes_no_sense_is_named_as_it_was_given(method, rate):
    told = f"rate: got {re.escape(repr(rate))}; expected a finite factor above 0, or a pair"
    with pytest.raises(RecipeError, match=told):
        getattr(redense.methods, method)(0.9, 20, rate=rate)


def test_the_lists_in_the_guide_are_the_methods_that_they_are_said_to_be():
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    tables = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    said = [prune(0.9, 60, (1.0, 0.1), gradual=False), spdf(0.9, 60, (1.0, 0.1), masks=None)]
    for table, phases in zip(tables, said, strict=True):
        recipe = Recipe.from_mapping(tomllib.loads(table), "the guide")
        for listed, meant in zip(recipe.phases_at(0.9), phases, strict=True):
            assert listed.lineage == "phases"
            values = [each for each in zip(astuple(listed), astuple(meant), strict=True) if each != ("phases", "dsd")]
            for one, other in values:
                assert one == (pytest.approx(other, abs=5e-4) if isinstance(other, float) else other)
