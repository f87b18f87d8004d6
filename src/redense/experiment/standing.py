"""Which of the audits that a folder holds stand: those of the very networks that its results show."""

from __future__ import annotations

from collections.abc import Sequence

from redense.experiment.audit_rows import AuditRow
from redense.experiment.comparison import Comparison
from redense.experiment.results import Results
from redense.phases import Phase


def standing_audits(audits: Sequence[AuditRow], results: Results) -> tuple[tuple[AuditRow, ...], int]:
    """Part audits of what the results show, in a protocol that the recipe asks for, from those that count no more.

    Returns the audits whose network is that of the row beside them, as its key says, and how many are of another one of
    the same phase and seed: what was trained anew, of other data or otherwise, has other keys.
    """
    keys = _keys(results)
    asked = [
        row for row in audits if (row.phase, row.seed) in keys and row.protocol in results.recipe.audited_protocols
    ]
    standing = tuple(row for row in asked if row.beside_row == keys[row.phase, row.seed])
    return standing, len(asked) - len(standing)


def standing_comparisons(former: Results, results: Results) -> list[Comparison]:
    """Return the comparisons of former results' audits that are still about the networks of the results.

    One says over how many seeds it was made, not over which: it stands where every row of its phases still does.
    """
    now = _keys(results)
    return [
        one
        for one in former.audits
        if one.protocol in results.recipe.audited_protocols
        and all(
            now.get((row.phase, row.seed)) == row.checkpoint
            for row in former.rows
            if row.phase in (one.first, one.second)
        )
    ]


def _keys(results: Results) -> dict[tuple[Phase, int], str]:
    return {(row.phase, row.seed): row.checkpoint for row in results.rows}
