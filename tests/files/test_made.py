"""What is made of values that were read: whatever a run's files say in the types that they have, it is made or refused.

Values are exchanged for others of their type. Where a reader lets them through, pages, tables, figures and files must
come of them; where not, the refusal is one line.
"""

import contextlib
import json
import shutil

import pytest
from claims.noise import noise
from consoles import printed
from files.test_reading import changed, pattern, places
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redense.auditing.audit import audit_evidence
from redense.auditing.result import AuditResult
from redense.errors import DataError, FolderError, RedenseError
from redense.experiment.audit_rows import read_rows
from redense.experiment.found import find
from redense.experiment.phase_means import read_means
from redense.experiment.report.audit_overview import audit_overview
from redense.experiment.report.audits import audit_summary, audit_traces
from redense.experiment.report.comparisons import audit_sentences, comparisons_table, leakage_sentences
from redense.experiment.report.replicates import replicates_summary
from redense.experiment.results import Results
from redense.experiment.write_report import write_report
from redense.files.writing import png_bytes

pytestmark = pytest.mark.xdist_group("audited_run")  # the run of that name is made in one process

FILES = ("results.json", "audit.json", "shown.json", "replicates.json")
FIGURES, TEXTS = (0.0, 1.0, 0.5, -1.0, 1e-300, 1e300), ("", "a\nb", r"$\frac$", "_", "\ud800", "\x1b[31m", "n" * 300)
COUNTS = (0, 1, -1, 2, 7, 99_999, 2**62, 10**400)
CURVES = 12
"""Points of a curve that are kept: most values of a file would be such otherwise."""
TEST, EVIDENCE = 2, 1_000
"""Examples of a file."""


@pytest.fixture(scope="module")
def leaky():
    """What is written of the audit of a model that gives away much, with exposed members and rates."""
    found = json.loads(audit_evidence(noise(0, 300, 300, 8, leak=3.0)).to_json())
    found["curves"] = {name: [thinned(rates) for rates in curve] for name, curve in found["curves"].items()}
    assert found["exposed"]
    assert found["verdict"]["kind"] == "leak"
    return found


@pytest.fixture(scope="module")
def small(audited_run, leaky, tmp_path_factory):
    """The folder of an audited run without its checkpoints, with few audits, of which one tells more."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("recipe.json", "plan.json", *FILES):
        shutil.copy(audited_run[0] / name, folder)
    values = json.loads((folder / "audit.json").read_text())
    kept = {("dense", 0), ("redense", 0), ("control", 0), ("dense", 1)}
    values["rows"] = [row for row in values["rows"] if (row["phase"], row["seed"]) in kept][::2]
    for row in values["rows"]:
        curves = row["result"]["curves"]
        row["result"]["curves"] = {name: [thinned(rates) for rates in curve] for name, curve in curves.items()}
    values["rows"][1]["result"] = {**leaky, "protocol": values["rows"][1]["protocol"]}
    (folder / "audit.json").write_text(json.dumps(values))
    return folder


def thinned(rates):
    return [*rates[: -1 : -(-len(rates) // CURVES)], rates[-1]]


def at(value, path):
    for key in path:
        value = value[key]
    return value


def like(values):
    """Gather the places of values that are called alike."""
    found = {}
    for path in places(values):
        found.setdefault(pattern(path), []).append(path)
    return [*found.values()]


@st.composite
def exchanges(draw, values, named):
    """A few changes of values, as (path, change), that keep types, or exchange what has the same name."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        alike = draw(st.sampled_from(named))
        path = draw(st.sampled_from(alike))
        other = at(values, draw(st.sampled_from(alike)))
        found.append((path, draw(st.sampled_from([lambda _, other=other: other, *same_type(draw, at(values, path))]))))
    return found


