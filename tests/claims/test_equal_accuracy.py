"""Differences of curves at equal test accuracy: the interval over seeds holds what curves without noise would give."""

import numpy as np
import pytest
from claims.counts import record
from claims.repeated import FEW, check, line

from redense.experiment.equal_accuracy import Trace, compare_traces, curve_differences
from redense.methods import dsd

DENSE, _, REDENSE = dsd(0.5, (20, 20, 20))
EPOCHS = np.arange(20)
RUNS = 5_000
"""Of a full test: 1,000 could not tell 94% from 93.4%, which one of 30 cases showed."""


def towards(start, end, pace):
    return end + (start - end) * np.exp(-EPOCHS / pace)


def rising_and_falling(start, top, pace):
    return start + (top - start) * np.sin(np.pi * EPOCHS / pace)


WORLDS = {
    "rising": ((towards(0.80, 0.92, 3), towards(0.50, 0.55, 8)), (towards(0.895, 0.925, 5), towards(0.52, 0.58, 6))),
    "rising and falling": (
        (rising_and_falling(0.90, 0.92, 19), 0.52 + 0.05 * EPOCHS / 19),
        (rising_and_falling(0.905, 0.923, 15), 0.53 + 0.06 * EPOCHS / 19),
    ),
    "level": (
        (towards(0.920, 0.923, 2), 0.55 + 0.01 * EPOCHS / 19),
        (towards(0.919, 0.922, 3), 0.555 + 0.012 * EPOCHS / 19),
    ),
    "one above the other": (
        (towards(0.897, 0.905, 4), 0.53 + 0.02 * EPOCHS / 19),
        (towards(0.897, 0.909, 3), 0.55 + 0.02 * EPOCHS / 19),
    ),
    "overfit": (
        (towards(0.225, 0.575, 2), towards(0.55, 0.85, 4)),
        (towards(0.58, 0.57, 5), 0.86 + 0.02 * EPOCHS / 19),
    ),
}


def trained(world, held_out, generator):
    """Draw the traces of two phases of a seed: as they are, and as they are measured on `held_out` examples.

    Trainings differ by as much as a test accuracy's standard error. The error itself is half shared by all epochs,
    which are measured on the same examples, and half an epoch's own; an example more that is right makes non-members
    look less like members, so that half of the error goes off the inference accuracy, which has noise of its own.
    """
    level = WORLDS[world][1][0][-1]
    error = np.sqrt(level * (1 - level) / held_out)
    shared = 0.5 * error * generator.normal()
    true, measured = [], []
    for mean_test, mean_inference in WORLDS[world]:
        test = mean_test + 0.5 * error * (generator.normal() + generator.normal(size=20))
        inference = mean_inference + 0.003 * generator.normal() + 0.001 * generator.normal(size=20)
        noise = shared + 0.5 * error * generator.normal(size=20)
        seen = inference - 0.5 * noise + 0.25 * error * generator.normal(size=20)
        for found, points in ((true, (test, inference)), (measured, (test + noise, seen))):
            found.append(Trace(tuple(zip(*points, strict=True)), held_out))
    return true, measured


def missed(world, held_out, seeds, runs):
    """Count intervals without the truth, the mean of what the true traces of all trainings give; and all intervals."""
    generator = np.random.default_rng([held_out, seeds])
    truths, intervals = [], []
    for _ in range(runs):
        drawn = [trained(world, held_out, generator) for _ in range(seeds)]
        true = curve_differences([tuple(pair) for pair, _ in drawn])
        truths += true.of_seeds if true else ()
        intervals.append(compare_traces(DENSE, REDENSE, [tuple(measured) for _, measured in drawn]).interval)
    truth, made = np.mean(truths), [interval for interval in intervals if interval is not None]
    return sum(not low <= truth <= high for low, high in made), len(made)


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("world", ["rising and falling", "one above the other"])
def test_coverage_in_few_runs(world, seeds):
    wrong, made = missed(world, 2_000, seeds, FEW)
    record("curves at equal accuracy", f"{world}, 2,000 held out, {seeds} seeds", made - wrong, made, quick=True)
    assert made > FEW / 2
    check(wrong, made, 0.06, world)


@pytest.mark.evidence
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("held_out", [800, 10_000])
@pytest.mark.parametrize("world", WORLDS)
def test_coverage(world, held_out, seeds, capsys):
    wrong, made = missed(world, held_out, seeds, RUNS)
    record("curves at equal accuracy", f"{world}, {held_out:,} held out, {seeds} seeds", made - wrong, made)
    with capsys.disabled():
        print("\n" + line(wrong, made, f"missed, {world}, {held_out:,} held out, {seeds} seeds"))
    assert made > RUNS / 2
    check(wrong, made, 0.06, world)


LEVEL, STEEP = 0.9, 1.5


@pytest.mark.parametrize("held_out", [800, 10_000])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (towards(0.80, 0.913, 3), towards(0.912, 0.920, 4)),
        (towards(0.90, 0.97, 3), towards(0.968, 0.985, 4)),
        (towards(0.80, 0.90, 3), towards(0.915, 0.93, 4)),
        (towards(0.85, 0.92, 3), towards(0.85, 0.92, 6)),
    ],
)
def test_what_an_accuracy_gives_away_in_both_phases_is_no_difference_between_them(first, second, held_out):
    # one line of inference against test accuracy, on which phases only move
    generator = np.random.default_rng(held_out)
    claimed = 0
    for _ in range(100):
        pairs = []
        for _ in range(10):
            tests = [mean + generator.normal(0, 0.001) + generator.normal(0, 0.0005, 20) for mean in (first, second)]
            points = [(test, 0.6 + STEEP * (test - LEVEL) + generator.normal(0, 0.0005, 20)) for test in tests]
            pairs.append(tuple(Trace(tuple(zip(*each, strict=True)), held_out) for each in points))
        found = compare_traces(DENSE, REDENSE, pairs)
        claimed += found.t is not None and found.t.raw < 0.05
    assert claimed <= 11  # a true 5% gives more in 1 of 100 such tests
