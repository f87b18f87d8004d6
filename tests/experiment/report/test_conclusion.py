"""What a run says in short, whatever its method, list of phases, controls and seeds."""

import dataclasses
import re
from functools import cache

import pytest
from claims.noise import noise
from consoles import printed
from hypothesis import given, settings
from hypothesis import strategies as st

from redense.auditing.alike import not_comparable
from redense.auditing.audit import audit_evidence
from redense.auditing.result import Alike
from redense.experiment.audit_rows import AuditRow
from redense.experiment.equal_accuracy import Trace
from redense.experiment.recipe import Recipe
from redense.experiment.report.audit_overview import audit_overview
from redense.experiment.report.comparisons import leakage_sentences
from redense.experiment.report.conclusion import conclusion
from redense.experiment.results import Results, Row
from redense.methods import METHODS
from redense.phases import Phase, dense, sparse

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


def one_sentence(text):
    """Whether a text ends in the only full stop that another sentence could follow."""
    return re.findall(r"[.!?](?=\s|$)", text) == ["."] and text.endswith(".")


@pytest.mark.parametrize("controls", [(), ("longer",)])
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize(("method", "own"), WHAT, ids=NAMES)
def test_the_last_phase_is_held_against_what_it_is_compared_with(method, own, seeds, controls):
    settings = {"method": method, "phases": own, "controls": controls}
    recipe = Recipe(sparsities=(0.5,), epochs=(10, 10, 10), seeds=seeds, **settings)
    results = results_of(recipe)
    gain = conclusion(results)[0]
    assert one_sentence(gain)
    compared = [one for one in results.comparisons if recipe.is_final(one.second) and one.quantity == "test_accuracy"]
    assert gain.startswith("One seed does not show") == (len(seeds) == 1)
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


def test_an_audit_is_named_with_its_protocol_where_there_are_several():
    recipe = Recipe(sparsities=(0.5,), epochs=(10, 10, 10))
    results = results_of(recipe)
    last = recipe.lineages()[0][-1]
    (own,) = audited(last, ["leak"])
    half, first = dataclasses.replace(own, protocol="half"), " (the first of 2 audits of that phase)"
    assert conclusion(results, [own])[1].startswith(f"In the audit of {last.label}: ")
    assert conclusion(results, [own, half])[1].startswith(f"In the audit of {last.label}, protocol all{first}: ")
    other = conclusion(results, [half, own])[1]
    assert other.startswith(f"In the audit of {last.label}, trained on a random half, protocol half{first}: ")


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
    assert "; the dense network that comes with it, re-dense 50% (round 7), reaches " in gain


@cache
def ended(kind):
    """An audit that ends so."""
    results = {
        "leak": lambda: audit_evidence(noise(0, 300, 300, 8, leak=3.0)),
        "none shown": lambda: audit_evidence(noise(0, 300, 200, 0)),
        "too few": lambda: audit_evidence(noise(0, 30, 200, 0)),
        "not comparable": lambda: dataclasses.replace(ended("none shown"), verdict=DIFFERENT),
    }
    result = results[kind]()
    assert result.verdict.kind == kind
    return result


def audited(phase, kinds):
    """Audits of a phase, a seed each, that end so and warn of nothing."""
    results = [dataclasses.replace(ended(kind), warnings=()) for kind in kinds]
    trace = Trace(((0.9, 0.5),), 200)
    return [AuditRow("all", phase, seed, "key", 0.9, trace, result) for seed, result in enumerate(results)]


DIFFERENT = not_comparable(Alike(0.9, (0.8, 1.0), 1e-9, "inputs alone"), [0.6])
ENDS = {
    ("leak",) * 3: "; all 3 models audited in this run show a leak",
    ("leak", "leak", "too few"): "; of the 3 models audited in this run 2 show a leak and 1 has no verdict",
    ("none shown", "leak", "none shown"): "; of the 3 models audited in this run 1 shows a leak",
    ("none shown",) * 3: "; of the 3 models audited in this run none shows a leak by itself",
    ("not comparable", "none shown", "too few"): "; of the 3 models audited in this run none shows a leak by itself "
    "and 2 have no verdict",
    ("too few",) * 3: "; none of the 3 models audited in this run has a verdict",
    ("leak",): "",
    ("too few",): "",
}


@pytest.mark.parametrize(("kinds", "says"), ENDS.items(), ids=map(str, range(len(ENDS))))
def test_what_is_given_away_is_one_sentence_that_counts_leaks_among_verdicts(kinds, says):
    final = next(row.phase for row in WINNING if row.phase.kind == "redense")
    rows = audited(final, kinds)
    results = Results(BESIDE, 500, 500, tuple(row for row in WINNING if row.phase == final))
    leak = conclusion(results, rows)[1]
    assert one_sentence(leak), leak
    assert leak.endswith(f"{says}.")
    assert ("models audited" in leak) == bool(says)
    (row, *others) = rows
    warned = dataclasses.replace(row, result=dataclasses.replace(row.result, warnings=("careful", "slowly")))
    leak = conclusion(results, [warned, *others])[1]
    assert one_sentence(leak)
    assert "; that audit has 2 warnings, to be read first" in leak


def test_the_overview_counts_leaks_among_verdicts():
    phase = Phase("dense", 1, 1.0, None, 0)
    for kinds, says in {
        ("leak", "none shown"): "1 of 2",
        ("leak", "none shown", "too few"): "1 of 2 (1 no verdict)",
        ("too few", "too few"): "too few",
        ("too few", "not comparable"): "too few, not comparable",
        ("not comparable",): "not comparable",
    }.items():
        shown = printed(audit_overview(audited(phase, kinds), ""), 200)
        line = next(line for line in shown.splitlines() if line.startswith("dense "))
        assert line.endswith(f"  {says}")
