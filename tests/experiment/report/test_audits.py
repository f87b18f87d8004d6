"""The audits of a run as they are printed: what they are about, and which attack their verdicts name."""

import dataclasses
import re

import numpy as np
import pytest
from claims.noise import noise
from consoles import printed

from redense.auditing.audit import audit_evidence
from redense.auditing.page import audit_html
from redense.auditing.table import held_back
from redense.experiment.audit_rows import AuditRow
from redense.experiment.equal_accuracy import Trace
from redense.experiment.report.audit_overview import audit_overview
from redense.experiment.report.audits import audit_summary
from redense.experiment.report.protocols import audited_name
from redense.phases import Phase

PHASES = (Phase("dense", 1, 1.0, None, 0), Phase("sparse", 1, 1.0, 0.5, 1), Phase("redense", 1, 0.1, 0.5, 1))
FIGURE = re.compile(r"\d+\.\d+")


def audited(phase, seed, protocol="half", members=None):
    """A row of an audit; without `members` their number follows the seed, as that of random halves does."""
    found = noise(seed + 10 * PHASES.index(phase), members or 150 + 7 * seed, 160, 4, leak=1.0, ties=True)
    result = audit_evidence(found, attacks=("threshold", "rmia", "lira"), protocol=protocol)
    held_out = result.nonmembers if protocol == "all" else 80 + seed
    return AuditRow(protocol, phase, seed, "key", 0.123, Trace(((0.123, 0.5),), held_out), result)


@pytest.fixture(scope="module")
def rows():
    return [audited(phase, seed) for phase in PHASES for seed in (0, 1, 2)]


def summary(rows, width=200):
    return printed(audit_summary(rows), width)


def tables(text):
    """Lines of each table, by the table's title."""
    for block in text.split("\n\n"):
        lines = block.splitlines()
        title = next((line for line in lines[:3] if line.startswith(("AUC", "accuracy, %", "TPR, %"))), None)
        if title is not None:
            yield title, lines[lines.index(title) + 1 :]


def test_a_name_says_what_tells_an_audited_model_from_the_others_and_no_more(rows):
    first, *_ = rows
    assert audited_name(first, rows[:1]) == "dense, trained on a random half"
    assert audited_name(dataclasses.replace(first, protocol="all"), rows[:1]) == "dense"
    whole = [dataclasses.replace(row, protocol="all") for row in rows]
    for given in (rows, whole, rows + whole, [row for row in rows + whole if row.seed == 1]):
        names = [audited_name(row, given) for row in given]
        assert len(set(names)) == len(given)
        assert any("seed" in name for name in names) == (len({row.seed for row in given}) > 1)
        assert any("half" in name for name in names) == any(row.protocol == "half" for row in given)


def test_the_heading_counts_the_examples_of_all_targets(rows):
    text = " ".join(summary(rows).split())
    for what in ("members", "nonmembers"):
        counts = [getattr(row.result, what) for row in rows]
        span = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else f"{counts[0]}"
        assert span in text.split("Audit, protocol half")[1].split(")")[0]
    assert "(150 and 160; 4 reference models)" in " ".join(summary(rows[:1]).split())


def test_test_accuracy_stands_once_and_only_where_it_is_of_other_examples(rows):
    text = summary(rows)
    assert text.count("test accuracy, %") == 1
    assert "Test accuracy: on the 80 to 82 test examples among a target's non-members." in text
    alone = summary([audited(PHASES[0], 0, "all")])
    assert "est accuracy" not in alone
    for one in (text, alone):
        assert one.count("accuracy on members, %") == one.count("accuracy on non-members, %") == 1


def test_every_table_marks_the_attacks_that_the_verdicts_name(rows):
    found = list(tables(summary(rows)))
    assert [title.split("  ")[0] for title, _ in found] == ["AUC", "accuracy, %", "TPR, %, at 10% FPR"]
    named = {phase: {row.result.verdict.attack for row in rows if row.phase == phase} for phase in PHASES}
    for _, lines in found:
        cells = {line[:28].strip(): re.findall(r"(\* )?\d+\.\d+ ± \d+\.\d+", line[28:]) for line in lines}
        for place, phase in enumerate(PHASES):
            marked = {attack for attack, marks in cells.items() if marks[place]}
            assert marked == named[phase]
    assert "*: the strongest attack on a target of that phase, which its verdict names" in summary(rows)


def test_the_accuracies_are_those_of_the_verdicts():
    row = audited(PHASES[0], 0)
    lines = dict(tables(summary([row])))[next(title for title, _ in tables(summary([row])) if "accuracy" in title)]
    assert f"* {100 * row.result.verdict.accuracy:.2f}" in "\n".join(lines)


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_figure_of_an_audit_is_cut_at_any_width(rows, seeds):
    shown = [row for row in rows if row.seed < seeds]
    wide = sorted(FIGURE.findall(summary(shown)))
    for width in (60, 70, 80, 100, 120, 150):
        text = summary(shown, width)
        assert max(map(len, text.splitlines())) <= width
        assert sorted(FIGURE.findall(text)) == wide


