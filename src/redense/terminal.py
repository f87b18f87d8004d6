"""How tables and running text fit a terminal: no figure is cut, whatever the width.

One rule for all tables. Where a row has no room, text is broken over lines, then an interval goes below its figure,
then columns that decide nothing are left out, which a line below the table says. Columns beside each other that are
too many, such as phases, go on below. Where even that has no room, each row becomes a block, a line a figure.

All that is drawn here is shown as it is written: nothing in it is markup, and nothing in it steers the terminal.
"""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.segment import Segment
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

from redense.errors import warn_caller
from redense.text import NO_BREAK, PLAIN_WIDTH, together, visible

PROSE = 100
"""Columns beyond which running text is hard to read."""
GAP = 2
"""Blank columns between those of a table."""
WORD = 14
"""Letters beyond which a word may be broken, where that is allowed."""
TEXT_LINES = 3
"""Lines that broken text takes in a table, unless that asks for more than `TEXT` columns."""
TEXT = 20


def warn(message: str, console: Console) -> None:
    """Print a warning; where the console is quiet, and nobody would see it, warn whoever called redense."""
    if not console.quiet:
        console.print(prose(f"Warning: {message}."))
        return
    warn_caller(visible(message))


@dataclass(frozen=True)
class Fitting:
    """Draws the first of several tables, wide to narrow, that fits the width, else the last row by row.

    Each comes with the names of what it leaves out.
    """

    tables: Sequence[tuple[Table, str]]

    def at(self, width: int) -> tuple[Table, str]:
        """Return the table that is drawn at that width, and what it leaves out."""
        return next((one for one in self.tables if least_width(one[0]) <= width), self.tables[-1])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw one of the tables, and say what it leaves out."""
        table, left_out = self.at(options.max_width)
        yield from drawn(table, options.max_width)
        if left_out:
            yield prose(f"Left out at this width: {left_out}.", "dim")


@dataclass(frozen=True)
class Continued:
    """Draws a table whose columns may be too many, in as many parts, below each other, as they take.

    `draw` makes the table of the columns from one place up to another.
    """

    columns: int
    draw: Callable[[int, int], Table]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw the parts, a blank line between them."""
        start = 0
        while start < self.columns:
            end = start + 1
            while end < self.columns and least_width(self.draw(start, end + 1)) <= options.max_width:
                end += 1
            if start:
                yield ""
            yield from drawn(self.draw(start, end), options.max_width)
            start = end


def least_width(table: Table) -> int:
    """Return how many columns a table takes at least without cutting what may not be broken over lines."""
    return sum(least for least, _ in map(_widths, table.columns)) + GAP * (len(table.columns) - 1)


def drawn(table: Table, width: int) -> Iterator[RenderableType]:
    """Draw a table, row by row where it has no room."""
    if least_width(table) <= width:
        yield fitted(table, width)
    else:
        yield from map(Text, row_by_row(table, width))


def fitted(table: Table, width: int) -> Table:
    """Fix the widths of a table's columns: what is beyond the least goes to the first that can use it."""
    room = width - least_width(table)
    for column in table.columns:
        least, most = _widths(column)
        column.width = least + max(0, min(room, most - least))
        room -= column.width - least
    return table


def row_by_row(table: Table, width: int) -> list[str]:
    """Write each row as a block: its name, which is the first column's cell, then a line a cell with its header.

    >>> table = table_of("phase", "train %", "test %", text=["phase"])
    >>> table.add_row("dense", "99.90", "97.74\\n[96.00, 98.10]")
    >>> print("\\n".join(row_by_row(table, 30)))
    phase
    dense
      train %  99.90
      test %  97.74 [96.00, 98.10]
    """
    headers = [" ".join(str(column.header).split()) for column in table.columns]
    lines = [*([str(table.title)] if table.title else []), *_folded(headers[0], width)]
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    if table.show_footer:
        rows.append(tuple(column.footer for column in table.columns))
    for cells in rows:
        first, *others = map(str, cells)
        lines += _folded(first, width)
        for header, cell in zip(headers[1:], others, strict=True):
            for line in _entry(header, cell, width) if cell else ():
                lines += _folded(line, width, "  ")
    return lines


def _entry(header: str, cell: str, width: int) -> list[str]:
    """Write a header and what stands under it in one line, else what stands there in lines of its own."""
    one = f"{header}  {' '.join(cell.split())}".strip()
    return [one] if cell_len(one) <= width - GAP else [*([header] if header else []), *cell.split("\n")]


