"""How tables fit a terminal: no figure is cut, whatever the width.

What is written in one row where there is room is written in less room by two rules: an interval goes below its figure,
and columns that decide nothing are left out, which a line below the table says. Columns beside each other that are too
many, such as phases, go on below.
"""

from __future__ import annotations

import io
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.constrain import Constrain
from rich.table import Column, Table
from rich.text import Text

PROSE = 100
"""Columns beyond which running text is hard to read."""
GAP = 2
"""Blank columns between those of a table."""
WORD = 14
"""Letters beyond which a word may be broken, where that is allowed."""


def warn(message: str, console: Console) -> None:
    """Print a warning; where the console is quiet, and nobody would see it, warn whoever called redense."""
    if not console.quiet:
        console.print(prose(f"Warning: {message}."))
        return
    frames = traceback.walk_stack(sys._getframe())
    ours = sum(1 for _ in takewhile(lambda each: each[0].f_globals["__name__"].startswith("redense."), frames))
    warnings.warn(message, stacklevel=ours + 1)


@dataclass(frozen=True)
class Fitting:
    """Draws the first of several tables, wide to narrow, that fits the width, else the last.

    Each comes with the names of what it leaves out.
    """

    tables: Sequence[tuple[Table, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw one of the tables, and say what it leaves out."""
        fitting = (one for one in self.tables if least_width(one[0]) <= options.max_width)
        table, left_out = next(fitting, self.tables[-1])
        yield fitted(table, options.max_width)
        if left_out:
            yield Text(f"Left out at this width: {left_out}.", style="dim")


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
            yield fitted(self.draw(start, end), options.max_width)
            start = end


def least_width(table: Table) -> int:
    """Return how many columns a table takes at least without cutting what may not be broken over lines."""
    return sum(least for least, _ in map(_widths, table.columns)) + GAP * (len(table.columns) - 1)


def fitted(table: Table, width: int) -> Table:
    """Fix the widths of a table's columns: what is beyond the least goes to the first that can use it."""
    room = width - least_width(table)
    for column in table.columns:
        least, most = _widths(column)
        column.width = least + max(0, min(room, most - least))
        room -= column.width - least
    return table


def _widths(column: Column) -> tuple[int, int]:
    """Return the least and the most that a column can use: its longest word, where it may be broken, and line."""
    parts = [str(part) for part in (column.header, column.footer, *column.cells)]
    lines = [line for part in parts for line in part.split("\n")]
    most = max(map(cell_len, lines))
    if column.no_wrap:
        return most, most
    return min(WORD, max(cell_len(word) for line in lines for word in line.split() or [""])), most


def table_of(*names: str, text: Sequence[str] = (), broken: Sequence[str] = ()) -> Table:
    """Make a table without lines; all columns but those of `text` are figures, which stand to the right.

    The columns in `broken` may be broken over lines, words that are very long too.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for name in names:
        justify: JustifyMethod = "left" if name in text else "right"
        table.add_column(name, justify=justify, no_wrap=name not in broken, overflow="fold")
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


def prose(text: str) -> RenderableType:
    """Write running text as wide as it reads well; brackets in it are no markup."""
    return Constrain(Text(text), PROSE)


def plain(drawn: RenderableType, width: int) -> str:
    """Return what a terminal of that width shows, as plain text without blanks at the ends of lines.

    >>> plain(prose("no leak"), 80)
    'no leak'
    """
    # in a notebook rich would also show in the cell what is only captured
    written = io.StringIO()
    Console(file=written, width=width, color_system=None, force_jupyter=False).print(drawn)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