def same_type(draw, value):
    """List changes of a value to others of its type, and to None."""
    kinds = {bool: (True, False), int: COUNTS, float: FIGURES, str: TEXTS}
    if type(value) in kinds:
        new = draw(st.sampled_from(kinds[type(value)]))
        return [lambda _: new, lambda _: None]
    if isinstance(value, list):
        place = draw(st.integers(0, max(0, len(value) - 1)))
        return [
            lambda _: [],
            lambda now: now[:-1],
            lambda now: now[1:],
            lambda now: now[::-1],
            lambda now: [*now[: place + 1], *now[place:]],
            lambda now: [*now[place:], *now[:place]],
            lambda _: None,
        ]
    if isinstance(value, dict) and value:
        one, other = (draw(st.sampled_from(sorted(value))) for _ in range(2))
        return [
            lambda now: {name: each for name, each in now.items() if name != one},
            lambda now: {{one: other, other: one}.get(name, name): each for name, each in now.items()},
            lambda now: {**now, one: now.get(other)},
            lambda now: {**now, "risks": {}, "members": []},
        ]
    return [lambda _: 0.5, lambda _: 1, lambda _: "text"]


def exchanged(values, changes):
    for path, change in changes:
        with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):  # gone by a change before
            values = changed(values, path, change)
    return values


def of_results(folder):
    results = Results.load(folder)
    assert Results.from_json(results.to_json()) == results
    return [
        str(results),
        results.to_csv(),
        printed(comparisons_table(results)),
        *leakage_sentences(results),
        *audit_sentences(results),
        results.figure(),
        results.leakage_figure(),
    ]


def of_audits(folder):
    rows = read_rows(folder)
    printed(audit_summary(rows))
    printed(audit_overview(rows, "more"), 60)
    return [audit_traces(rows), *(each for row in rows[:2] for each in of_an_audit(row.result, folder))] if rows else []


def of_an_audit(result, folder):
    assert AuditResult.from_json(result.to_json()) == result
    result.to_csv(folder / "audit.csv")
    result.to_html(folder / "audit.html")
    return [str(result), result.figure()]


MADE = {
    "results.json": of_results,
    "audit.json": of_audits,
    "shown.json": find,
    "replicates.json": lambda folder: printed(replicates_summary(means)) if (means := read_means(folder)) else "",
}


def made_or_refused(make, folder):
    """Make something, or be refused in one line; tell whether it was made."""
    said = None
    try:
        make(folder)
    except RedenseError as refused:
        said = str(refused)
    assert said is None or "\n" not in said
    return said is None


def fuzz(name, small, folder, examples, drawn=False):
    """Exchange values of a file, and make what is made of it; with `drawn` pictures, too."""
    for other in small.iterdir():
        shutil.copy(other, folder)
    values = json.loads((small / name).read_text())
    named = like(values)
    assert MADE[name](folder)
    made = []

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changes=exchanges(values, named), with_recipe=st.booleans())
    def check(changes, with_recipe):
        (folder / name).write_text(json.dumps(exchanged(values, changes)))
        if with_recipe:
            shutil.copy(small / "recipe.json", folder)
        else:  # that of the results counts
            (folder / "recipe.json").unlink(missing_ok=True)
        made.append(made_or_refused(lambda folder: write_report([folder]), folder))
        if made_or_refused(MADE[name], folder) and drawn:
            for each in MADE[name](folder):
                assert isinstance(each, str) or png_bytes(each)
            made_or_refused(lambda folder: write_report([folder, small], folder / "both.html"), folder)

    check()
    assert any(made)


@pytest.mark.parametrize("name", FILES)
def test_of_any_values_of_their_types_everything_is_made_or_they_are_refused(name, small, tmp_path):
    fuzz(name, small, tmp_path, TEST)


@pytest.mark.evidence
@pytest.mark.parametrize("name", FILES)
def test_of_thousands_of_values_everything_is_made_or_they_are_refused(name, small, tmp_path):
    fuzz(name, small, tmp_path, EVIDENCE)


