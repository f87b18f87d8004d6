"""Repeated experiments: the 95% interval of the inference accuracy holds the truth in at least 95% of them."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from redense.metrics import balanced_accuracy_interval


def coverage(shift, members, nonmembers, runs, ties, confidence=0.95):
    """Count the runs whose interval holds the population's best balanced accuracy."""
    truth = norm.cdf(shift / 2)
    if ties:  # scores rounded to integers: the truth is the best of the thresholds that are left
        thresholds = np.arange(-6, 7) - 0.5
        truth = np.max((norm.sf(thresholds - shift) + norm.cdf(thresholds)) / 2)
    held = below_noise = 0
    for run in range(runs):
        generator = np.random.default_rng([run, members, nonmembers, int(10 * shift)])
        labels = np.arange(members + nonmembers) < members
        scores = generator.normal(size=len(labels)) + shift * labels
        low, high = balanced_accuracy_interval(np.round(scores) if ties else scores, labels, confidence)
        held += low <= truth <= high
        below_noise += low > 0.5
    return held, below_noise


CASES = [
    (shift, sizes, ties)
    for shift in (0.0, 0.1, 0.5, 2.0)
    for sizes in ((50, 50), (300, 30), (1000, 797), (6000, 1000))
    for ties in (False, True)
]


@pytest.mark.evidence
@pytest.mark.parametrize(("shift", "sizes", "ties"), CASES)
def test_coverage(shift, sizes, ties):
    runs = 2000
    held, above_half = coverage(shift, *sizes, runs, ties)
    share = binomtest(held, runs)
    assert share.proportion_ci(0.999).high >= 0.95, f"held in {held} of {runs}"
    if shift == 0:  # "a leak" where there is none
        assert binomtest(above_half, runs).proportion_ci(0.999).low <= 0.05, f"low end above 0.5 in {above_half}"


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_coverage_in_few_runs(shift):
    held, above_half = coverage(shift, 200, 150, runs=300, ties=False)
    assert binomtest(held, 300).proportion_ci(0.999).high >= 0.95
    if shift == 0:
        assert binomtest(above_half, 300).proportion_ci(0.999).low <= 0.05
