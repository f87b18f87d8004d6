"""One seed: the interval of a difference of AUCs of two networks, on the same examples, holds the difference."""

import numpy as np
import pytest
from claims.counts import record
from claims.repeated import FEW, check
from scipy.stats import norm

from redense.metrics.paired import auc_difference, normal_interval

SIZES = ((60, 60), (500, 500), (60, 1_000))
OWN = 0.3
"""What a network's score has for itself, beside what examples make of it, which both networks share."""
MORE = 0.2
"""How much farther the second network moves members."""
FULL = 5_000


def missed(members, nonmembers, shift, runs):
    """Count intervals without the difference of the AUCs that the two networks have on fresh examples.

    Scores N(shift * member, 1 + OWN^2): the AUC is Phi(shift / sqrt(2 + 2 OWN^2)).
    """
    generator = np.random.default_rng([members, nonmembers, int(10 * shift)])
    inside = np.arange(members + nonmembers) < members
    first, second = norm.cdf(np.array([shift, shift + MORE]) / np.sqrt(2 + 2 * OWN**2))
    wrong = 0
    for _ in range(runs):
        common = generator.normal(size=len(inside))
        one, other = (
            common + OWN * generator.normal(size=len(inside)) + moved * inside for moved in (shift, shift + MORE)
        )
        low, high = normal_interval(*auc_difference(one, other, inside))
        wrong += not low <= second - first <= high
    return wrong


def counted(sizes, shift, runs):
    wrong, case = missed(*sizes, shift, runs), f"{sizes[0]:,} and {sizes[1]:,}, shift {shift}"
    record("difference of two areas", case, runs - wrong, runs, quick=runs == FEW)
    check(wrong, runs, 0.06, case)


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{sizes[0]}+{sizes[1]}")
def test_coverage_in_few_runs(sizes):
    counted(sizes, 0.5, FEW)


@pytest.mark.evidence
@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{sizes[0]}+{sizes[1]}")
def test_coverage(sizes, shift):
    counted(sizes, shift, FULL)
