"""Tables at any width: no figure is cut, and what is left out is said."""

import sys

import pytest
from consoles import printed
from hypothesis import assume, example, given
from hypothesis import strategies as st

from redense.terminal import Continued, Fitting, below, fitted, heading, least_width, plain, prose, table_of
from redense.text import interval_text

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=20), min_size=1, max_size=4).map(" ".join)
FIGURES = st.lists(st.floats(-1000, 1000).map("{:.2f}".format), min_size=1, max_size=12)


@given(st.lists(WORDS, min_size=2, max_size=2), FIGURES, st.integers(45, 160))
@example(["a", "aaa aaaaaaaaaaaaaaaaaaaa aaaaaaaa aaaaaaaa"], ["-100.00"], 46)
def test_text_is_broken_and_figures_are_not(names, figures, width):
    table = table_of("name", "first", "second", text=["name"], broken=["name"])
    table.add_row(names[0], figures[0], f"[{figures[-1]}, {figures[0]}]")
    table.add_row(names[1], "±", "")
    assume(least_width(table) <= width)  # else it is drawn row by row
    text = printed(fitted(table, width), width)
    assert "…" not in text
    assert f"[{figures[-1]}, {figures[0]}]" in text
    assert "".join(sorted("".join(names).replace(" ", ""))) == "".join(
        sorted("".join(line[: table.columns[0].width].replace(" ", "") for line in text.splitlines()[1:]))
    )
    assert max(map(len, text.splitlines())) <= width


@given(FIGURES, st.integers(20, 120))
def test_columns_that_have_no_room_go_on_below(figures, width):
    def draw(start, end):
        table = table_of("what", *(f"phase {number}" for number in range(start, end)), text=["what"])
        table.add_row("AUC", *figures[start:end])
        return table

    text = printed(Continued(len(figures), draw), width)
    rows = [line.split()[1:] for line in text.splitlines() if line.startswith("AUC")]
    assert [figure for row in rows for figure in row] == figures
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("terminal", "width"), [("80", 80), ("40", 40), ("300", 150)])
def test_text_of_a_result_is_no_wider_than_the_terminal_it_is_printed_on(terminal, width, monkeypatch):
    """A file or a pipe, which no terminal shows, gets the whole width."""
    table = table_of("attack", *map(str, range(12)), text=["attack"])
    table.add_row("confidence", *["[0.1234, 0.5678]"] * 12)
    drawn = Fitting([(table, "")])
    monkeypatch.setenv("COLUMNS", terminal)
    assert plain(drawn, least_width(table)).count("[0.1234, 0.5678]") == 12
    assert max(map(len, plain(drawn, 250).splitlines())) == least_width(table)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    shown = plain(drawn, 150)
    assert shown.count("[0.1234, 0.5678]") == 12
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize(("width", "drawn", "said"), [(80, "wide", False), (30, "middle", True), (8, "narrow", True)])
def test_the_first_table_that_fits_is_drawn_and_says_what_it_leaves_out(width, drawn, said):
    tables = []
    for name, figure in (("wide", "1" * 60), ("middle", "1" * 20), ("narrow", "1")):
        table = table_of(name)
        table.add_row(figure)
        tables.append((table, "" if name == "wide" else "some figures"))
    text = printed(Fitting(tables), width)
    assert text.split()[0] == drawn
    assert ("some figures" in " ".join(text.split())) == said
    assert least_width(tables[0][0]) == 60


def test_an_interval_stands_below_its_figure_where_there_is_one():
    assert (below("0.5", "[0.4, 0.6]"), below("0.5", "-"), below("0.5", "")) == ("0.5\n[0.4, 0.6]", "0.5", "0.5")
    assert heading("dense", []) == "dense"


ENDS = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))


@given(st.lists(st.tuples(WORDS, ENDS, ENDS), min_size=1, max_size=5), st.integers(40, 200))
def test_at_every_width_a_figure_is_whole_or_its_column_is_said_to_be_left_out(rows, width):
    wide = table_of("phase", "accuracy", "", "rate", text=["phase"])
    stacked = table_of("phase", "accuracy", "rate", text=["phase"], broken=["phase"])
    short = table_of("phase", "accuracy", text=["phase"], broken=["phase"])
    for name, ends, other in rows:
        figure, interval, rate = f"{ends[0]:.2f}", interval_text(ends, 1, 2), f"{other[0]:.2f} ± {other[1]:.2f}"
        wide.add_row(name, figure, interval, rate)
        stacked.add_row(name, below(figure, interval), rate)
        short.add_row(name, below(figure, interval))
    text = printed(Fitting([(wide, ""), (stacked, ""), (short, "the rate")]), width)
    blanks = f"  {' '.join(text.split())}  ".replace(" ", "  ")
    left_out = "Left out at this width: the rate." in " ".join(text.split())
    for _, ends, other in rows:
        assert f"  {ends[0]:.2f}  " in blanks
        assert interval_text(ends, 1, 2) in text
        assert left_out or f"{other[0]:.2f} ± {other[1]:.2f}" in text
    assert max(map(len, text.splitlines())) <= width


@given(st.lists(st.one_of(WORDS, ENDS.map(lambda ends: interval_text(ends, 1, 2))), min_size=1), st.integers(40, 200))
def test_running_text_is_never_broken_inside_of_an_interval(parts, width):
    text = printed(prose(" ".join(parts)), width)
    assert " ".join(text.split()) == " ".join(" ".join(parts).split())
    for part in parts:
        assert not part.startswith("[") or part in text
    assert max(map(len, text.splitlines())) <= min(width, 100)


@given(
    st.lists(st.sampled_from(["dense", "re-dense 30%", "", "a\nlonger"]), min_size=1, max_size=4), st.integers(20, 90)
)
def test_no_line_of_a_table_ends_in_blanks(cells, width):
    """Also titles, and last columns of text."""
    table = table_of("a", "phase", text=["phase"], title="Of what")
    for cell in cells:
        table.add_row("1.00", cell)
    for drawn in (table, Fitting([(table, "the rest")]), Continued(1, lambda start, end: table)):
        lines = printed(drawn, width).splitlines()
        assert [line for line in lines if line != line.rstrip()] == []
        assert "".join(lines).count("1.00") == len(cells)
