"""Values as text: percentages, suggestions for mistyped words, rows as CSV; and rows as a data frame."""

from __future__ import annotations

import csv
import difflib
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redense.errors import RedenseError

PLAIN_WIDTH = 150
"""Columns of text that no terminal shows: enough for any table in its wide form."""

NO_BREAK = "\xa0"
"""A blank that neither browsers nor `textwrap` break lines at."""
_TOGETHER = re.compile(r"\[[^][]{1,40}\]|\bp [<=] [\d.]+|[\d.]+ ± [\d.]+")
"""What text is not broken inside of: an interval, a p-value, a mean with its spread."""


def percent(fraction: float) -> str:
    """Write a fraction as a percentage, with no more digits than it has.

    >>> percent(0.3), percent(0.875)
    ('30%', '87.5%')
    """
    return f"{100 * fraction:.10g}%"


def one_line(error: object) -> str:
    """Return what an error says, or any text, in one line.

    >>> one_line(ValueError("no luck,\\n  at all"))
    'no luck, at all'
    """
    return " ".join(str(error).split())


def visible(text: object, keep: str = "") -> str:
    r"""Write text of anybody's as a terminal may show it: what is no visible letter, but for those to keep, is escaped.

    So nothing in a name of a layer, file or class steers the terminal, starts a line or turns around what follows.

    >>> print(visible("no\x1b[31m \u202eluck\n"))
    no\x1b[31m \u202eluck\n
    """
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )


def together(text: str) -> str:
    """Keep an interval, a p-value, a mean and its spread from being broken over lines: their blanks become `NO_BREAK`.

    >>> together("above by 1.20 [0.90, 1.50] (p < .001)")
    'above by 1.20 [0.90,\\xa01.50] (p\\xa0<\\xa0.001)'
    """
    return _TOGETHER.sub(lambda found: found.group().replace(" ", NO_BREAK), text)


def p_text(p: float) -> str:
    """Write a p-value as journals do.

    >>> p_text(0.0123), p_text(0.00001), p_text(1.0)
    ('p = .012', 'p < .001', 'p = 1.00')
    """
    figure = p_figure(p)
    return f"p {figure}" if figure.startswith("<") else f"p = {figure}"


def p_figure(p: float) -> str:
    """Write a p-value for a column that says what it is.

    >>> p_figure(0.0123), p_figure(0.00001), p_figure(1.0)
    ('.012', '< .001', '1.00')
    """
    if p < 0.001:
        return "< .001"
    return f"{p:.2f}" if p > 0.995 else f"{p:.2g}".replace("0.", ".", 1)


def interval_text(interval: tuple[float, float], factor: float, digits: int, signed: bool = False) -> str:
    """Write both ends, times a factor, `signed` those of a difference; what rounds to nothing has no minus.

    >>> interval_text((0.1, 0.25), 100, 1), interval_text((-1e-9, 0.1), 100, 1)
    ('[10.0, 25.0]', '[0.0, 10.0]')
    >>> interval_text((-0.1, 0.25), 100, 1, signed=True)
    '[-10.0, +25.0]'
    """
    sign = "+" if signed else ""
    low, high = (f"{factor * end:{sign}z.{digits}f}" for end in interval)
    return f"[{low}, {high}]"


def from_to(counts: Iterable[int]) -> str:
    """Write one or more counts: one number where all agree, else the least and the most.

    >>> from_to([1000, 1000]), from_to([803, 789, 819])
    ('1,000', '789 to 819')
    """
    found = sorted(counts)
    return " to ".join(f"{count:,}" for count in dict.fromkeys((found[0], found[-1])))


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Suggest the nearest of the choices, or nothing.

    >>> did_you_mean("sparsites", ["sparsities", "seeds"])
    "; did you mean 'sparsities'?"
    >>> did_you_mean("lria", ["rmia", "lira"])
    "; did you mean 'lira'?"
    """
    word, known = word.lstrip("-"), {one.lstrip("-"): one for one in choices}
    near = difflib.get_close_matches(word, known, n=5)
    return f"; did you mean {known[min(near, key=lambda one: _steps(word, one))]!r}?" if near else ""


def _steps(word: str, other: str) -> int:
    """Count the letters to put in, leave out, change or swap with the next one (optimal string alignment distance)."""
    before, last = list[int](), list(range(len(other) + 1))
    for row, letter in enumerate(word, 1):
        now = [row]
        for column, wanted in enumerate(other, 1):
            steps = min(now[-1] + 1, last[column] + 1, last[column - 1] + (letter != wanted))
            if row > 1 < column and (letter, word[row - 2]) == (other[column - 2], wanted):
                steps = min(steps, before[column - 2] + 1)
            now.append(steps)
        before, last = last, now
    return last[-1]


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows under a line of the names of their fields; a row that lacks one has nothing there.

    >>> csv_text([{"a": 1, "b": None}, {"a": 2, "c": 3}])
    'a,b,c\\n1,,\\n2,,3\\n'
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    return csv_lines(names, ([row.get(name) for name in names] for row in rows))


def csv_lines(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a line of names and rows of values in their order."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return buffer.getvalue()


def html_text(text: str) -> str:
    """Write plain text with its columns as HTML, for notebooks; nothing in it is markup.

    >>> html_text("a < b")
    '<pre style="line-height: 1.3; white-space: pre; overflow-x: auto">a &lt; b</pre>'
    """
    return f'<pre style="line-height: 1.3; white-space: pre; overflow-x: auto">{html.escape(text)}</pre>'


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows of the same fields as a pandas DataFrame; raise `RedenseError` where there is no pandas."""
    try:
        import pandas
    except ImportError:
        raise RedenseError("to_pandas: pandas is not installed; pip install 'redense[pandas]'") from None
    return pandas.DataFrame.from_records(list(rows))
