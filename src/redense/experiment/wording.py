"""What comparisons say: which words which test may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from redense.auditing.protocols import PROTOCOLS
from redense.methods import control_of
from redense.metrics.jackknife import CLAIMED_FROM
from redense.phases import Phase
from redense.text import interval_text, p_text, percent

if TYPE_CHECKING:
    from redense.experiment.comparison import Comparison

QuantityName = Literal["test_accuracy", "inference_accuracy", "inference_accuracy_at_equal_test_accuracy", "auc", "tpr"]


@dataclass(frozen=True)
class Quantity:
    """What is compared, and the words and units for it.

    `figure` names it in a sentence, with the comparison's `{attack}` and `{fpr}`. A phase that is shown to be above
    another does what `higher` says, one below what `lower` says. Differences are in points, or with `fraction` as they
    are. `of_two_networks` says what one seed shows, which is nothing about phases; None where that is not compared.
    `needs` names the fields of a comparison that its words are made of, `needs_of_one_seed` those of one seed besides.
    """

    figure: str
    higher: str
    lower: str
    fraction: bool = False
    of_two_networks: Callable[[Comparison], str] | None = None
    needs: tuple[str, ...] = ()
    needs_of_one_seed: tuple[str, ...] = ()

    @property
    def scale(self) -> tuple[int, int]:
        """The factor from fractions to the unit in which differences are written, and how many digits these have."""
        return (1, 4) if self.fraction else (100, 2)

    @property
    def unit(self) -> str:
        """What follows a difference."""
        return "" if self.fraction else " points"


def verdict(comparison: Comparison) -> str:
    """Put a comparison into words; only several seeds can say that one phase does better or worse than another."""
    if comparison.replicates is not None:
        return _over_replicates(comparison)
    if comparison.difference is None:
        seeds = "" if comparison.apart == 1 else f" over {_seeds(comparison.apart)}"
        name, other = comparison.second.label, _spoken(comparison.first)
        return (
            f"{name} and {other} are too far apart in test accuracy to be compared at equal accuracy{seeds}"
            f"{_protocol(comparison)}"
        )
    if comparison.seeds > 1:
        return _claim(comparison)
    of_two_networks = comparison.of.of_two_networks
    assert of_two_networks is not None, f"one seed compares no {comparison.quantity}"
    return of_two_networks(comparison)


def _claim(comparison: Comparison) -> str:
    """Say which phase does better, or that the seeds cannot show it."""
    name, other, where = comparison.second.label, _spoken(comparison.first), _where(comparison)
    rests = f"{_rests_on(comparison)}{_protocol(comparison)}, {_seeds(comparison.seeds)}"
    if not comparison.shown:
        what = f"{_quantity(comparison)} {_figure(comparison, signed=True)}{rests}"
        return f"{where}{name} and {other}: no difference that {_seeds(comparison.seeds)} can show ({what})"
    by = f"{_quantity(comparison)} " if comparison.of.fraction else ""  # whose unit does not follow it
    return f"{where}{name} {_does(comparison)} {other} by {by}{_figure(comparison, signed=False)}{rests}"


def _does(comparison: Comparison) -> str:
    """Return the verb for what is shown."""
    return comparison.of.lower if comparison.outcome == "lower" else comparison.of.higher


def _over_replicates(comparison: Comparison) -> str:
    """Say what reference models show, each the target in turn."""
    name, other = comparison.second.label, _spoken(comparison.first)
    few = "" if comparison.claimed else f" (fewer than the {CLAIMED_FROM} that a claim needs)"
    over = f"over {comparison.replicates} models trained on random halves{few}, "
    what = f"{_quantity(comparison)} {_figure(comparison, signed=True)}{_rests_on(comparison)}"
    if comparison.shown:
        says = f"{name} {_does(comparison)} {other} ({what})"
    elif comparison.claimed:
        says = f"{name} and {other}: no difference that they can show ({what})"
    else:
        says = f"{name} against {other}: {what}"
    if comparison.prediction is None:
        return f"{over}{says}"
    further = interval_text(comparison.prediction, *comparison.of.scale, signed=True)
    return f"{over}{says}; for one further training of each, 95% interval {further}"


def difference_text(comparison: Comparison) -> str:
    """Write the difference in its quantity's unit, with its sign."""
    factor, digits = comparison.of.scale
    return f"{factor * (comparison.difference or 0.0):+z.{digits}f}"


