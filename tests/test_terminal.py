"""Tables at any width: no figure is cut, and what is left out is said."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from redense.terminal import Continued, Fitting, below, fitted, heading, least_width, table_of

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=20), min_size=1, max_size=4).map(" ".join)
FIGURES = st.lists(st.floats(-1000, 1000).map("{:.2f}".format), min_size=1, max_size=12)


def printed(renderable, width):
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


@given(st.lists(WORDS, min_size=2, max_size=2), FIGURES, st.integers(45, 160))
def test_text_is_broken_and_figures_are_not(names, figures, width):
    table = table_of("name", "first", "second", text=["name"], broken=["name"])
    table.add_row(names[0], figures[0], f"[{figures[-1]}, {figures[0]}]")
    table.add_row(names[1], "±", "")
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
