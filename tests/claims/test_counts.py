"""Counts of repeated experiments are those that tests make, and the page says which of them are quick or still lack."""

import tomllib

import pytest
from claims.counts import ASKED, Counted, missing, needed, planned, read_counts, record, write_counts
from claims.planned import FULL, QUICK
from claims.register import SOURCE, Register, _of_counts

EPSILON = "one-run epsilon"
CASE = "noise, 1,000 canaries"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "counts.csv"


def every(guarantee, run):
    return [Counted(guarantee, case, run, 10, 9, 0.5, 1.0, "2026-01-01") for case in planned(guarantee, run)]


def test_what_was_counted_is_what_tests_make():
    rows = read_counts()
    assert rows == sorted(needed(rows), key=rows.index), "written by hand, or of a case that no test makes any more"
    assert len({(row.guarantee, row.case, row.run) for row in rows}) == len(rows)
    assert all(row.held <= row.repeats for row in rows)


def test_every_planned_guarantee_stands_in_the_register_and_the_other_way_round():
    entries = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["entry"]
    assert {name for entry in entries for name in entry.get("counts", [])} == FULL.keys()
    assert QUICK.keys() <= FULL.keys()
    assert all(len(set(cases)) == len(cases) for cases in (*FULL.values(), *QUICK.values()))
    for entry in Register.read().entries:
        for guarantee in entry.counts:
            told = [case for case in FULL[guarantee] if not entry.cases or any(one in case for one in entry.cases)]
            assert told, f"no case of {guarantee} is what {entry.about} is about"


def test_a_case_that_is_not_planned_is_refused(file):
    for quick in (False, True):
        with pytest.raises(ValueError, match="no case of a (full|quick) run of 'one-run epsilon' that is planned"):
            record(EPSILON, "noise, 7 canaries", 9, 10, quick=quick, file=file)
    with pytest.raises(ValueError, match="of 'something'"):
        record("something", CASE, 9, 10, file=file)
    assert not file.exists()


def test_a_count_takes_the_place_of_the_one_before(file):
    record(EPSILON, CASE, 9, 10, file=file)
    record(EPSILON, CASE, 95, 100, file=file)
    (row,) = read_counts(file=file)
    assert (row.run, row.held, row.repeats) == ("full", 95, 100)
    assert row.low < 0.95 < row.high


def test_quick_counts_are_kept_where_they_are_asked_for_and_a_full_one_lacks(file, monkeypatch):
    monkeypatch.delenv(ASKED, raising=False)
    record(EPSILON, CASE, 9, 10, quick=True, file=file)
    assert not file.exists()
    monkeypatch.setenv(ASKED, "1")
    record(EPSILON, CASE, 9, 10, quick=True, file=file)
    record(EPSILON, "ties, 1,000 canaries", 9, 10, quick=True, file=file)
    record(EPSILON, CASE, 95, 100, file=file)
    record(EPSILON, CASE, 9, 10, quick=True, file=file)
    assert [(row.case, row.run) for row in read_counts(file=file)] == [
        (CASE, "full"),
        ("ties, 1,000 canaries", "quick"),
    ]


@pytest.mark.parametrize("guarantee", QUICK)
def test_quick_counts_go_when_all_full_ones_are_there(guarantee, file):
    quick, full = every(guarantee, "quick"), every(guarantee, "full")
    write_counts([*quick, *full[:-1]], file)
    lacking = {one.case for one in quick} - {one.case for one in full[:-1]}
    assert {row.case for row in read_counts(file=file) if row.run == "quick"} == lacking
    assert missing(guarantee, read_counts(file=file)) == [full[-1].case]
    write_counts([*quick, *full], file)
    assert sorted(row.case for row in read_counts(file=file)) == sorted(one.case for one in full)


def test_the_page_says_which_counts_are_quick_and_how_many_full_ones_lack(file, monkeypatch):
    monkeypatch.setattr("claims.register.read_counts", lambda name: read_counts(name, file))
    assert _of_counts(EPSILON, ()) == "20 of 20 full cases not counted yet (guarantees/counts.csv)"
    write_counts([*every(EPSILON, "quick"), *every(EPSILON, "full")[:2]], file)
    said = _of_counts(EPSILON, ())
    assert said.startswith("2 cases of 10 repeats: held in at least 90.0% [50.0, 100.0] (")
    assert "; 3 quick cases of 10 repeats: held" in said
    assert said.endswith("; 18 of 20 full cases not counted yet (guarantees/counts.csv, 2026-01-01)")
    assert "; 3 of 5 full cases not" in _of_counts(EPSILON, ("noise",))
