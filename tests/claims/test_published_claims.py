"""What the pages say of published results is what the files of these hold."""

import csv
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from redense.auditing.verdict import simultaneous
from redense.experiment.results import Results
from redense.metrics import clopper_pearson

PUBLISHED = Path(__file__).parents[2] / "docs" / "results"
TEXT = " ".join((PUBLISHED / "audit.md").read_text(encoding="utf-8").split())


def without_zero(value):
    """Write a p as the page does, two figures and no zero before the point: .0012."""
    return f"{float(f'{value:.2g}'):.4f}".rstrip("0").removeprefix("0")


def test_claims_over_seeds_of_location30_are_all_told():
    values = json.loads((PUBLISHED / "audit-location30.json").read_text(encoding="utf-8"))
    every = [*values["comparisons"], *values["at_equal_accuracy"], *values["audits"]]
    over_seeds = [one for one in every if not one["replicates"]]
    shown = [one for one in over_seeds if one["t"] and one["t"]["holm"] < 0.05]
    assert {one["claims"] for one in over_seeds} == {48}
    assert f"Three seeds of targets alone show {len(shown) or 'none'} of {len(over_seeds)} claims" in TEXT


def test_claims_over_models_in_turn_of_location30_are_all_told():
    values = json.loads((PUBLISHED / "audit-location30.json").read_text(encoding="utf-8"))
    for one in values["audits"]:
        if one["replicates"] and one["t"]["holm"] >= 0.001:
            assert f"| {without_zero(one['t']['holm'])} |" in TEXT or one["t"]["holm"] == 1


@pytest.mark.parametrize("data", ["fashion-mnist", "location30", "digits"])
def test_what_is_said_of_controls_follows_from_the_rows(data):
    stored = Results.from_json((PUBLISHED / f"dsd-against-control-{data}.json").read_text(encoding="utf-8"))
    for group in ("comparisons", "at_equal_accuracy"):
        said, again = ([one.verdict for one in getattr(results, group)] for results in (stored, stored.compared()))
        assert said == again


def test_the_strongest_attacks_are_counted():
    audits = {}
    for data in ("location30", "fashion-mnist"):
        with (PUBLISHED / f"audit-{data}.csv").open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                audits.setdefault((data, line["protocol"], line["checkpoint"]), []).append(line)
    strongest = Counter()
    for attacks in audits.values():
        named = {}
        for line in attacks:
            accuracy, low, high = (float(line[name]) for name in ("accuracy", "accuracy_low", "accuracy_high"))
            result = SimpleNamespace(accuracy=accuracy, accuracy_interval=(low, high))
            named[simultaneous(result, len(attacks), 0.95)[0], accuracy] = line["attack"].split()[0]
        strongest[named[max(named)]] += 1
    calibrated = strongest["LiRA"] + strongest["RMIA"]
    said = f"LiRA or RMIA in {calibrated}, SAMIA in {strongest['SAMIA']} of the {len(audits)} audits behind"
    assert said in " ".join((PUBLISHED.parent / "reading-audits.md").read_text(encoding="utf-8").split())


def test_calm_on_noise_is_what_was_counted():
    with (PUBLISHED / "guarantees" / "counts.csv").open(encoding="utf-8") as file:
        calm = [row for row in csv.DictReader(file) if row["guarantee"] == "no leak is claimed"]
    held, repeats = (sum(int(row[name]) for row in calm) for name in ("held", "repeats"))
    assert {row["run"] for row in calm} == {"full"}
    leaks = repeats - held
    low, high = (100 * end for end in clopper_pearson(leaks, repeats))
    assert f"{100 * leaks / repeats:.1f}% of cases [{low:.1f}, {high:.1f}] ({leaks} of {repeats:,})" in TEXT
