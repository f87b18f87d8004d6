"""What the last line of a notebook's cell shows, tables as data frames, and types for a user's own checker."""

import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import redense

SCRIPT = """
import numpy as np
import torch

import redense

model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters())
dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(2, 1, 1))
for epoch in dsd.epochs():
    label: str = dsd.phase.label
    zeros: float = redense.measure_sparsity(model)

examples = (np.zeros((8, 4), np.float32), np.zeros(8, np.int64))
audit = redense.audit(model, members=examples, nonmembers=examples)
low, high = audit.attack("confidence").auc_interval
sentence: str = audit.verdict.sentence

recipe = redense.Recipe(data="digits", sparsities=(0.5,), seeds=(0, 1))
try:
    results: redense.Results = redense.run(recipe, out="runs/mine", workers=0, progress=True)
    results = redense.Results.load("runs/mine")
    best: float = max(row.test_accuracy for row in results.rows)
except redense.RedenseError as error:
    code: int = error.exit_code
"""
WRONG = {
    "redense.DSD(model, optimizer, sparsity='half', epochs=(2, 1, 1))": "arg-type",
    "recipe.sparsitys": "attr-defined",
    "number: int = results.to_csv()": "assignment",
}


@pytest.fixture(scope="module")
def shown(undisturbed):
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 3)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(400, 6)).astype(np.float32), generator.integers(0, 3, 400)
    audit = redense.audit(model, members=(x[:200], y[:200]), nonmembers=(x[200:], y[200:]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1))
    return {"Results": redense.Results.load(undisturbed), "AuditResult": audit, "DSD": dsd}


@pytest.mark.parametrize("name", ["Results", "AuditResult", "DSD"])
def test_a_value_is_a_line_where_it_is_listed_and_its_table_in_a_notebook(name, shown):
    value = shown[name]
    assert name in repr(value)
    assert len(repr(value)) < 200
    assert "\n" not in repr(value)
    html = value._repr_html_()
    assert html.startswith("<pre")
    assert str(value).splitlines()[0].split()[0] in html


def test_what_comes_from_outside_is_no_markup(undisturbed):
    import dataclasses

    results = redense.Results.load(undisturbed)
    row = results.rows[0]
    named = dataclasses.replace(results, recipe=dataclasses.replace(results.recipe, data="<script>"))
    assert "<script>" not in named._repr_html_()
    assert row.test_accuracy == redense.Results.load(str(undisturbed)).rows[0].test_accuracy


def test_tables_are_data_frames(shown, monkeypatch):
    class Frame:
        @staticmethod
        def from_records(rows):
            return rows

    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=Frame))
    rows = shown["Results"].to_pandas()
    assert [row["checkpoint"] for row in rows] == [row.checkpoint for row in shown["Results"].rows]
    assert {"phase", "sparsity", "test_accuracy", "inference_low"} <= set(rows[0])
    attacks = shown["AuditResult"].to_pandas()
    assert [row["attack"] for row in attacks] == [one.attack for one in shown["AuditResult"].attacks]


@pytest.mark.parametrize("name", ["Results", "AuditResult"])
def test_without_pandas_the_error_names_the_extra(name, shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(redense.RedenseError, match=r"pip install 'redense\[pandas\]'"):
        shown[name].to_pandas()


def test_a_users_script_is_type_checked(tmp_path):
    package = Path(redense.__file__).parent
    assert (package / "py.typed").exists(), "or type checkers ignore the package"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + "".join(f"{line}\n" for line in WRONG))
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-incremental"]
    command += ["--config-file", "/dev/null", "--ignore-missing-imports", str(script)]
    found = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"MYPYPATH": str(package.parent), "PATH": ""}
    )
    lines = [line for line in found.stdout.splitlines() if ": error:" in line]
    first = SCRIPT.count("\n") + 1
    expected = [(first + place, kind) for place, kind in enumerate(WRONG.values())]
    assert [(int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")) for line in lines] == expected, found.stdout
