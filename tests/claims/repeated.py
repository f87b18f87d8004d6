"""Repeated experiments: what to make of counts."""

from scipy.stats import binomtest

FEW = 200
MOST = 17
"""Repeats of a quick test and how many of them may go wrong: of a true 12%, no more do with probability 0.08."""


def check(wrong, runs, promised, what):
    """Fail where more go wrong than promised: quick tests by a count, full ones beyond what chance (99.9%) allows."""
    if runs == FEW:
        assert wrong <= MOST, f"{what}: {wrong} of {runs}"
    else:
        assert binomtest(wrong, runs).proportion_ci(0.998).low <= promised, f"{what}: {wrong} of {runs}"


def line(wrong, runs, what):
    """Say what was seen, with its own 95% interval."""
    low, high = (100 * end for end in binomtest(wrong, runs).proportion_ci(0.95))
    return f"{what}: {wrong} of {runs}, {100 * wrong / runs:.1f}% [{low:.1f}, {high:.1f}]"
