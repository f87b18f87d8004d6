"""What a run says in short, whatever its method, list of phases, controls and seeds."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redense.experiment.recipe import Recipe
from redense.experiment.report.comparisons import leakage_sentences
from redense.experiment.report.conclusion import conclusion
from redense.experiment.results import Results, Row
from redense.methods import METHODS
from redense.phases import dense, sparse

LISTS = {
    "dense-sparse": (dense(2), sparse(2)),
    "sparse-dense": (sparse(2), dense(2)),
    "sparse-dense-sparse": (sparse(2), dense(2), sparse(2)),
    "dense-sparse-dense": (dense(2), sparse(2), dense(2)),
}
WHAT = [*((name, ()) for name in METHODS if name != "phases"), *(("phases", LISTS[name]) for name in LISTS)]
NAMES = [*(name for name in METHODS if name != "phases"), *LISTS]


def results_of(recipe):
    """Return results whose accuracies rise from phase to phase, a little unlike in every seed."""
    phases = dict.fromkeys(phase for chain in recipe.lineages() for phase in chain)
    rows = []
    for seed in recipe.seeds:
        for place, phase in enumerate(phases):
            test, leaks = 0.8 + 0.005 * place * (1 + 0.05 * seed), 0.55 + 0.001 * place * (1 + 0.1 * seed)
            history = ((0.7, 0.52), (test, leaks))
            rows.append(
                Row(phase, 0.0, seed, 1.0, test, leaks, leaks, (0.5, 0.7), 1.0, f"{place} {seed}", history=history)
            )
    return Results(recipe, 500, 500, tuple(rows)).compared()


@pytest.mark.parametrize("controls", [(), ("longer",)])
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize(("method", "own"), WHAT, ids=NAMES)
def test_the_last_phase_is_held_against_what_it_is_compared_with(method, own, seeds, controls):
    settings = {"method": method, "phases": own, "controls": controls}
    recipe = Recipe(sparsities=(0.5,), epochs=(10, 10, 10), seeds=seeds, **settings)
    results = results_of(recipe)
    gain = conclusion(results)[0]
    compared = [one for one in results.comparisons if recipe.is_final(one.second) and one.quantity == "test_accuracy"]
    assert gain.startswith("With one seed") == (len(seeds) == 1)
    assert (" beats " in gain or " shown to beat " in gain) == bool(compared)
    assert ("no control of the same budget" in gain) == bool(compared and not controls)
    equal = [one for one in results.at_equal_accuracy if recipe.is_final(one.second)]
    assert bool(leakage_sentences(results)) == bool(equal)
    if controls and len(seeds) > 1:
        assert "control" in gain


BESIDE = Recipe(sparsities=(0.5, 0.9), epochs=(4, 4, 4), seeds=(0, 1, 2), controls=("longer", "llr", "early"))
WINNING = [
    dataclasses.replace(row, test_accuracy=row.test_accuracy + 0.1 * (row.phase.kind == "redense"))
    for row in results_of(BESIDE).rows
]
PLACES = st.integers(0, len(WINNING) - 1)


@settings(deadline=None, max_examples=60)
@given(st.sets(PLACES, max_size=4) | st.sets(PLACES, min_size=len(WINNING) // 2))
def test_every_control_is_beaten_only_where_each_is_compared_over_all_seeds(left_out):
    """Whatever rows are missing, against the rows themselves."""
    rows = tuple(row for place, row in enumerate(WINNING) if place not in left_out)
    gain = conclusion(Results(BESIDE, 500, 500, rows).compared())[0]
    trained = {(row.phase, row.seed) for row in rows}
    controls = {row.phase for row in WINNING if row.phase.beside == "redense"}
    last = {row.phase for row in WINNING if row.phase.kind == "redense"}
    assert len(controls) == 3
    whole = {phase for phase in last if all((one, seed) in trained for one in (phase, *controls) for seed in (0, 1, 2))}
    assert ("beats every control" in gain) == bool(whole), gain


def test_a_control_that_is_not_measured_is_named_and_not_beaten():
    some = tuple(row for row in WINNING if row.phase.lineage not in ("control-llr", "control-early"))
    gain = conclusion(Results(BESIDE, 500, 500, some).compared())[0]
    assert " beats so far control-longer: by " in gain
    assert gain.endswith("; control-llr and control-early are not measured in every seed yet.")
    one_seed = tuple(row for row in WINNING if row.phase.lineage != "control-llr" or row.seed == 0)
    gain = conclusion(Results(BESIDE, 500, 500, one_seed).compared())[0]
    assert " beats so far control-longer and control-early: by " in gain
    assert gain.endswith("; control-llr is not measured in every seed yet.")


def test_what_rounds_to_nothing_has_no_sign():
    level = [
        dataclasses.replace(row, test_accuracy=0.8 + 1e-7 * row.seed * (row.phase.kind != "redense")) for row in WINNING
    ]
    gain = conclusion(Results(BESIDE, 500, 500, tuple(level)).compared())[0]
    assert "[+0.00, +0.00]" in gain
    assert "-0.00" not in gain


def test_a_method_that_ends_sparse_names_its_dense_network_too():
    recipe = Recipe(method="acdc", sparsities=(0.5,), epochs=(10, 10, 10), seeds=(0, 1, 2))
    gain = conclusion(results_of(recipe))[0]
    assert "The dense network that comes with it, re-dense 50% (round 7), reaches " in gain
