"""Is one phase better than another, or does it give away more? One comparison, its figures and its words."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redense.methods import Method, control_of
from redense.metrics.paired import holm, mcnemar, t_interval, t_test, wilcoxon
from redense.metrics.roc import Members
from redense.phases import Phase

SIGNIFICANT = 0.05
Quantity = Literal["test_accuracy", "inference_accuracy", "inference_accuracy_at_equal_test_accuracy", "auc"]
Tested = Literal["test_accuracy", "inference_accuracy"]
TESTED: tuple[Tested, ...] = ("test_accuracy", "inference_accuracy")
"""Quantities whose differences are tested."""


@dataclass(frozen=True)
class PValue:
    """A two-sided p-value, as it is and after Holm's correction over the sparsities."""

    raw: float
    holm: float


@dataclass(frozen=True)
class Comparison:
    """How far the phase `second` is above the phase `first` in a quantity, a fraction: the mean over `seeds`.

    Quantities, each with what it is compared by:

    - ``test_accuracy``, ``inference_accuracy``: paired over seeds, `t` and `wilcoxon` being the p-values; with one
      seed `mcnemar` is that of McNemar's exact test on the test examples, of which `only_first` and `only_second` were
      classified correctly by one network alone;
    - ``inference_accuracy_at_equal_test_accuracy``: at two epochs of about the same test accuracy, `test_accuracies`;
      `difference` is None where there are none, and these are then the nearest;
    - ``auc``: of the `attack` in an audit of targets of one `protocol`.

    `interval` is the 95% interval of this one comparison, over seeds (Student's t), or for one seed over examples; it
    is None, as is `t`, where the differences do not vary.
    """

    quantity: Quantity
    first: Phase
    second: Phase
    seeds: int
    difference: float | None
    interval: tuple[float, float] | None = None
    t: PValue | None = None
    wilcoxon: PValue | None = None
    mcnemar: PValue | None = None
    only_first: int | None = None
    only_second: int | None = None
    test_accuracies: tuple[float, float] | None = None
    protocol: str | None = None
    attack: str | None = None

    @property
    def p(self) -> float | None:
        """The corrected p-value that decides: the t-test's, else Wilcoxon's, else McNemar's; None without a test."""
        decisive = self.t or self.wilcoxon or self.mcnemar
        return None if decisive is None else decisive.holm

    @property
    def shown(self) -> bool:
        """Whether a test shows a difference."""
        return self.p is not None and self.p < SIGNIFICANT

    @property
    def verdict(self) -> str:
        """The comparison in words; points are percentage points."""
        return _WORDS[self.quantity](self)

    @property
    def sentence(self) -> str:
        """The verdict as a whole sentence."""
        return f"{self.verdict[:1].upper()}{self.verdict[1:]}."

    def to_mapping(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values, with its verdict."""
        return {**dataclasses.asdict(self), "verdict": self.verdict}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Comparison:
        """Undo `to_mapping`, also after a passage through JSON."""
        given = {name: value for name, value in values.items() if name != "verdict"}
        given |= {name: Phase(**given[name]) for name in ("first", "second")}
        given |= {name: PValue(**given[name]) for name in ("t", "wilcoxon", "mcnemar") if given[name]}
        given |= {name: tuple(given[name]) for name in ("interval", "test_accuracies") if given[name]}
        return cls(**given)


def compare_phases(
    values: Mapping[Phase, Mapping[int, float]],
    quantity: Tested,
    method: Method,
    correct: Callable[[Phase, int], Members] | None = None,
) -> list[Comparison]:
    """Compare the phases of a run that the method's table of contrasts names.

    `values` holds the quantity by phase and seed; only seeds that both phases have are paired. `correct` reads which
    test examples a phase of a seed classifies correctly, bool [n], for McNemar's test of the test accuracy with one
    seed; without it, and for other quantities, one seed gives no comparison.
    """
    families: dict[tuple[str, str, str], list[Comparison]] = {}
    known = {(phase, seed): None for phase, of_seeds in values.items() for seed in of_seeds}
    for first, second, seeds in contrasts_by_seed(known.keys(), method):
        differences = [values[second][seed] - values[first][seed] for seed in seeds]
        comparison = None
        if len(seeds) > 1:
            comparison = over_seeds(quantity, first, second, differences)
        elif correct is not None and quantity == "test_accuracy":
            comparison = over_examples(first, second, correct(first, seeds[0]), correct(second, seeds[0]))
        if comparison is not None:
            families.setdefault((first.kind, first.lineage, second.kind), []).append(comparison)
    return [comparison for family in families.values() for comparison in _corrected(family)]


def contrasts_by_seed(known: Collection[tuple[Phase, int]], method: Method) -> list[tuple[Phase, Phase, list[int]]]:
    """List what of the phases known for some seeds is compared: (first, second, the seeds that both have)."""
    found = []
    for first, second in method.compared(phase for phase, _ in known):
        seeds = [seed for phase, seed in known if phase == first and (second, seed) in known]
        if seeds:
            found.append((first, second, seeds))
    return found


def over_seeds(quantity: Tested, first: Phase, second: Phase, differences: Sequence[float]) -> Comparison:
    """Test paired differences, one a seed (two at least), against 0; p-values are not corrected yet."""
    p = t_test(differences)
    return Comparison(
        quantity,
        first,
        second,
        len(differences),
        statistics.fmean(differences),
        t_interval(differences),
        t=None if p is None else _uncorrected(p),
        wilcoxon=_uncorrected(wilcoxon(differences)),
    )


def over_examples(first: Phase, second: Phase, first_correct: Members, second_correct: Members) -> Comparison:
    """Compare two networks on the same test examples, bool [n] each; the p-value is not corrected yet."""
    found = mcnemar(first_correct, second_correct)
    return Comparison(
        "test_accuracy",
        first,
        second,
        1,
        (found.only_second - found.only_first) / len(first_correct),
        mcnemar=_uncorrected(found.p),
        only_first=found.only_first,
        only_second=found.only_second,
    )


def _corrected(family: Sequence[Comparison]) -> list[Comparison]:
    """Apply Holm's correction to comparisons that differ in the sparsity (and round) alone."""
    changed = list(family)
    for name in ("t", "wilcoxon", "mcnemar"):
        tested = [place for place, comparison in enumerate(changed) if getattr(comparison, name) is not None]
        raw = [getattr(changed[place], name).raw for place in tested]
        for place, value, corrected in zip(tested, raw, holm(raw), strict=True):
            correction: dict[str, Any] = {name: PValue(value, corrected)}
            changed[place] = dataclasses.replace(changed[place], **correction)
    return changed


def _uncorrected(p: float) -> PValue:
    return PValue(p, p)


def _tested_words(comparison: Comparison, better: str, worse: str) -> str:
    """Say who is better, or that the seeds cannot show it."""
    name, other = comparison.second.label, _spoken(comparison.first)
    difference, interval = 100 * (comparison.difference or 0.0), comparison.interval
    assert comparison.p is not None
    p, seeds = _written(comparison.p), _seeds(comparison.seeds)
    if not comparison.shown:
        quantity = comparison.quantity.replace("_", " ")
        what = f"{quantity} {difference:+.2f} points{_bracketed(interval, 100, '.2f')}, {p}"
        return f"{name} and {other}: no difference that {seeds} can show ({what})"
    if difference > 0:
        return f"{name} {better} {other} by {difference:.2f} points{_bracketed(interval, 100, '.2f')}, {p}, {seeds}"
    turned = None if interval is None else (-interval[1], -interval[0])
    return f"{name} {worse} {other} by {-difference:.2f} points{_bracketed(turned, 100, '.2f')}, {p}, {seeds}"


def _equal_accuracy_words(comparison: Comparison) -> str:
    assert comparison.test_accuracies is not None
    name, other = comparison.second.label, comparison.first.label
    first, second = (100 * accuracy for accuracy in comparison.test_accuracies)
    protocol = f", {comparison.protocol}" if comparison.protocol else ""
    if comparison.difference is None:
        nearest = f"(nearest: {second:.2f}% and {first:.2f}%)"
        return f"{name} and {other} have no epochs of equal test accuracy {nearest}{protocol}"
    return (
        f"at equal test accuracy ({second:.2f}% and {first:.2f}%) {name} has an inference accuracy "
        f"{100 * comparison.difference:+.2f} points{_bracketed(comparison.interval, 100, '+.2f')} from {other}'s"
        f"{protocol}, {_seeds(comparison.seeds)}"
    )


def _auc_words(comparison: Comparison) -> str:
    name, other = comparison.second.label, comparison.first.label
    assert comparison.difference is not None
    low, high = comparison.interval or (0.0, 0.0)
    if low > 0:
        says = f"{name} leaks more than {other}"
    elif high < 0:
        says = f"{name} leaks less than {other}"
    else:
        says = f"no difference between {name} and {other} that this audit can show"
    return (
        f"{says}: AUC of {comparison.attack} {comparison.difference:+.4f}"
        f"{_bracketed(comparison.interval, 1, '+.4f')}, {comparison.protocol}, {_seeds(comparison.seeds)}"
    )


_WORDS: dict[Quantity, Callable[[Comparison], str]] = {
    "test_accuracy": lambda comparison: _tested_words(comparison, "beats", "falls behind"),
    "inference_accuracy": lambda comparison: _tested_words(comparison, "gives away more than", "gives away less than"),
    "inference_accuracy_at_equal_test_accuracy": _equal_accuracy_words,
    "auc": _auc_words,
}


def _spoken(phase: Phase) -> str:
    if phase.kind != "control":
        return phase.label
    rounds = f", round {phase.round}" if phase.round > 1 else ""
    return f"the equal-budget control ({control_of(phase).name}{rounds})"


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number > 1)}"


def _bracketed(interval: tuple[float, float] | None, factor: float, form: str) -> str:
    if interval is None:
        return ""
    low, high = (format(factor * end, form) for end in interval)
    return f" [{low}, {high}]"


def _written(p: float) -> str:
    """Write a p-value as journals do.

    >>> _written(0.0123), _written(0.00001), _written(1.0)
    ('p = .012', 'p < .001', 'p = 1.00')
    """
    if p < 0.001:
        return "p < .001"
    return f"p = {p:.2f}" if p > 0.995 else f"p = {p:.2g}".replace("0.", ".", 1)
