"""ROC curves as charts of a page, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from redense.auditing.attack_result import FEWEST_FALSE_POSITIVES
from redense.auditing.attacks import PICTURED
from redense.page.chart import BASELINE, Axis, Chart, Series, View
from redense.text import from_to

if TYPE_CHECKING:
    from redense.auditing.result import AuditResult

LONG = 1.3
"""A factor from which on a part of a curve is drawn with points between: straight in rates is bent on log axes."""
BETWEEN = 6
LOGARITHMIC = (
    "Both axes are logarithmic: every labelled step is ten times the one before, so that the left end, where few are "
    "accused and accusations are worth most, has as much room as the right."
)
MOST_CURVES = 6
"""Curves that a picture has room for."""


def pictured(attacks: Iterable[str], strongest: str | None) -> list[str]:
    """Choose the attacks whose curves there is room for, the strongest among them."""
    known = list(attacks)
    names = [name for name in PICTURED if name in known] or known
    if strongest is None or strongest in names[:MOST_CURVES]:
        return names[:MOST_CURVES]
    return [*names[: MOST_CURVES - 1], strongest]


def roc_chart(key: str, title: str, results: Sequence[tuple[str, AuditResult]], choice: str = "audit") -> Chart:
    """Draw titled results, a view each, with a line an attack; the one that the verdict names is thick."""
    views = []
    names = list(dict.fromkeys(name for _, one in results for name in pictured(one.curves, one.verdict.attack)))
    for name, result in results:
        strongest = result.verdict.attack
        series = [
            roc_series(
                f"{attack} (strongest)" if attack == strongest else attack,
                result,
                attack,
                names.index(attack),
                strong=attack == strongest,
            )
            for attack in pictured(result.curves, strongest)
        ]
        views.append(View(name, (*series, guessing(result.nonmembers))))
    caption = (
        "A line an attack: from left to right it wrongly accuses more non-members, and the higher it is, the more "
        f"members it finds. The thick line is the strongest attack. {LOGARITHMIC} "
        f"{too_few(one for _, one in results)}{_drawn(results)}"
    )
    least = min(least_rate(result.nonmembers) for _, result in results)
    return Chart(key, title, caption, *roc_axes(least), tuple(views), choice)


def _drawn(results: Sequence[tuple[str, AuditResult]]) -> str:
    """Say how many of the attacks have a line, where not all have."""
    lines = [len(pictured(one.curves, one.verdict.attack)) for _, one in results]
    attacks = [len(one.curves) for _, one in results]
    return "" if lines == attacks else f" Drawn are {from_to(lines)} of {from_to(attacks)} attacks; the table has all."


def too_few(results: Iterable[AuditResult]) -> str:
    """Say from where on a curve rests on enough non-members: what tables refuse is drawn, too."""
    count = min(result.nonmembers for result in results)
    return (
        f"Left of {100 * min(1.0, FEWEST_FALSE_POSITIVES / count):.2g}% fewer than {FEWEST_FALSE_POSITIVES} "
        "non-members are accused, too few to rely on a line."
    )


def least_rate(nonmembers: int) -> float:
    """Return where an axis of so many non-members begins: at one of them, and not where it ends, if there is no other.

    >>> least_rate(1000), least_rate(1)
    (0.001, 0.5)
    """
    return 1 / max(2, nonmembers)


def roc_axes(least: float) -> tuple[Axis, Axis]:
    """Return the axes in percent, from the least false-positive rate that there can be, above 0, to 100."""
    ends = (100 * least, 100.0)
    return (
        Axis("non-members wrongly accused, % (FPR)", log=True, ends=ends),
        Axis("members found, % (TPR)", log=True, ends=ends),
    )


def roc_series(
    name: str, result: AuditResult, attack: str, look: int, *, strong: bool = False, symbol: int | None = None
) -> Series:
    """Return one attack's curve, in percent."""
    x, y = (
        [100 * rate for rate in rates] for rates in on_log_axes(*result.curves[attack], least_rate(result.nonmembers))
    )
    return Series(name, x, y, look, "curve", strong=strong, symbol=symbol)


def guessing(nonmembers: int) -> Series:
    """Return the diagonal, in percent."""
    ends = (100 * least_rate(nonmembers), 100.0)
    return Series("guessing", ends, ends, BASELINE, "level")


def on_log_axes(fpr: Sequence[float], tpr: Sequence[float], least: float) -> tuple[list[float], list[float]]:
    """Return a curve from (0, 0) to (1, 1) as points to be joined by straight lines on logarithmic axes from `least`.

    Between two of a curve's points it is straight in the rates themselves: examples with equal scores are found in
    random order. Such parts get points between, where they are long.

    >>> x, y = on_log_axes([0.0, 1.0], [0.0, 1.0], 0.01)
    >>> x == y, x[0], x[-1]
    (True, 0.01, 1.0)
    """
    points = np.array([fpr, tpr], dtype=float)
    along = points.sum(axis=0)  # grows from point to point, also where one of the two stays
    start, end = np.maximum(points[:, :-1], least), np.maximum(points[:, 1:], least)
    added = []
    for values, first, last in zip(points, start, end, strict=True):
        long = np.flatnonzero(last / first > LONG)
        between = np.geomspace(first[long], last[long], BETWEEN + 2)[:-1]
        share = (between - values[long]) / (values[long + 1] - values[long])
        added.append((along[long] + share * (along[long + 1] - along[long])).ravel())
    places = np.unique(np.concatenate([along, *added]))
    x, y = (np.interp(places, along, values) for values in points)
    seen = (x >= least) | (y >= least)
    return np.maximum(x[seen], least).tolist(), np.maximum(y[seen], least).tolist()