@pytest.mark.evidence
@pytest.mark.parametrize("name", ["results.json", "audit.json"])
def test_of_hundreds_of_values_pictures_are_drawn_or_they_are_refused(name, small, tmp_path):
    fuzz(name, small, tmp_path, EVIDENCE // 10, drawn=True)


def phase_of(values, kind):
    return next(row for row in values["rows"] if row["phase"] == kind)


def a_control_with_a_sparsity(values):
    values["rows"].append(
        {**phase_of(values, "sparse"), "phase": "control", "lineage": "control-longer", "beside": "sparse"}
    )


def compared(values, **change):
    one = {**values["audits"][0], "interval": None, "t": None, "wilcoxon": None, "replicates": None, **change}
    values["audits"] = [{**one, "prediction": None}]


OF_RESULTS = {
    "a control with a sparsity": (a_control_with_a_sparsity, "control.*expected a phase of the recipe"),
    "a phase of another length": (lambda values: phase_of(values, "dense").update(epochs=7), "a phase of the recipe"),
    "a row twice": (lambda values: values["rows"].append(values["rows"][0]), "twice; expected a row for each"),
    "no members": (lambda values: values.update(members=0), "at least 1 of each"),
    "a difference over no seed": (
        lambda values: compared(values, quantity="tpr", seeds=0, difference=0.1, attack="x", fpr=0.1),
        "seeds: got 0; expected 1 or more",
    ),
    "curves that meet nowhere, in no seed": (
        lambda values: compared(
            values, quantity="inference_accuracy_at_equal_test_accuracy", seeds=0, difference=None, apart=0
        ),
        "seeds: got 0; expected 1 or more",
    ),
    "no difference over seeds": (
        lambda values: compared(values, quantity="auc", seeds=2, difference=None),
        "difference: got None; expected one",
    ),
    "a difference where curves meet nowhere": (
        lambda values: compared(
            values, quantity="inference_accuracy_at_equal_test_accuracy", seeds=0, difference=0.5, apart=2
        ),
        "difference: got 0.5; expected none",
    ),
    "an audit among accuracies": (
        lambda values: values["comparisons"].append(values["audits"][0]),
        "quantity: got '.*'; expected test_accuracy or inference_accuracy",
    ),
    "a comparison of a phase without a row": (
        lambda values: values["comparisons"][0]["first"].update(sparsity=0.25),
        "expected a phase that has a row",
    ),
    "a history as long as a list can be": (
        lambda values: values["rows"][0].update(history=[[1e308, 0.5]] * 10_001),
        r"history.*got 1e\+308; expected a rate from 0 to 1",
    ),
}


@pytest.mark.parametrize("what", OF_RESULTS)
def test_results_that_no_run_has_are_refused(what, small, tmp_path):
    for name in ("recipe.json", "results.json"):
        shutil.copy(small / name, tmp_path)
    edit, message = OF_RESULTS[what]
    values = json.loads((small / "results.json").read_text())
    edit(values)
    (tmp_path / "results.json").write_text(json.dumps(values))
    with pytest.raises(FolderError, match=f"results.json: cannot be read as the results of a run .*{message}") as said:
        write_report([tmp_path])
    assert "\n" not in str(said.value)


def primary_of(result):
    return next(one for one in result["attacks"] if one["attack"] == result["primary"])


def a_curve(*rates):
    return lambda result: result["curves"].update({result["primary"]: [[*rates], [0.0] * (len(rates) - 1) + [1.0]]})


def exposed(example):
    return [{"example": example, "name": "one", "label": 0, "risk": 0.5}]


OF_AUDITS = {
    "no non-members": (lambda result: result.update(nonmembers=0), "nonmembers: got 0; expected an integer of 1"),
    "no members": (lambda result: result.update(members=0), "members: got 0; expected an integer of 1"),
    "no attacks": (lambda result: result.update(attacks=[], curves={}), "attacks: got .*; expected some"),
    "an attack twice": (lambda result: result["attacks"].append(result["attacks"][0]), "some, each once"),
    "a rate that one attack has not": (
        lambda result: primary_of(result)["rates"][0].update(point=None, refusal="no"),
        "kinds of rates: got 2; expected one for all",
    ),
    "a rate without a word": (
        lambda result: primary_of(result)["rates"][0].update(point=None, refusal=None),
        "refusal: got None; expected one",
    ),
    "a rate twice": (
        lambda result: [one["rates"].append(one["rates"][0]) for one in result["attacks"]],
        "rates: got .*; expected each once",
    ),
    "a curve that ends early": (a_curve(0.0, 0.5), "rates that climb from 0 to 1"),
    "a curve that begins late": (a_curve(0.5, 1.0), "rates that climb from 0 to 1"),
    "a curve that falls": (a_curve(0.0, 0.9, 0.1, 1.0), "rates that climb from 0 to 1"),
    "a curve of no attack": (
        lambda result: result["curves"].update(x=[[0, 1], [0, 1]]),
        "curves: got .*; expected those of attacks",
    ),
    "a verdict on no attack": (lambda result: result["verdict"].update(attack="x"), "verdict: attack: got 'x'"),
    "a verdict without an interval": (
        lambda result: result["verdict"].update(interval=None),
        "verdict: interval: got None; expected one where it is",
    ),
    "a verdict on too few": (
        lambda result: result["verdict"].update(kind="too few"),
        "verdict: attack: got .*; expected none where it is too few",
    ),
    "a grade that there is not": (
        lambda result: result["verdict"].update(kind="leak", grade="x"),
        "verdict: grade: got 'x'; expected one of strongly, clearly, barely",
    ),
    "an exposed example beyond the last": (
        lambda result: result.update(exposed=exposed(99_999)),
        "exposed: example: got 99999; expected one of",
    ),
    "a class with an area and no interval": (
        lambda result: result["classes"][0].update(auc=0.5, auc_interval=None),
        "classes: auc_interval: got .*; expected all or none",
    ),
    "sides alike without an interval": (
        lambda result: result["alike"].update(auc=0.5, interval=None, p_value=1.0),
        "alike: interval: got .*; expected all or none",
    ),
}


@pytest.mark.parametrize("what", OF_AUDITS)
def test_audits_that_no_audit_makes_are_refused(what, small, leaky, tmp_path):
    """By themselves, and where they are a row of a run's, whose report says so and leaves them out."""
    edit, message = OF_AUDITS[what]
    values = json.loads(json.dumps(leaky))
    edit(values)
    with pytest.raises(DataError, match=f"audit result: cannot be read .*{message}") as said:
        AuditResult.from_json(json.dumps(values))
    assert "\n" not in str(said.value)
    whole = json.loads((small / "audit.json").read_text())
    whole["rows"][0]["result"] = {**values, "protocol": whole["rows"][0]["protocol"]}
    (tmp_path / "audit.json").write_text(json.dumps(whole))
    with pytest.raises(FolderError, match=message):
        read_rows(tmp_path)


OF_ROWS = {
    "another protocol than its result's": (lambda rows: rows[0]["result"].update(protocol="given"), "protocol"),
    "a target twice": (lambda rows: rows.append(rows[0]), "each target and phase once"),
    "risks": (lambda rows: rows[0].update(risks={}), "'risks' is not known"),
}


@pytest.mark.parametrize("what", OF_ROWS)
def test_rows_of_audits_that_no_run_has_are_left_out_of_the_report(what, small, tmp_path):
    for path in small.iterdir():
        shutil.copy(path, tmp_path)
    edit, message = OF_ROWS[what]
    values = json.loads((small / "audit.json").read_text())
    edit(values["rows"])
    (tmp_path / "audit.json").write_text(json.dumps(values))
    with pytest.raises(FolderError, match=message):
        read_rows(tmp_path)
    page = write_report([tmp_path]).read_text()
    assert "Its audits are left out" in page
    assert "What audits find" not in page