def _folded(text: str, width: int, indent: str = "") -> list[str]:
    return [f"{indent}{line}" for line in _wrapped(text, max(1, width - len(indent)))]


def _widths(column: Column) -> tuple[int, int]:
    """Return the least and the most that a column can use: the least is its longest line where it may not be broken."""
    parts = [str(part) for part in (column.header, column.footer, *column.cells)]
    lines = [line for part in parts for line in part.split("\n")]
    most = max(map(cell_len, lines))
    return (most if column.no_wrap else max(map(_least, lines))), most


def _least(line: str) -> int:
    """Return how many columns a line of text takes at least: its longest word, and room for no more than some lines."""
    word = min(WORD, max(map(cell_len, line.split()), default=1))
    widths = range(word, min(TEXT, max(word, cell_len(line))) + 1)
    return next((width for width in widths if len(_wrapped(line, width)) <= TEXT_LINES), widths[-1])


class Plain(Table):
    """A table whose cells and headers are shown as they are written, without blanks at the ends of lines."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Draw the table."""
        segments = cast("Iterable[Segment]", super().__rich_console__(console, options))  # a table draws nothing else
        for line in Segment.split_lines(segments):
            while line and not line[-1].text.strip(" "):
                line.pop()
            if line:
                text, style, control = line.pop()
                yield from [*line, Segment(text.rstrip(" "), style, control)]
            yield Segment.line()

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """Add a row of text."""
        super().add_row(*map(shown, cells), style=style, end_section=end_section)


def shown(cell: object) -> Text:
    """Write a cell, of one line or several, as a terminal may show it."""
    return Text(visible(cell, keep="\n"))


def table_of(
    *names: str,
    text: Sequence[str] = (),
    broken: Sequence[str] = (),
    title: str = "",
    footers: Sequence[str] = (),
) -> Table:
    """Make a table without lines; all columns but those of `text` are figures, which stand to the right.

    The columns in `broken` may be broken over lines, words that are very long too. `footers` make its last row.
    """
    table = Plain(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0), show_footer=bool(footers))
    if title:
        table.title, table.title_justify = shown(title), "left"
    for name, footer in zip_longest(names, footers, fillvalue=""):
        justify: JustifyMethod = "left" if name in text else "right"
        wraps = name in broken
        table.add_column(shown(name), shown(footer), justify=justify, no_wrap=not wraps, overflow="fold")
    return table


def below(figure: str, interval: str) -> str:
    """Write an interval below its figure."""
    return figure if interval in ("", "-") else f"{figure}\n{interval}"


def heading(name: str, cells: Iterable[str]) -> str:
    """Break a heading over lines, between words, so that it is no wider than what stands below it.

    >>> heading("control-llr beside re-dense", ["91.86 ± 0.11"])
    'control-llr\\nbeside\\nre-dense'
    """
    widest = max((len(line) for cell in cells for line in cell.split("\n")), default=1)
    width = max([widest, *map(len, name.split())])
    return "\n".join(textwrap.wrap(name, width, break_long_words=False, break_on_hyphens=False))


@dataclass(frozen=True)
class Prose:
    """Running text, as wide as it reads well; no interval is broken over lines."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw the lines."""
        width = min(PROSE, options.max_width)
        yield Text("\n".join(_wrapped(self.text, width)), style=self.style)


def prose(text: str, style: str = "") -> Prose:
    """Write running text as wide as it reads well, as a terminal may show it."""
    return Prose(visible(text), style)


@dataclass(frozen=True)
class ByWidth:
    """Running text about tables, which say more or less by the width."""

    text: Callable[[int], str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw the lines."""
        yield prose(self.text(options.max_width))


def _wrapped(text: str, width: int) -> list[str]:
    """Break text over lines at blanks, but none inside of what belongs together."""
    lines = textwrap.wrap(together(text), width, break_on_hyphens=False)
    return [line.replace(NO_BREAK, " ") for line in lines]


def plain(drawn: RenderableType, width: int = PLAIN_WIDTH) -> str:
    """Return what a terminal of that width shows, as plain text without blanks at the ends of lines.

    Where standard output is a narrower terminal, it is of its width: lines that it would break are hard to read.

    >>> plain(prose("no leak"), 80)
    'no leak'
    """
    # in a notebook rich would also show in the cell what is only captured
    written = io.StringIO()
    if sys.stdout is not None and sys.stdout.isatty():
        width = min(width, shutil.get_terminal_size((width, 24)).columns)
    Console(file=written, width=width, color_system=None, force_jupyter=False).print(drawn)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
