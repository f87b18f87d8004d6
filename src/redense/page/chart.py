"""What a chart shows, as frozen values; `redense/page/static/page.js` draws it, and its table for those who read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redense.text import visible

Drawn = Literal["line", "curve", "steps", "bars", "level"]
"""A marker at every value; a line with few; a histogram's outline; bars; a horizontal line."""
Ends = tuple[float, float] | None
BASELINE = 7
"""The look of what the others are held against, such as guessing and pure noise."""
DIGITS = 7
"""Significant digits of values in a page: more than anybody reads, fewer than floats have."""


@dataclass(frozen=True)
class Series:
    """Values [n] that belong together: a line of a chart, an entry of its legend, or one with others of its `group`.

    `look` chooses colour, dashes and marker together, `symbol` another marker. `intervals` [n] hold the ends of bars,
    None for a value without. `places` [n] say where values stand, in words, where `x` alone does not. With `strong` the
    line is thick; with `ends` its first value has an open and its last a large marker.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: int
    kind: Drawn = "line"
    intervals: Sequence[Ends] = ()
    places: Sequence[str] = ()
    symbol: int | None = None
    strong: bool = False
    ends: bool = False
    group: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis: its title, whether it is logarithmic, its ends where they are fixed, its ticks where they have names."""

    title: str
    log: bool = False
    ends: tuple[float, float] | None = None
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class View:
    """One picture of a chart; of several, the reader chooses by `title`.

    `marks` are vertical lines with their names, `ends` where both axes end in this picture.
    """

    title: str
    series: tuple[Series, ...]
    marks: tuple[tuple[float, str], ...] = ()
    ends: tuple[tuple[float, float], tuple[float, float]] | None = None


@dataclass(frozen=True)
class Chart:
    """A chart: `key` is its name in the page, `caption` says how to read it, `choice` what the reader chooses among."""

    key: str
    title: str
    caption: str
    x: Axis
    y: Axis
    views: tuple[View, ...]
    choice: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """Return what the page's script needs, as plain JSON values; what is left at its default is left out.

        Letters that nobody sees are escaped, as `redense.page.render.render` does it for all other text.
        """
        values: dict[str, Any] = _plain(self)
        return values


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        }
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return visible(value)
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
