"""What the last line of a notebook's cell shows, and tables as data frames."""

import sys
import types

import numpy as np
import pytest
import torch

import redense


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


@pytest.mark.parametrize("name", ["Results", "AuditResult"])
def test_writing_a_value_out_displays_nothing_by_itself(name, shown, monkeypatch):
    """In a notebook, consoles of rich show what is printed in a cell's output, also what is only captured."""

    def display(segments, text):
        raise AssertionError(f"displayed {text!r}")

    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", display)
    assert str(shown[name]).splitlines()


def test_figures_show_themselves(shown):
    for figure in (shown["Results"].figure(), shown["Results"].leakage_figure(), shown["AuditResult"].figure()):
        assert figure._repr_png_().startswith(b"\x89PNG")


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

    frame = shown["Results"].to_pandas()
    assert len(frame) == len(shown["Results"].rows)
    assert frame["test_accuracy"].between(0, 1).all()
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