def difference_interval(comparison: Comparison) -> str:
    """Write the interval of the difference in the same unit, a dash where there is none."""
    return "-" if comparison.interval is None else interval_text(comparison.interval, *comparison.of.scale, signed=True)


def _networks(comparison: Comparison) -> str:
    """Say whether two networks differ on the test examples."""
    name, other = comparison.second.label, _spoken(comparison.first)
    assert comparison.mcnemar is not None
    p, size = p_text(comparison.mcnemar.holm), _figure(comparison, signed=True)
    if comparison.networks_differ:
        says = f"these two networks differ, {name} from {other}"
    else:
        says = f"no difference between these two networks, {name} and {other}, that the test examples can show"
    return f"{says} (test accuracy {size}, {p}); one seed cannot tell which phase is better"


def _curves(comparison: Comparison) -> str:
    name, other = comparison.second.label, _spoken(comparison.first)
    side = "below" if (comparison.difference or 0.0) < 0 else "above"
    return (
        f"{_where(comparison)}the network of {name} has an inference accuracy {_figure(comparison, signed=False)} "
        f"{side} that of {other}{_protocol(comparison)}; one seed cannot tell which phase gives "
        "away more"
    )


def _audits(comparison: Comparison) -> str:
    name, other = comparison.second.label, _spoken(comparison.first)
    return (
        f"these two networks, {name} against {other}: {_quantity(comparison)} {_figure(comparison, signed=True)} on "
        f"these examples{_protocol(comparison)}; one seed cannot tell which phase leaks more"
    )


def _where(comparison: Comparison) -> str:
    if comparison.test_accuracy_range is None:
        return ""
    low, high = (100 * end for end in comparison.test_accuracy_range)
    return f"at equal test accuracy ({low:.2f} to {high:.2f}%, early and late epochs alike) "


def _quantity(comparison: Comparison) -> str:
    return comparison.of.figure.format(attack=comparison.attack, fpr=percent(comparison.fpr or 0.0))


def _figure(comparison: Comparison, *, signed: bool) -> str:
    """Write the difference and its interval; without a sign, both as how far one phase is beyond the other."""
    factor, digits = comparison.of.scale
    turn = -factor if (comparison.difference or 0.0) < 0 and not signed else factor
    text = f"{turn * (comparison.difference or 0.0):{'+' if signed else ''}z.{digits}f}{comparison.of.unit}"
    if comparison.interval is None:
        return text
    ends = comparison.interval if turn > 0 else comparison.interval[::-1]
    return f"{text} {interval_text(ends, turn, digits, signed)}"


def _rests_on(comparison: Comparison) -> str:
    if comparison.p is None:
        return ", the same in every seed" if comparison.seeds > 1 else ""
    over = "" if comparison.claims is None else f" over {comparison.claims} claim{'s' * (comparison.claims > 1)}"
    return f", {p_text(comparison.p)}{over}"


def _protocol(comparison: Comparison) -> str:
    """Name the protocol of an audit, unless its targets are the run's own networks."""
    own = comparison.protocol is None or PROTOCOLS[comparison.protocol].of_table
    return "" if own else f", {comparison.protocol}"


def _spoken(phase: Phase) -> str:
    if phase.kind != "control":
        return phase.label
    rounds = f", round {phase.round}" if phase.round > 1 else ""
    return f"the equal-budget control ({control_of(phase).name}{rounds})"


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number > 1)}"


_LEAKAGE = ("gives away more than", "gives away less than")
_OF_AUDITS = ("leaks more than", "leaks less than")
QUANTITIES: dict[QuantityName, Quantity] = {
    "test_accuracy": Quantity(
        "test accuracy",
        "beats",
        "falls behind",
        of_two_networks=_networks,
        needs_of_one_seed=("mcnemar", "only_first", "only_second"),
    ),
    "inference_accuracy": Quantity("inference accuracy", *_LEAKAGE),
    "inference_accuracy_at_equal_test_accuracy": Quantity("inference accuracy", *_LEAKAGE, of_two_networks=_curves),
    "auc": Quantity("AUC of {attack}", *_OF_AUDITS, fraction=True, of_two_networks=_audits, needs=("attack",)),
    "tpr": Quantity("TPR of {attack} at {fpr} FPR", *_OF_AUDITS, needs=("attack", "fpr")),
}
"""All that comparisons are of."""
