"""The interval of inference accuracy over seeds holds the best accuracy in the population, as often as it says."""

import numpy as np
import pytest
from claims.counts import record
from claims.repeated import FEW, check, line
from scipy.stats import norm

from redense.metrics.accuracy import balanced_accuracy_interval_of
from redense.metrics.intervals import cross_fitted_accuracy, halves_of
from redense.metrics.spread import Spread


def missed(members, nonmembers, shift, seeds, shared, runs):
    """Count intervals without the truth, and all intervals: where few seeds give the same none is shown.

    Scores N(shift * member, 1) of the same examples by networks of several seeds, which have `shared` of their variance
    in common: the best balanced accuracy is Phi(shift / 2).
    """
    generator = np.random.default_rng([members, nonmembers, seeds])
    inside = np.arange(members + nonmembers) < members
    truth = norm.cdf(shift / 2)
    wrong = made = 0
    for _ in range(runs):
        common = np.sqrt(shared) * generator.normal(size=len(inside)) + shift * inside
        networks = [
            halves_of(common + np.sqrt(1 - shared) * generator.normal(size=len(inside)), inside) for _ in range(seeds)
        ]
        interval = Spread.of_best_accuracy(
            [network.whole.balanced_accuracy for network in networks],
            [cross_fitted_accuracy(network) for network in networks],
            [balanced_accuracy_interval_of(network) for network in networks],
        ).interval
        if interval is not None:
            made += 1
            wrong += not interval[0] <= truth <= interval[1]
    return wrong, made


def counted(sizes, shift, shared, seeds, runs):
    """Count in a case the intervals that do not hold the best accuracy of the population, and record the others."""
    wrong, made = missed(*sizes, shift, seeds, shared, runs)
    assert made > 0.9 * runs
    case = f"{sizes[0]:,} and {sizes[1]:,}, shift {shift}, {shared:.0%} shared, {seeds} seeds"
    record("accuracy over seeds", case, made - wrong, made, quick=runs == FEW)
    check(wrong, made, 0.06, case)
    return line(wrong, made, f"missed, {case}")


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize(("shift", "shared"), [(0.0, 0.0), (0.0, 0.95), (0.5, 0.95)])
def test_coverage_in_few_runs(shift, shared, seeds):
    counted((360, 120), shift, shared, seeds, FEW)


@pytest.mark.evidence
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("sizes", [(1437, 360), (200, 200)])
def test_coverage(sizes, shift, shared, seeds, capsys):
    said = counted(sizes, shift, shared, seeds, 1000)
    with capsys.disabled():
        print("\n" + said)
