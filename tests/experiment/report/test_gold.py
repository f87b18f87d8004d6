"""The numbers of a run's page, against those that a person has looked at: charts, tables and conclusion of a small run.

``gold/`` has the run's files, and what its page says, in ``page.json``. After a change that is meant, with
``REDENSE_GOLD=page`` in the environment this test writes that anew; where files of runs have a new format,
``REDENSE_GOLD=run`` trains the run, too. Look at the difference before it is committed.
"""

import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pages import charts, paragraphs

from redense.experiment.found import find
from redense.experiment.recipe import Recipe
from redense.experiment.report.conclusion import conclusion
from redense.experiment.report.page import report_html
from redense.experiment.run import run

GOLD = Path(__file__).parent / "gold"
RECIPE = Recipe(
    data="factories:more_data",
    model="factories:small",
    sparsities=(0.5,),
    epochs=(2, 1, 1),
    seeds=(0, 1),
    controls=("longer",),
    audit=("lira",),
    references=4,
)
AUDITED = ("dense", "redense")
"""Phases of the first seed whose audits are kept: enough to be drawn side by side."""


class _Tables(HTMLParser):
    """Collects tables of figures, row by row, a caption first; a figure and its interval are one cell."""

    def __init__(self):
        super().__init__()
        self.tables, self.cell = [], None

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        if tag in ("tr", "caption"):
            self.tables[-1].append([])
        if tag in ("th", "td", "caption"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("th", "td", "caption"):
            self.tables[-1][-1].append(" ".join(self.cell.split()))
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def said(folder):
    """What a page says: its conclusion, tables of figures, and charts; not when and where it was made."""
    found = find(folder)
    page, tables = report_html([found]), _Tables()
    tables.feed(page)
    assert set(conclusion(found.results, found.audits)) <= {text.replace("\xa0", " ") for text in paragraphs(page)}
    figures = [table for table in tables.tables if len(table[1]) > 2]
    return {"conclusion": [*conclusion(found.results, found.audits)], "tables": figures, "charts": charts(page)}


def train(folder):
    """Make the files of the run anew."""
    run(RECIPE, folder / "run", workers=0)
    for name in ("recipe.json", "results.json", "shown.json", "audit.json"):
        values = json.loads((folder / "run" / name).read_text())
        if name == "audit.json":
            values["rows"] = [row for row in values["rows"] if row["seed"] == 0 and row["phase"] in AUDITED]
        write(values, GOLD / name)


def write(values, path):
    """Write a line for each element of what is on top, so that a difference can be read."""
    path.write_text(_lines(values, 3) + "\n")


def _lines(values, depth):
    if not depth or not isinstance(values, dict | list) or not values:
        return json.dumps(values)
    if isinstance(values, list):
        return "[" + ",\n".join(_lines(value, depth - 1) for value in values) + "]"
    return "{" + ",\n".join(f"{json.dumps(name)}: {_lines(value, depth - 1)}" for name, value in values.items()) + "}"


def differences(found, expected, where="page"):
    """Name where two values of JSON differ; numbers may by what machines round otherwise."""
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        return [each for name in expected for each in differences(found[name], expected[name], f"{where}.{name}")]
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [each for place, pair in pairs for each in differences(*pair, f"{where}[{place}]")]
    same = found == pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else found == expected
    return [] if same else [f"{where}: {str(found)[:80]} instead of {str(expected)[:80]}"]


def test_the_numbers_of_a_page_are_those_of_its_gold_file(tmp_path):
    anew = os.environ.get("REDENSE_GOLD")
    if anew == "run":
        train(tmp_path)
    page = said(GOLD)
    if anew:
        write(page, GOLD / "page.json")
    expected = json.loads((GOLD / "page.json").read_text())
    assert differences(page, expected) == []
    assert len(expected["tables"]) > 4
    assert {"accuracy", "inference", "roc-phases", "roc-attacks", "training", "leakage", "weights", "kept"} <= set(
        expected["charts"]
    )


def test_a_difference_is_named():
    assert differences({"a": [1.0, "x"]}, {"a": [1.0 + 1e-9, "x"]}) == []
    assert differences({"a": [1.0, "x"]}, {"a": [1.1, "y"]}) == [
        "page.a[0]: 1.0 instead of 1.1",
        "page.a[1]: x instead of y",
    ]
    assert differences([1], [1, 2]) == ["page: [1] instead of [1, 2]"]
