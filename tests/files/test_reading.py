"""Whatever stands in a file that redense wrote, reading it gives what was written there or one error of one line."""

import dataclasses
import json
import types
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import redense
from redense.auditing.result import AuditResult
from redense.errors import DataError, FolderError, RedenseError
from redense.experiment.audit_rows import AuditRow, read_rows, write_rows
from redense.experiment.equal_accuracy import Trace
from redense.experiment.folder import read_plan, read_recipe, write_plan
from redense.experiment.phase_means import PhaseMean, read_means, write_means
from redense.experiment.plan import Fingerprints
from redense.experiment.recipe import LATER
from redense.experiment.results import Results
from redense.files.writing import write_whole
from redense.phases import Phase

ROOT = Path(__file__).parents[2]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OPTIONAL = {
    "results.json": ("comparisons", "at_equal_accuracy", "audits"),
    "recipe.json": LATER,
    "one audit": ("class_names",),
}
"""What files may lack: results may have none of it, and older folders do not know it."""
PUBLISHED = set((ROOT / "docs" / "results").glob("*.json"))
PUBLISHED_CURVES = (ROOT / "docs" / "results").glob("*-curves.json")
"""What published pictures of audits are drawn from: no results."""
READERS = {
    "results.json": Results.load,
    "audit.json": read_rows,
    "replicates.json": read_means,
    "recipe.json": read_recipe,
    "plan.json": read_plan,
    "one audit": lambda folder: AuditResult.from_json((folder / "one audit").read_text()),
}
TYPES = {
    "results.json": Results,
    "audit.json": list[AuditRow],
    "replicates.json": list[PhaseMean],
    "recipe.json": redense.Recipe,
    "plan.json": Fingerprints,
    "one audit": AuditResult,
}


@pytest.fixture(scope="module")
def written(undisturbed, tmp_path_factory):
    """A folder with one valid file of each kind."""
    import torch

    folder = tmp_path_factory.mktemp("written")
    for name in ("results.json", "recipe.json"):
        (folder / name).write_bytes((undisturbed / name).read_bytes())
    write_plan(folder, Fingerprints("data", "architecture", "cpu"))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(240, 4, generator=generator), torch.arange(240) % 2
    result = redense.audit(torch.nn.Linear(4, 2), members=(x[:120], y[:120]), nonmembers=(x[120:], y[120:]))
    drawn = dataclasses.replace(result, protocol="half")
    assert any(rate.point is None for attack in result.attacks for rate in attack.rates)
    phase = Phase("control", 2, 0.1, None, 1, "control-longer", "sparse")
    trace = Trace(((0.5, 0.5), (0.75, 0.5)), 120)
    row = AuditRow("half", phase, 3, "key", 0.5, trace, drawn, result.risks, (x[:, 0] > 0).numpy())
    write_rows([row], np.arange(120), folder)
    write_means([PhaseMean(phase, "LiRA online", "auc", 8, 0.5, (0.4, 0.6), None)], folder)
    write_whole(folder / "one audit", result.to_json())
    return folder


def is_a(kind, value):
    """Tell whether a value has the type that an annotation names, all the way down; an oracle beside the reader."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return type(value) is str and value in arguments
    if origin in (typing.Annotated,):
        return is_a(arguments[0], value)
    if origin in (typing.Union, types.UnionType):
        return any(is_a(each, value) for each in arguments)
    if origin is tuple and arguments[1:] != (...,):
        return type(value) is tuple and len(value) == len(arguments) and all(map(is_a, arguments, value))
    if origin in (tuple, list):
        return type(value) is origin and all(is_a(arguments[0], each) for each in value)
    if origin is dict:
        return type(value) is dict and all(is_a(arguments[0], key) and is_a(arguments[1], value[key]) for key in value)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        compared = [field.name for field in dataclasses.fields(kind) if field.compare]
        return type(value) is kind and all(is_a(hints[name], getattr(value, name)) for name in compared)
    return type(value) is kind


def places(value, path=()):
    """Yield the path of every value inside a value of JSON, itself included."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*path, key))


def pattern(path):
    """Write all places alike that hold the same of other elements of a list; its first element is a place of its own.

    So both ends of an interval are told apart.
    """
    return tuple(min(key, 1) if isinstance(key, int) else key for key in path)


def changed(value, path, change):
    """Return a value of JSON with what stands at a path changed."""
    if not path:
        return change(value)
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], change)
    return copy


def without(value, key):
    return {name: each for name, each in value.items() if name != key}


