"""What a run says in short, whatever its method, list of phases, controls and seeds."""

import pytest

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
