import math

import numpy as np
import pytest

from redense.metrics import balanced_accuracy, balanced_accuracy_interval, balanced_accuracy_of_noise


@pytest.mark.parametrize("n", [10, 50, 100, 500, 5000])
def test_noise_agrees_with_the_exact_mean_for_equal_sizes(n):
    # P(D >= k/n) = C(2n, n-k) / C(2n, n) (Gnedenko and Korolyuk 1951); the mean is the sum over k, divided by n
    log_ratio = [math.lgamma(n + 1) * 2 - math.lgamma(n - k + 1) - math.lgamma(n + k + 1) for k in range(1, n + 1)]
    exact = 0.5 + sum(map(math.exp, log_ratio)) / n / 2
    assert balanced_accuracy_of_noise(n, n) == pytest.approx(exact, abs=0.003 * (50 / n))


@pytest.mark.parametrize(("members", "nonmembers"), [(100, 100), (1000, 797), (2000, 100), (50, 900)])
def test_noise_agrees_with_simulation(members, nonmembers):
    generator = np.random.default_rng(0)
    labels = np.arange(members + nonmembers) < members
    simulated = [balanced_accuracy(generator.random(len(labels)), labels) for _ in range(2000)]
    error = np.std(simulated) / math.sqrt(len(simulated))
    bias_allowed = 0.0006
    assert abs(np.mean(simulated) - balanced_accuracy_of_noise(members, nonmembers)) < 4 * error + bias_allowed


def test_the_interval_holds_the_estimate_and_narrows_with_the_sample():
    generator = np.random.default_rng(0)
    widths = []
    for n in (200, 2000, 20_000):
        members = np.arange(2 * n) < n
        scores = generator.normal(size=2 * n) + members
        low, high = balanced_accuracy_interval(scores, members)
        assert 0.5 <= low <= balanced_accuracy(scores, members) <= high <= 1
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_tiny_samples_say_nothing():
    assert balanced_accuracy_interval([1.0, 0.0], np.array([True, False])) == (0.5, 1.0)


def test_noise_needs_both_sides():
    with pytest.raises(ValueError, match="at least one of each"):
        balanced_accuracy_of_noise(0, 5)