def read_or_refused(name, folder):
    """Return what is read, or None where that is refused as it should be."""
    refusal = None
    try:
        found = READERS[name](folder)
    except RedenseError as error:
        refusal = error
    if refusal is None:
        assert is_a(TYPES[name], found)
        return found
    assert type(refusal) is (DataError if name == "one audit" else FolderError)
    assert len(str(refusal).splitlines()) == 1
    return None


@pytest.mark.parametrize("name", READERS)
def test_what_was_written_is_read(name, written):
    assert read_or_refused(name, written) is not None


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_value_in_place_of_another_is_read_or_refused(name, written, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    values = json.loads((written / name).read_text())
    path = data.draw(st.sampled_from(list(places(values))))
    (folder / name).write_text(json.dumps(changed(values, path, lambda _: data.draw(JSON))))
    read_or_refused(name, folder)


@pytest.mark.parametrize("name", READERS)
def test_a_value_of_another_kind_is_refused_wherever_it_stands(name, written, tmp_path):
    """None of the types that files hold takes an empty mapping inside a list; a huge integer only those of integers."""
    values = json.loads((written / name).read_text())
    for path in {path[:3]: path for path in places(values)}.values():
        if "verdict" in path and name == "results.json":
            continue  # words that are made anew of the figures
        (tmp_path / name).write_text(json.dumps(changed(values, path, lambda _: [{}])))
        assert read_or_refused(name, tmp_path) is None, path
        for huge in (10**400, [10**400, 10**400]):
            (tmp_path / name).write_text(json.dumps(changed(values, path, lambda _, huge=huge: huge)))
            read_or_refused(name, tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_finite_number_is_refused_in_place_of_any_number(name, written, tmp_path):
    values = json.loads((written / name).read_text())
    for path in {pattern(path): path for path in places(values)}.values():
        value = values
        for key in path:
            value = value[key]
        if type(value) is float and not ("verdict" in path and name == "results.json"):
            for nothing in (float("nan"), float("inf")):
                (tmp_path / name).write_text(json.dumps(changed(values, path, lambda _, nothing=nothing: nothing)))
                assert read_or_refused(name, tmp_path) is None, path


@pytest.mark.parametrize("name", READERS)
def test_a_missing_key_is_refused(name, written, tmp_path):
    values = json.loads((written / name).read_text())
    for key in values:
        if key in OPTIONAL.get(name, ()):
            continue
        (tmp_path / name).write_text(json.dumps(without(values, key)))
        assert read_or_refused(name, tmp_path) is None, key


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"7", b"[]", b"{}", b'"text"', b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b"\xff\xfe{"],
    ids=lambda content: content[:8].decode("latin1"),
)
def test_what_is_none_of_ours_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    if name == "one audit" and content[:1] == b"\xff":
        return  # a text cannot hold that
    assert read_or_refused(name, tmp_path) is None


