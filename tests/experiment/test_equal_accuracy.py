import math

import numpy as np
import pytest

from redense.experiment.equal_accuracy import SIMILAR, Trace, compare_traces
from redense.methods import dsd

DENSE, SPARSE, REDENSE = dsd(0.5, (2, 1, 1))


def trace(*points):
    return Trace(points, 10_000)


def test_the_latest_equal_epochs_are_compared():
    first = trace((0.80, 0.51), (0.90, 0.52), (0.95, 0.60))
    second = trace((0.899, 0.53), (0.902, 0.55), (0.99, 0.70))
    found = compare_traces(DENSE, REDENSE, [(first, second)])
    assert found.test_accuracies == (0.90, 0.902)
    assert found.difference == pytest.approx(0.03)


def test_with_one_seed_the_interval_is_that_of_two_proportions():
    first, second = trace((0.9, 0.52)), trace((0.9, 0.56))
    low, high = compare_traces(DENSE, SPARSE, [(first, second)]).interval
    # balanced accuracy: half the sum of two rates, each a mean over 10,000 examples
    variance = sum(2 * b * (1 - b) / 10_000 / 4 for b in (0.52, 0.56))
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-4)


def test_phases_without_equal_epochs_are_not_compared():
    found = compare_traces(DENSE, SPARSE, [(trace((0.9, 0.52)), trace((0.9 - 2 * SIMILAR, 0.5)))])
    assert (found.difference, found.interval) == (None, None)
    assert "have no epochs of equal test accuracy (nearest: 89.00% and 90.00%)" in found.sentence


def test_over_seeds_the_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        pairs = [
            (trace((0.9, 0.5 + 0.01 * a)), trace((0.9, 0.52 + 0.01 * b))) for a, b in generator.normal(size=(4, 2))
        ]
        low, high = compare_traces(DENSE, SPARSE, pairs).interval
        held += low <= 0.02 <= high
    assert abs(held / 400 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400)


def test_equal_differences_have_no_interval():
    pair = trace((0.9, 0.52)), trace((0.9, 0.56))
    found = compare_traces(DENSE, SPARSE, [pair, pair])
    assert found.difference == pytest.approx(0.04)
    assert found.interval is None
    assert "has an inference accuracy +4.00 points from dense's, 2 seeds" in found.sentence
