"""Everything that a run and an audit print stands in the register of guarantees, and every guarantee has its tests."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from claims.noise import noise
from claims.printed import fields_of, kind, makers, of_audit, of_folder, of_page, of_printed, of_results, of_table
from claims.register import PAGE, RANDOM, ROOT, Entry, Register, exists, page
from rich.console import Group
from rich.table import Table

import redense
from redense.auditing.alike import Told
from redense.auditing.audit import audit_evidence
from redense.auditing.evidence import Evidence
from redense.experiment.comparison import Comparison, PValue, over_seeds
from redense.experiment.family import corrected
from redense.experiment.found import find
from redense.experiment.report.audit_overview import audit_overview
from redense.experiment.report.audits import audit_summary
from redense.experiment.report.comparisons import audit_sentences, comparisons_table
from redense.experiment.report.page import report_html
from redense.experiment.report.table import results_table
from redense.experiment.results import Results
from redense.phases import Phase
from redense.signals import Signals
from redense.terminal import prose

REGISTER = Register.read()
FIRST, SECOND = Phase("dense", 1, 1.0, None, 0), Phase("redense", 1, 0.1, 0.5, 1)
CONTROL = Phase("control", 1, 0.1, None, 1, "control-longer", "redense")


def one_seed(folder):
    """What a run of one seed prints, made of a run of several."""
    results = Results.load(folder)
    rows = tuple(row for row in results.rows if row.seed == 0)
    recipe = dataclasses.replace(results.recipe, seeds=(0,))
    keys = sorted(row.checkpoint for row in rows)
    right = {key: np.random.default_rng(place).random(160) < 0.2 + 0.1 * place for place, key in enumerate(keys)}
    alone = dataclasses.replace(results, recipe=recipe, rows=rows, audits=()).compared(right.__getitem__)
    return dataclasses.replace(alone, audits=(*of_networks(), *alone.audits))


def of_networks():
    """What audits say of two networks."""
    found = {"protocol": "all", "attack": "LiRA online"}
    return [
        Comparison("auc", FIRST, SECOND, 1, 0.01, (-0.01, 0.03), **found),
        Comparison("inference_accuracy_at_equal_test_accuracy", FIRST, CONTROL, 0, None, apart=1),
        Comparison("test_accuracy", FIRST, SECOND, 1, 0.2, mcnemar=PValue(1e-9, 1e-9), only_first=0, only_second=30),
    ]


def claims():
    """Claims of every quantity, either way, and of replicates."""
    steps = 0.05 + 0.001 * np.arange(10)
    curves = "inference_accuracy_at_equal_test_accuracy"
    for quantity in ("test_accuracy", "inference_accuracy", curves, "auc"):
        for sign in (1, -1):
            one = over_seeds(quantity, CONTROL, SECOND, list(sign * steps))
            if quantity == "auc":
                one = dataclasses.replace(one, protocol="half", attack="RMIA online")
            if quantity == curves:
                one = dataclasses.replace(one, test_accuracy_range=(0.8, 0.9), apart=1)
            yield one
    found = {"seeds": 0, "interval": (0.01, 0.03), "t": PValue(1e-6, 1e-6), "protocol": "half", "attack": "LiRA online"}
    for quantity, fpr in (("auc", None), ("tpr", 0.01)):
        yield Comparison(quantity, FIRST, SECOND, difference=0.02, fpr=fpr, replicates=16, prediction=(0, 0.1), **found)


def audits():
    """Audits that end in every way."""
    yield audit_evidence(noise(0, 300, 300, 8, leak=3.0), randomized=True)
    yield audit_evidence(dataclasses.replace(noise(0, 300, 200, 0), classes=tuple("0123456789")))
    yield audit_evidence(noise(0, 30, 200, 0))
    members = np.arange(2000) < 1000
    top = np.where(members & (np.arange(2000) % 25 == 0), 9.0, np.random.default_rng(0).normal(size=2000))
    ranked = Evidence(Signals.of_phi(top), np.zeros(2000, dtype=int), members, phi_only=True)
    yield audit_evidence(ranked)
    yield audit_evidence(ranked, compare=lambda: [Told("inputs and labels alone", 0.9, 0.01, 1e-9)])


def of_pages(run, alone, several):
    """What pages of a run say of one seed, where nothing was audited, where much leaks, and where claims are made."""
    leaky = audit_evidence(noise(0, 300, 300, 8, leak=3.0))
    final = next(row for row in run.results.rows if row.phase.kind == "redense")
    seeds = len(several.recipe.seeds)
    found = [dataclasses.replace(one, second=final.phase, seeds=seeds) for one in several.comparisons]
    ahead, behind = ([one for one in found if sign * one.difference > 0] for sign in (1, -1))
    leaks = [
        dataclasses.replace(run.audits[0], phase=final.phase, result=leaky, protocol=one) for one in ("all", "half")
    ]
    for results, audits in (
        (dataclasses.replace(several, comparisons=tuple(ahead)), ()),
        (run.results, tuple(leaks)),
        (without_controls(run.results), ()),
        (alone, ()),
        (half_measured(run.results), ()),
        (unfinished(several, ahead), ()),
        (unfinished(several, behind), ()),
    ):
        yield of_page(report_html([dataclasses.replace(run, results=results, audits=audits)]))
    yield of_page(report_html([run, run]))


def unfinished(results, comparisons):
    """Results of a run that asks for one seed more than is measured."""
    recipe = dataclasses.replace(results.recipe, seeds=(*results.recipe.seeds, 99))
    return dataclasses.replace(results, recipe=recipe, comparisons=tuple(comparisons))


def half_measured(results):
    """Results of a run of which some phases have one seed yet."""
    last = results.rows[-1]
    assert last.seed
    return dataclasses.replace(
        results, rows=tuple(row for row in results.rows if row.phase != last.phase or not row.seed)
    )


def without_controls(results):
    kept = tuple(one for one in results.comparisons if one.first.kind != "control")
    return dataclasses.replace(results, recipe=dataclasses.replace(results.recipe, controls=()), comparisons=kept)


@pytest.fixture(scope="module")
def printed(audited_run, tmp_path_factory):
    """All kinds of what is printed."""
    folder, said = audited_run
    found = of_folder(folder).union(*map(of_printed, said))
    alone = one_seed(folder)
    found |= of_results(json.loads(alone.to_json())) | of_printed(results_table(alone, "small"))
    found |= of_printed(comparisons_table(alone)) | of_printed(audit_summary(find(folder).audits))
    found |= of_printed(results_table(half_measured(Results.load(folder)), "small"))
    found |= of_printed(audit_overview([row for row in find(folder).audits if row.seed == 0], ""))
    found |= of_printed(Group(*map(prose, audit_sentences(Results.load(folder)))))
    ten = dataclasses.replace(alone, recipe=dataclasses.replace(alone.recipe, seeds=tuple(range(10))))
    several = dataclasses.replace(ten, comparisons=tuple(corrected(list(claims()))), at_equal_accuracy=(), audits=())
    found |= of_results(json.loads(several.to_json()))
    found = found.union(*of_pages(find(folder), alone, several))
    for number, result in enumerate(audits()):
        found |= of_audit(result, tmp_path_factory.mktemp("audit") / str(number))
    return found | makers(ROOT / "src/redense")


pytestmark = pytest.mark.xdist_group("audited_run")


def test_all_that_is_printed_stands_in_one_entry_and_nothing_else_does(printed):
    problems = REGISTER.problems(printed)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("entry", REGISTER.entries, ids=lambda entry: entry.about)
def test_every_guarantee_has_tests_that_are_there_and_a_measurement(entry):
    assert entry.tests
    assert [test for test in entry.tests if not exists(test)] == []
    assert entry.measurements()
    assert (entry.measured is None) == (entry.command is None) == (entry.date is None)
    assert any(entry.random.startswith(one) or one in entry.random for one in (*RANDOM, "who was a member"))


def test_the_page_is_made_from_the_register():
    assert PAGE.read_text(encoding="utf-8") == page(REGISTER), "out of date: make guarantees"


def test_tests_that_are_not_there_are_noticed():
    assert exists("tests/claims/test_register.py::test_tests_that_are_not_there_are_noticed")
    assert not exists("tests/claims/test_register.py::test_of_something_else")
    assert not exists("tests/claims/test_nowhere.py::test_of_something_else")
    assert not exists("tests/claims/test_register.py::one_seed")


def in_no_entry(printed, more):
    """Return what is said of further kinds of what is printed: each name is judged alone."""
    return [problem for problem in REGISTER.problems(more - printed) if not problem.startswith("not printed: ")]


@dataclasses.dataclass(frozen=True)
class WithMore(Comparison):
    surprise: float | None = None


def test_a_new_field_of_json_is_noticed_also_where_it_is_none(printed, audited_run, tmp_path):
    results = Results.load(audited_run[0])
    for value, mark in ((0.5, ""), (None, "?")):
        more = [WithMore(**vars(one), surprise=value) for one in results.comparisons]
        values = json.loads(dataclasses.replace(results, comparisons=tuple(more)).to_json())
        assert in_no_entry(printed, of_results(values)) == [
            f"in no entry: results.json, accuracy, seeds: surprise{mark}"
        ]
    shutil.copytree(audited_run[0], tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "audit"))
    audit = json.loads((tmp_path / "run/audit.json").read_text())
    audit["rows"][3]["result"]["attacks"][2]["kappa"] = [0.1, 0.2]
    audit["rows"][3]["promise"] = {}
    (tmp_path / "run/audit.json").write_text(json.dumps(audit))
    assert in_no_entry(printed, of_folder(tmp_path / "run")) == [
        "in no entry: audit.json: rows[].promise?",
        "in no entry: audit: attacks[].kappa",
    ]


def test_a_new_file_has_to_be_read_here(audited_run, tmp_path):
    shutil.copytree(audited_run[0], tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "audit"))
    (tmp_path / "run/promises.json").write_text("{}")
    with pytest.raises(KeyError, match="promises"):
        of_folder(tmp_path / "run")


def test_a_new_column_is_noticed_in_tables_pages_and_csv(printed, audited_run, tmp_path):
    for table, _ in results_table(Results.load(audited_run[0]), "small").renderables[0].tables:
        table.add_column("promised %")
        assert in_no_entry(printed, of_table(table)) == ["in no entry: table phase: promised %"]
    head = "<tr><th scope=col>attack</th><th scope=col>promised</th></tr>"
    added = f"<table>{head}<tr><th scope=row>gap</th><td>1</td></tr></table>"
    assert in_no_entry(printed, of_page(added)) == ["in no entry: page, table attack: promised"]
    for wrong in (added.replace("<td>1</td>", "<td>1</td><td>2</td>"), added.replace(" scope=row", "")):
        with pytest.raises(AssertionError):
            of_page(wrong)
    (tmp_path / "risks.csv").write_text("split,index,odds\ntrain,0,2\n")
    assert in_no_entry(printed, of_folder(tmp_path)) == ["in no entry: risks.csv: odds"]


def test_a_new_sentence_is_noticed_and_so_is_a_new_function_that_makes_some(printed, tmp_path):
    said = of_printed("Paired over 3 seeds. This network is safe for certain.")
    assert in_no_entry(printed, said) == ["in no entry: says: This network is safe for certain."]
    (tmp_path / "auditing").mkdir()
    (tmp_path / "auditing/verdict.py").write_text(
        'def hint(n):\n    """Say this and that of it."""\n    return f"all of these {n} examples are safe"\n\n\n'
        'def check(n):\n    """Say this and that of it."""\n    raise ValueError("these are far too many examples")\n'
    )
    for other in ("experiment/wording.py", "experiment/auditor.py", "terminal.py"):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text("")
    assert in_no_entry(printed, makers(tmp_path)) == ["in no entry: made by: auditing.verdict:hint"]


def test_an_entry_for_what_is_no_longer_printed_is_noticed(printed):
    entry = Entry("former", ("table phase: former %",), "examples", "what was", ())
    register = dataclasses.replace(REGISTER, entries=(*REGISTER.entries, entry))
    assert "not printed: table phase: former % (former)" in register.problems(printed)
    twice = dataclasses.replace(entry, printed=("audit: attacks[].auc",))
    register = dataclasses.replace(REGISTER, entries=(*REGISTER.entries, twice))
    assert any(
        problem.startswith("in several entries: audit: attacks[].auc:") for problem in register.problems(printed)
    )


def test_kinds_are_told_apart():
    assert kind("delta 0, confidence 95%, the privacy loss") == "delta #, confidence #%, the privacy loss"
    assert kind("by loss, 'gap' and AUC of confidence") == "by <attack>, <attack> and AUC of <attack>"
    assert kind("Re-dense 50% and dense; 1,437 and -0.3, .5") == "<phase> and <phase>; # and #, #"
    assert fields_of({"a": [{"b": 1}, {"b": None}], "c": [1, 2]}, "x") == {"x: a[].b", "x: a[].b?", "x: c"}
    table = Table("p", "", "q")
    table.add_row("LiRA online", "1", "2")
    assert of_table(table) == {"table p: p", "table p: after p", "table p: q", "table p: row <attack>"}
    assert redense.audit.__doc__