@pytest.mark.parametrize("name", [name for name in READERS if name != "one audit"])
def test_no_file_or_a_folder_in_its_place_is_refused(name, tmp_path):
    with pytest.raises(FolderError, match=f"no {name} that can be read .No such file"):
        READERS[name](tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(FolderError, match=f"no {name} that can be read .Is a directory"):
        READERS[name](tmp_path)


@pytest.mark.parametrize("name", [name for name in READERS if name != "recipe.json"])
def test_older_formats_are_written_anew_and_newer_ones_need_their_version(name, written, tmp_path):
    values = json.loads((written / name).read_text())
    for change, advice in (
        (-1, "again|anew|the same"),
        (1, "use the version of redense that wrote it, or a newer one"),
    ):
        other = values["format"] + change
        (tmp_path / name).write_text(json.dumps({**values, "format": other}))
        with pytest.raises(RedenseError, match=f"got format {other}; expected {values['format']}; .*{advice}"):
            READERS[name](tmp_path)


def test_an_infinite_threshold_and_a_protocols_former_name_are_read(written):
    values = json.loads((written / "one audit").read_text())
    point = {"threshold": None, "tpr": 0.0, "tpr_interval": [0, 0.1], "fpr": 0.0, "fpr_interval": [0, 0.1]}
    values["attacks"][0]["rates"][0]["point"] = point
    result = AuditResult.from_mapping({**values, "protocol": "reference"})
    assert result.attacks[0].rates[0].point.threshold == float("inf")
    assert result.protocol == "all"
    assert AuditResult.from_mapping({**values, "protocol": "half"}).protocol == "half"
    assert AuditResult.from_mapping(result.to_mapping()) == result


@pytest.mark.parametrize("path", sorted(PUBLISHED - set(PUBLISHED_CURVES)), ids=lambda path: path.stem)
def test_published_results_are_read_and_written_alike(path):
    text = path.read_text()
    again, published = json.loads(Results.from_json(text).to_json()), json.loads(text)
    for one in (again, published):  # settings that a folder may lack have their defaults
        one["recipe"] = {name: value for name, value in one["recipe"].items() if name not in LATER}
    assert again == published


FIGURES = {
    "a difference beyond all rates": (("comparisons", 0, "difference"), 1e308, "a difference of rates, from -1 to 1"),
    "a difference that is none": (("comparisons", 0, "difference"), float("nan"), "a finite number"),
    "what one seed says nothing of": (("comparisons", 0, "quantity"), "inference_accuracy", "of one seed nothing else"),
    "an interval turned round": (("comparisons", 0, "interval"), [0.2, 0.1], "the lower one first"),
    "an interval without an end": (("comparisons", 0, "interval"), [0.1, float("inf")], "a finite number"),
    "a p-value that is none": (("comparisons", 0, "mcnemar", "holm"), float("nan"), "a finite number"),
    "a p-value above 1": (("comparisons", 0, "mcnemar", "raw"), 1.5, "a rate from 0 to 1"),
    "accuracies turned round": (("at_equal_accuracy", 0, "test_accuracy_range"), [0.9, 0.1], "the lower one first"),
    "an inference accuracy turned round": (("rows", 0, "inference_interval"), [5, -1], "the lower one first"),
    "an inference accuracy above 1": (("rows", 0, "inference_interval"), [0.5, 1.5], "two rates from 0 to 1"),
    "an inference accuracy that is none": (("rows", 0, "inference_interval"), [float("nan"), 1], "a finite number"),
}


NO_RATES = {
    "audit.json": {"format", "epochs", "rate", "round", "seed", "label", "threshold", "epsilon"},
    "one audit": {"format", "label", "threshold", "epsilon"},
    "replicates.json": {"format", "epochs", "rate", "round", "interval", "prediction"},
}
"""Names of numbers that may be negative or above 1; Student's interval of a mean of rates may leave them, too."""
FIGURES_TRIED = {"audit.json": 20, "one audit": 18, "replicates.json": 2}


@pytest.mark.parametrize("name", NO_RATES)
def test_rates_of_audits_lie_between_0_and_1_and_counts_are_not_negative(name, written, tmp_path):
    """A number of every name and type, wherever it is first met, is replaced by what it cannot be."""
    values, tried = json.loads((written / name).read_text()), set()
    for path in places(values):
        value = values
        for key in path:
            value = value[key]
        called = next((key for key in reversed(path) if isinstance(key, str)), "")
        if type(value) not in (int, float) or called in NO_RATES[name] or (called, type(value)) in tried:
            continue
        tried.add((called, type(value)))
        for impossible in (-0.5, 1.5) if type(value) is float else (-1,):
            wrong = changed(values, path, lambda _, impossible=impossible: impossible)
            (tmp_path / name).write_text(json.dumps(wrong))
            assert read_or_refused(name, tmp_path) is None, (path, impossible)
    assert len(tried) >= FIGURES_TRIED[name], tried


@pytest.mark.parametrize("change", [lambda ends: ends[::-1], lambda ends: [ends[0]]], ids=["turned round", "one end"])
def test_intervals_of_audits_have_their_lower_end_first(change, written, tmp_path):
    values = json.loads((written / "one audit").read_text())
    intervals = {path[-1]: path for path in places(values) if path and str(path[-1]).endswith("interval")}
    assert len(intervals) >= 5
    for path in intervals.values():
        value = values
        for key in path:
            value = value[key]
        if value is not None and value[0] < value[1]:
            (tmp_path / "one audit").write_text(json.dumps(changed(values, path, change)))
            assert read_or_refused("one audit", tmp_path) is None, path


@pytest.mark.parametrize(("path", "value", "expected"), FIGURES.values(), ids=FIGURES)
def test_figures_of_results_that_nothing_can_have_are_refused_in_one_line(path, value, expected, written, tmp_path):
    values = json.loads((written / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(changed(values, path, lambda _: value)))
    with pytest.raises(FolderError, match=f"{path[-1]}(: [01])?: got .*; expected .*{expected}") as raised:
        Results.load(tmp_path)
    assert len(str(raised.value).splitlines()) == 1
    assert raised.value.exit_code == 2