def test_rates_that_ties_hold_back_are_explained(rows):
    text = " ".join(summary(rows).split())
    reached = {
        attack.attack: [row.result.attack(attack.attack).rates[0].point.fpr for row in rows]
        for attack in rows[0].result.attacks
    }
    said = re.search(r"accuses far fewer or more: (.*?)\. ", text)[1]
    nothing = re.search(r"0\.00 means not measurable for ([^;]*)", said)[1].split(", ")
    lower = re.findall(r"% for ([^,;]+(?:, per class)?)", said)
    assert {*nothing, *lower} == {name for name, rates in reached.items() if min(rates) < 0.05}
    assert nothing == ["gap"]
    assert all(row.result.attack("gap").rates[0].point.tpr == 0 for row in rows)
    one = dataclasses.replace(
        rows[0].result, attacks=tuple(a for a in rows[0].result.attacks if min(reached[a.attack]) >= 0.05)
    )
    assert "many scores are equal" not in str(one)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_overview_says_how_often_models_are_right_about_either_side_at_any_width(rows, seeds):
    shown = [row for row in rows if row.seed < seeds]
    for width in (50, 60, 80, 100, 150):
        text = printed(audit_overview(shown, ""), width)
        assert max(map(len, text.splitlines())) <= width
        assert "Left out" not in text or "right %" not in text.split("Left out")[1].split(".")[0]
        for phase in PHASES:
            results = [row.result for row in shown if row.phase == phase]
            for name in ("members_accuracy", "nonmembers_accuracy"):
                assert f"{100 * np.mean([getattr(result, name) for result in results]):.2f}" in text
    first = 100 * shown[0].result.members_accuracy, 100 * shown[0].result.nonmembers_accuracy
    if seeds == 1:
        assert "{:.2f} / {:.2f}".format(*first) in printed(audit_overview(shown, ""), 150)


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_overview_explains_the_intervals_that_it_shows_and_no_others(rows, seeds):
    """A ± is no interval, and at some widths the rates are left out."""
    shown = [row for row in rows if row.seed < seeds]
    said = set()
    for width in (60, 80, 100, 150):
        text = " ".join(printed(audit_overview(shown, ""), width).split())
        table, note = text.split("The strongest attack is")
        rates = "Left out at this width: TPR" not in table
        assert len(re.findall(r"\[\d", table)) == (seeds == 1) * len(PHASES) * (1 + rates)
        assert ("The accuracy's interval is the verdict's" in note) == (seeds == 1)
        assert ("that of the TPR is for" in note) == (seeds == 1 and rates)
        assert ("±" in table) == ("Over seeds: mean ±" in note) == (seeds > 1)
        said.add(rates)
    assert said == {True, False}


def test_the_overview_shows_a_dash_where_accuracies_are_not_known(rows):
    unknown = dataclasses.replace(rows[0].result, members_accuracy=None, nonmembers_accuracy=None)
    text = printed(audit_overview([dataclasses.replace(rows[0], result=unknown)], ""), 150)
    (line,) = (line for line in text.splitlines() if line.startswith("dense"))
    assert " - " in line
    assert "/" not in line


def test_the_page_says_how_often_models_are_right_about_either_side(rows):
    unknown = dataclasses.replace(rows[0].result, members_accuracy=None, nonmembers_accuracy=None)
    named = [("first", rows[0].result), ("second", rows[1].result), ("third", unknown)]
    page = audit_html(named, "two audits")
    table = page[page.index("How often the strongest attack on each model is right") :]
    table = table[: table.index("</table>")]
    assert "right %, members / others" in table
    cells = re.findall(r"<tr><th scope=\"row\">(\w+)</th>.*?<td>([^<]*)</td></tr>", table, re.DOTALL)
    expected = [
        f"{100 * result.members_accuracy:.1f} / {100 * result.nonmembers_accuracy:.1f}" for _, result in named[:2]
    ]
    assert cells == list(zip(("first", "second", "third"), [*expected, "-"], strict=True))


def test_attacks_that_some_models_lack_are_told_of_the_others(rows):
    """As of a phase whose reference models are not finished: the summary shows a dash there, whichever is first."""
    result = rows[-1].result
    few = [one for one in result.attacks if not one.attack.startswith("LiRA")]
    assert 0 < len(few) < len(result.attacks)
    curves = {one.attack: result.curves[one.attack] for one in few}
    fewer = dataclasses.replace(result, attacks=tuple(few), curves=curves, primary=few[-1].attack)
    lacking = dataclasses.replace(rows[-1], result=fewer)
    said = []
    for given in ([*rows[:3], lacking], [lacking, *rows[:3]]):
        assert re.search(r"LiRA online .* - ", summary(given).replace("\n", " \n"))
        (line,) = held_back([row.result for row in given], 0.1)
        said.append(sorted(re.split(", |: |; ", line.rstrip("."))))
    assert said[0] == said[1]
