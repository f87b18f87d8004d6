"""Is one phase better than another? Paired differences over seeds, or over test examples where there is one seed."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, t, ttest_1samp, wilcoxon

from redense.phases import Phase, contrasts_by_seed

SIGNIFICANT = 0.05
Quantity = Literal["test_accuracy", "inference_accuracy"]
QUANTITIES: tuple[Quantity, ...] = ("test_accuracy", "inference_accuracy")
Correct = npt.NDArray[np.bool_]
"""Which test examples a network classifies correctly, bool [n]."""


@dataclass(frozen=True)
class PValue:
    """A two-sided p-value, as it is and after Holm's correction over the sparsities."""

    raw: float
    holm: float


@dataclass(frozen=True)
class Paired:
    """How far `second` is above `first` in `quantity`, a fraction: the mean over seeds, trained alike in both phases.

    `interval` is Student's 95% interval of one comparison, `t` and `wilcoxon` are the p-values of the paired tests;
    all three need two seeds (and `t` and `interval` differences that are not all the same). With one seed, `mcnemar`
    is the p-value of McNemar's exact test on the test examples, of which `only_first` and `only_second` were
    classified correctly by one network alone.
    """

    quantity: Quantity
    first: Phase
    second: Phase
    seeds: int
    difference: float
    interval: tuple[float, float] | None = None
    t: PValue | None = None
    wilcoxon: PValue | None = None
    mcnemar: PValue | None = None
    only_first: int | None = None
    only_second: int | None = None

    @property
    def p(self) -> float:
        """The p-value that decides, corrected: the t-test's, else Wilcoxon's, else McNemar's."""
        decisive = self.t or self.wilcoxon or self.mcnemar
        assert decisive is not None
        return decisive.holm

    @property
    def verdict(self) -> str:
        """The comparison in words; points are percentage points."""
        name, other = self.second.label, _spoken(self.first)
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        interval = ""
        if self.interval is not None:
            interval = " [{:.2f}, {:.2f}]".format(*(100 * end for end in self.interval))
        p = _written(self.p)
        if self.p >= SIGNIFICANT:
            what = f"{self.quantity.replace('_', ' ')} {100 * self.difference:+.2f} points{interval}, {p}"
            return f"{name} and {other}: no difference that {seeds} can show ({what})"
        better, worse = {
            "test_accuracy": ("beats", "falls behind"),
            "inference_accuracy": ("gives away more than", "gives away less than"),
        }[self.quantity]
        verb, sign = (better, 1) if self.difference > 0 else (worse, -1)
        if self.interval is not None and sign < 0:
            interval = " [{:.2f}, {:.2f}]".format(*(-100 * end for end in reversed(self.interval)))
        return f"{name} {verb} {other} by {100 * abs(self.difference):.2f} points{interval}, {p}, {seeds}"

    def to_mapping(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values, with its verdict."""
        return {**dataclasses.asdict(self), "verdict": self.verdict}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Paired:
        """Undo `to_mapping`, also after a passage through JSON."""
        given = {name: value for name, value in values.items() if name != "verdict"}
        given |= {name: Phase(**given[name]) for name in ("first", "second")}
        given |= {name: PValue(**given[name]) for name in ("t", "wilcoxon", "mcnemar") if given[name]}
        given["interval"] = tuple(given["interval"]) if given["interval"] else None
        return cls(**given)


def compare_phases(
    values: Mapping[Phase, Mapping[int, float]],
    quantity: Quantity,
    correct: Callable[[Phase, int], Correct] | None = None,
) -> list[Paired]:
    """Compare the phases of a run that stand against each other (`redense.phases.contrasts`).

    `values` holds the quantity by phase and seed; only seeds that both phases have are paired. `correct` reads the
    test examples that a phase of a seed classifies correctly, for McNemar's test of the test accuracy with one seed;
    without it, and for other quantities, one seed gives no comparison.
    """
    families: dict[tuple[str, str, str], list[Paired]] = {}
    known = {(phase, seed): None for phase, of_seeds in values.items() for seed in of_seeds}
    for first, second, seeds in contrasts_by_seed(known.keys()):
        differences = [values[second][seed] - values[first][seed] for seed in seeds]
        paired = None
        if len(seeds) > 1:
            paired = over_seeds(quantity, first, second, differences)
        elif correct is not None and quantity == "test_accuracy":
            paired = over_examples(first, second, correct(first, seeds[0]), correct(second, seeds[0]))
        if paired is not None:
            families.setdefault((first.kind, first.lineage, second.kind), []).append(paired)
    return [comparison for family in families.values() for comparison in _corrected(family)]


def over_seeds(quantity: Quantity, first: Phase, second: Phase, differences: Sequence[float]) -> Paired:
    """Test paired differences, one a seed (two at least), against 0; p-values are not corrected yet."""
    mean = statistics.fmean(differences)
    interval = t_interval(differences)
    return Paired(
        quantity,
        first,
        second,
        len(differences),
        mean,
        interval,
        None if interval is None else _uncorrected(float(ttest_1samp(differences, 0.0).pvalue)),
        # differences of 0 have no sign; with nothing else there is nothing to test
        _uncorrected(float(wilcoxon(differences).pvalue) if any(differences) else 1.0),
    )


def over_examples(first: Phase, second: Phase, first_correct: Correct, second_correct: Correct) -> Paired:
    """Compare two networks on the same test examples: McNemar's exact test (McNemar 1947; two-sided binomial)."""
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((second_correct & ~first_correct).sum())
    disagree = only_first + only_second
    p = float(binomtest(only_second, disagree).pvalue) if disagree else 1.0
    difference = (only_second - only_first) / len(first_correct)
    return Paired(
        "test_accuracy",
        first,
        second,
        1,
        difference,
        mcnemar=_uncorrected(p),
        only_first=only_first,
        only_second=only_second,
    )


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return Student's interval of the mean of one value a seed; None where the values do not vary.

    Equal values come from few seeds and few test examples; they are no proof that the next seed gives the same.

    >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    if len(values) < 2 or max(values) - min(values) < 1e-12:
        return None
    error = statistics.stdev(values) / len(values) ** 0.5
    low, high = t.interval(confidence, len(values) - 1, statistics.fmean(values), error)
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that any false claim among them has the stated probability (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _corrected(family: Sequence[Paired]) -> list[Paired]:
    """Apply Holm's correction to comparisons that differ in the sparsity (and round) alone."""
    changed = list(family)
    for name in ("t", "wilcoxon", "mcnemar"):
        tested = [place for place, paired in enumerate(changed) if getattr(paired, name) is not None]
        raw = [getattr(changed[place], name).raw for place in tested]
        for place, value, corrected in zip(tested, raw, holm(raw), strict=True):
            correction: dict[str, Any] = {name: PValue(value, corrected)}
            changed[place] = dataclasses.replace(changed[place], **correction)
    return changed


def _uncorrected(p: float) -> PValue:
    return PValue(p, p)


def _spoken(phase: Phase) -> str:
    if phase.kind != "control":
        return phase.label
    rounds = f", round {phase.round}" if phase.round > 1 else ""
    return f"the equal-budget control ({phase.lineage.removeprefix('control-')}{rounds})"


def _written(p: float) -> str:
    """Write a p-value as journals do.

    >>> _written(0.0123), _written(0.00001), _written(1.0)
    ('p = .012', 'p < .001', 'p = 1.00')
    """
    if p < 0.001:
        return "p < .001"
    return f"p = {p:.2f}" if p > 0.995 else f"p = {p:.2g}".replace("0.", ".", 1)
