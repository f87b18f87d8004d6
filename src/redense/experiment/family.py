"""All that a run claims about phases, over its seeds and its replicates: one family of claims, corrected together.

Which test decides, and how it is corrected, was fixed before any result: Student's paired t-test over seeds (over
replicates the jackknife's), and Holm's
correction ("A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979) over
every claim of the run, whatever its quantity, contrast or sparsity. It holds however the claims depend on each other:
in at most 5% of runs is any claim false, whether there is nothing to find or something.

Orders and weights (Bretz et al., "A graphical approach to sequentially rejective multiple test procedures", Statistics
in Medicine 2009) were compared with it by simulated power, on effects and covariances like those of the published runs
of 10 seeds, 72 claims each. With re-dense against the controls in test accuracy first, and the others only after all
eight of these, 3.1 of the eight were claimed on digits instead of 2.4, and none of the 64 others instead of 38.8. With
half of the weight for the eight, it was 2.9, and 37.1 of the others. With Holm's correction a single difference of two
standard deviations, whichever it is, is claimed in at least 80% of runs of 10 seeds in families of up to 83 claims (87%
of 48, 82% of 72, 72% of 144). With half of the weight for the eight, one of these is claimed in 96% and one of the
others in 74% of 72 claims, 61% of 144 (`docs/log.md`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from redense.experiment.comparison import Comparison, PValue
from redense.metrics.paired import holm


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of all comparisons of a run; they stay in their order.

    Claims over seeds and replicates are one family. One whose differences do not vary has no test, and counts among the
    `claims` like one with p = 1. McNemar's tests, which say something about two networks alone, are a family of their
    own. A comparison may have been corrected before, with fewer others: only its uncorrected p-values are used.
    """
    claims = [place for place, comparison in enumerate(comparisons) if comparison.claimed]
    networks = [place for place, comparison in enumerate(comparisons) if comparison.mcnemar is not None]
    changed = list(comparisons)
    for place in claims:
        changed[place] = dataclasses.replace(changed[place], claims=len(claims))
    _correct(changed, "t", claims)
    _correct(changed, "wilcoxon", claims)
    _correct(changed, "mcnemar", networks)
    return changed


def _correct(comparisons: list[Comparison], test: Literal["t", "wilcoxon", "mcnemar"], family: Sequence[int]) -> None:
    """Correct the p-values of one test in place."""
    found: list[PValue | None] = [getattr(comparisons[place], test) for place in family]
    p_values = [1.0 if value is None else value.raw for value in found]
    for place, value, p in zip(family, found, holm(p_values), strict=True):
        if value is not None:
            change: dict[str, Any] = {test: PValue(value.raw, p)}
            comparisons[place] = dataclasses.replace(comparisons[place], **change)
