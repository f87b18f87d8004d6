"""Is one phase better than another, or does it give away more? One comparison, its figures and what made them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from redense.arguments import Count, Interval, Must, Rate, Shares, validated
from redense.auditing.protocols import ProtocolName
from redense.errors import RecipeError
from redense.experiment.wording import QUANTITIES, Quantity, QuantityName, verdict
from redense.files.reading import check, fields, mapping
from redense.methods import Method
from redense.methods.controls import check_control
from redense.metrics.jackknife import CLAIMED_FROM
from redense.metrics.paired import OF_SHARES, mcnemar, t_interval, t_test, wilcoxon
from redense.metrics.roc import Members
from redense.phases import Phase

SIGNIFICANT = 0.05
Tested = Literal["test_accuracy", "inference_accuracy"]
TESTED: tuple[Tested, ...] = get_args(Tested)
"""Quantities of a finished phase that are compared."""
AT_EQUAL_ACCURACY: QuantityName = "inference_accuracy_at_equal_test_accuracy"
"""That of two curves."""


Difference = Annotated[float, Must(lambda value: -1 <= value <= 1, "a difference of rates, from -1 to 1")]


@validated(RecipeError)
@dataclass(frozen=True)
class PValue:
    """A two-sided p-value, as it is and after Holm's correction over the run's family (`redense.experiment.family`)."""

    raw: Rate
    holm: Rate

    @classmethod
    def of(cls, p: float | None) -> PValue | None:
        """Return a p-value that is not corrected yet; None without one."""
        return None if p is None else cls(p, p)


@validated(RecipeError)
@dataclass(frozen=True)
class Comparison:
    """How far the phase `second` is above the phase `first` in a quantity, a fraction: the mean over `seeds`.

    Quantities:

    - ``test_accuracy``, ``inference_accuracy``: of the finished phases. The inference accuracy is a maximum over
      thresholds and so too high, in both phases by about as much, since both are measured on as many examples: equal
      leaks of unequal shape (a few members surely, or all a little) differ by up to 0.3 points with 1,000 members.
    - ``inference_accuracy_at_equal_test_accuracy``: between the two curves of inference against test accuracy, where
      these meet, at the test accuracies between the two of `test_accuracy_range`. Where they do not, the seeds are
      counted in `apart`, and `difference` is None.
    - ``auc``: of the `attack` in an audit of targets of one `protocol`; ``tpr``: at the false-positive rate `fpr`.

    Over several seeds Student's paired t-test decides, `t`, corrected over the `claims` of the run that are tested;
    where it is about leaks, the p-value that the higher phase gives nothing away is taken where it is larger.
    Trainings are random, examples are not: a further seed of the same examples is what a claim is about.
    `wilcoxon` is shown beside it and decides nothing. `interval` is the 95% interval (Student's t) of this comparison
    alone. Both are None where the differences do not vary: they are no proof that the next seed gives the same.

    Over `replicates` reference models, each the target in turn, `t` and `interval` are those of the jackknife over
    pairs (`redense.metrics.jackknife`), and `prediction` is the interval for one further training.

    With one seed nothing is claimed about phases. `mcnemar` is the p-value of McNemar's exact test that the two
    *networks* differ on the test examples, of which `only_first` and `only_second` were classified correctly by one of
    them alone; `interval`, of an AUC, is over examples.
    """

    quantity: QuantityName
    first: Phase
    second: Phase
    seeds: Count
    difference: Difference | None
    interval: Interval | None = None
    t: PValue | None = None
    wilcoxon: PValue | None = None
    mcnemar: PValue | None = None
    only_first: Count | None = None
    only_second: Count | None = None
    test_accuracy_range: Shares | None = None
    apart: Count = 0
    protocol: ProtocolName | None = None
    attack: str | None = None
    fpr: Rate | None = None
    replicates: Count | None = None
    prediction: Interval | None = None
    claims: Count | None = None

    @property
    def of(self) -> Quantity:
        """The quantity's line of the table of quantities: its unit and words."""
        return QUANTITIES[self.quantity]

    @property
    def claimed(self) -> bool:
        """Whether enough trainings were asked, over seeds or replicates, for a claim about phases.

        Also where the curves of too few of them meet for a test: the family is fixed beforehand.
        """
        if self.replicates is not None:
            return self.replicates >= CLAIMED_FROM
        return self.seeds + self.apart > 1

    @property
    def p(self) -> float | None:
        """The corrected p-value that decides about phases: the t-test's; None without a claim."""
        return None if self.t is None or not self.claimed else self.t.holm

    @property
    def p_shown(self) -> float | None:
        """The corrected p-value that stands beside the difference: `p`, and of two networks McNemar's."""
        return self.p if self.claimed or self.mcnemar is None else self.mcnemar.holm

    @property
    def shown(self) -> bool:
        """Whether the test that decides shows a difference between phases."""
        return self.p is not None and self.p < SIGNIFICANT

    @property
    def outcome(self) -> Literal["higher", "lower"] | None:
        """Where the second phase is shown to be; None where nothing is shown about phases."""
        if not self.shown:
            return None
        return "higher" if (self.difference or 0.0) > 0 else "lower"

    @property
    def networks_differ(self) -> bool:
        """Whether McNemar's test shows that these two networks differ on the test examples."""
        return self.mcnemar is not None and self.mcnemar.holm < SIGNIFICANT

    @property
    def verdict(self) -> str:
        """The comparison in words; points are percentage points."""
        return verdict(self)

    @property
    def sentence(self) -> str:
        """The verdict as a whole sentence."""
        return f"{self.verdict[:1].upper()}{self.verdict[1:]}."

    def to_mapping(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values, with its verdict."""
        return {**dataclasses.asdict(self), "verdict": self.verdict}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Comparison:
        """Undo `to_mapping`, also after a passage through JSON; raise `Unread` for anything else."""
        found = fields(cls, {name: value for name, value in mapping(values).items() if name != "verdict"})
        for phase in (found.first, found.second):
            check_control(phase)
        found._check_difference()
        alone = found.seeds == 1 and found.replicates is None
        compared = [name for name, quantity in QUANTITIES.items() if quantity.of_two_networks is not None]
        expected = f"one of {', '.join(compared)}: of one seed nothing else is compared"
        check(not alone or found.quantity in compared, found.quantity, "quantity", expected)
        for name in (*found.of.needs, *found.of.needs_of_one_seed * alone):
            check(getattr(found, name) is not None, None, name, f"that of a comparison of {found.quantity}")
        return found

    def _check_difference(self) -> None:
        """Raise `Unread` where a difference rests on nothing, and for none where it rests on something."""
        nowhere = self.seeds == 0 and self.replicates is None
        check(not nowhere or (self.quantity == AT_EQUAL_ACCURACY and self.apart > 0), self.seeds, "seeds", "1 or more")
        expected = "none, as the curves meet in no seed" if nowhere else "one, as it is over seeds or models"
        check((self.difference is None) == nowhere, self.difference, "difference", expected)


def compare_phases(
    values: Mapping[Phase, Mapping[int, float]],
    quantity: Tested,
    method: Method,
    correct: Callable[[Phase, int], Members] | None = None,
    without_leak: Mapping[Phase, float] | None = None,
) -> list[Comparison]:
    """Compare the phases of a run that the method's table of contrasts names; p-values are not corrected yet.

    `values` holds the quantity by phase and seed; only seeds that both phases have are paired. `correct` reads which
    test examples a phase of a seed classifies correctly, bool [n], for McNemar's test of the test accuracy with one
    seed; without it, and for other quantities, one seed gives no comparison. `without_leak` holds, of quantities that
    are about leaks, each phase's p-value of giving nothing away (`about_leaks`).
    """
    found = []
    known = {(phase, seed): None for phase, of_seeds in values.items() for seed in of_seeds}
    for first, second, seeds in contrasts_by_seed(known.keys(), method):
        differences = [values[second][seed] - values[first][seed] for seed in seeds]
        if len(seeds) > 1:
            comparison = over_seeds(quantity, first, second, differences)
            none = (0.0, 0.0) if without_leak is None else (without_leak[first], without_leak[second])
            found.append(about_leaks(comparison, none))
        elif correct is not None and quantity == "test_accuracy":
            found.append(over_examples(first, second, correct(first, seeds[0]), correct(second, seeds[0])))
    return found


def contrasts_by_seed(known: Collection[tuple[Phase, int]], method: Method) -> list[tuple[Phase, Phase, list[int]]]:
    """List what of the phases known for some seeds is compared: (first, second, the seeds that both have)."""
    found = []
    for first, second in method.compared(phase for phase, _ in known):
        seeds = [seed for phase, seed in known if phase == first and (second, seed) in known]
        if seeds:
            found.append((first, second, seeds))
    return found


def over_seeds(quantity: QuantityName, first: Phase, second: Phase, differences: Sequence[float]) -> Comparison:
    """Test paired differences, one a seed, against 0; p-values are not corrected yet. A single one has no test."""
    return Comparison(
        quantity,
        first,
        second,
        len(differences),
        statistics.fmean(differences),
        t_interval(differences, possible=OF_SHARES),
        t=PValue.of(t_test(differences)),
        wilcoxon=PValue.of(wilcoxon(differences) if len(differences) > 1 else None),
    )


def about_leaks(comparison: Comparison, without_leak: tuple[float, float]) -> Comparison:
    """Let a claim that one of two phases gives away more rest on its giving away anything, too.

    `without_leak` are the p-values of "this phase gives nothing away", of the first and the second. Attacks on examples
    that no network was trained on find something, by chance the same in every seed: differences of that are no leaks.
    The larger p-value counts, that of the higher phase or that of the difference (an intersection-union test: Berger,
    Technometrics 1982).
    """
    if comparison.t is None or comparison.difference is None:
        return comparison
    higher = without_leak[1] if comparison.difference > 0 else without_leak[0]
    return dataclasses.replace(comparison, t=PValue.of(max(comparison.t.raw, higher)))


def over_examples(first: Phase, second: Phase, first_correct: Members, second_correct: Members) -> Comparison:
    """Compare two networks on the same test examples, bool [n] each; the p-value is not corrected yet."""
    found = mcnemar(first_correct, second_correct)
    return Comparison(
        "test_accuracy",
        first,
        second,
        1,
        (found.only_second - found.only_first) / len(first_correct),
        mcnemar=PValue.of(found.p),
        only_first=found.only_first,
        only_second=found.only_second,
    )
