"""What comparisons say: which words which test may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from redense.methods import control_of
from redense.metrics.jackknife import CLAIMED_FROM
from redense.phases import Phase
from redense.text import p_text, percent

if TYPE_CHECKING:
    from redense.experiment.comparison import Comparison

WORDS = {
    "test_accuracy": ("beats", "falls behind"),
    "inference_accuracy": ("gives away more than", "gives away less than"),
    "inference_accuracy_at_equal_test_accuracy": ("gives away more than", "gives away less than"),
    "auc": ("leaks more than", "leaks less than"),
    "tpr": ("leaks more than", "leaks less than"),
}
"""What a phase does that is above another in a quantity, or below, where several seeds show it."""


def verdict(comparison: Comparison) -> str:
    """Put a comparison into words; only several seeds can say that one phase does better or worse than another."""
    if comparison.replicates is not None:
        return _over_replicates(comparison)
    if comparison.difference is None:
        seeds = "" if comparison.apart == 1 else f" in any of {_seeds(comparison.apart)}"
        name, other = comparison.second.label, _spoken(comparison.first)
        return f"{name} and {other} have no test accuracy in common{seeds}{_protocol(comparison)}"
    return _claim(comparison) if comparison.seeds > 1 else DESCRIPTIONS[comparison.quantity](comparison)


def _claim(comparison: Comparison) -> str:
    """Say which phase does better, or that the seeds cannot show it."""
    name, other, where = comparison.second.label, _spoken(comparison.first), _where(comparison)
    rests = f"{_rests_on(comparison)}{_protocol(comparison)}, {_seeds(comparison.seeds)}{_apart(comparison)}"
    if not comparison.shown:
        what = f"{_quantity(comparison)} {_figure(comparison, signed=True)}{rests}"
        return f"{where}{name} and {other}: no difference that {_seeds(comparison.seeds)} can show ({what})"
    by = f"{_quantity(comparison)} " if comparison.quantity == "auc" else ""
    return f"{where}{name} {_does(comparison)} {other} by {by}{_figure(comparison, signed=False)}{rests}"


def _does(comparison: Comparison) -> str:
    """Return the verb for what is shown."""
    return WORDS[comparison.quantity][comparison.outcome == "lower"]


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
    low, high = (_number(comparison, end) for end in comparison.prediction)
    return f"{over}{says}; one further training: [{low}, {high}]"


def _number(comparison: Comparison, value: float) -> str:
    """Write a difference in the quantity's unit, with its sign."""
    factor, digits = (1, 4) if comparison.quantity == "auc" else (100, 2)
    return f"{factor * value:+z.{digits}f}"


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
        f"{side} that of {other}{_protocol(comparison)}; one seed{_apart(comparison)} cannot tell which phase gives "
        "away more"
    )


def _audits(comparison: Comparison) -> str:
    name, other = comparison.second.label, _spoken(comparison.first)
    return (
        f"these two networks, {name} against {other}: {_quantity(comparison)} {_figure(comparison, signed=True)} on "
        f"these examples{_protocol(comparison)}; one seed cannot tell which phase leaks more"
    )


DESCRIPTIONS: Mapping[str, Callable[[Comparison], str]] = {
    "test_accuracy": _networks,
    "inference_accuracy_at_equal_test_accuracy": _curves,
    "auc": _audits,
}
"""What one seed says: about these networks, and nothing about phases."""


def _where(comparison: Comparison) -> str:
    if comparison.test_accuracy_range is None:
        return ""
    low, high = (100 * end for end in comparison.test_accuracy_range)
    return f"at equal test accuracy ({low:.2f} to {high:.2f}%, early and late epochs alike) "


def _quantity(comparison: Comparison) -> str:
    if comparison.quantity == "auc":
        return f"AUC of {comparison.attack}"
    if comparison.quantity == "tpr":
        return f"TPR of {comparison.attack} at {percent(comparison.fpr or 0.0)} FPR"
    return comparison.quantity.removesuffix("_at_equal_test_accuracy").replace("_", " ")


def _figure(comparison: Comparison, *, signed: bool) -> str:
    """Write the difference and its interval; without a sign, both as how far one phase is beyond the other."""
    points = comparison.quantity != "auc"
    factor, digits = (100, 2) if points else (1, 4)
    difference = factor * (comparison.difference or 0.0)
    turn = -1 if difference < 0 and not signed else 1
    text = f"{turn * difference:{'+' if signed else ''}z.{digits}f}{' points' * points}"
    if comparison.interval is None:
        return text
    low, high = sorted(turn * factor * end for end in comparison.interval)
    return f"{text} [{low:z.{digits}f}, {high:z.{digits}f}]"


def _rests_on(comparison: Comparison) -> str:
    if comparison.p is None:
        return ", the same in every seed" if comparison.seeds > 1 else ""
    over = "" if comparison.claims is None else f" over {comparison.claims} claim{'s' * (comparison.claims > 1)}"
    return f", {p_text(comparison.p)}{over}"


def _protocol(comparison: Comparison) -> str:
    return "" if comparison.protocol is None else f", {comparison.protocol}"


def _apart(comparison: Comparison) -> str:
    total = comparison.seeds + comparison.apart
    return f" of {total} in which the curves meet" if comparison.apart else ""


def _spoken(phase: Phase) -> str:
    if phase.kind != "control":
        return phase.label
    rounds = f", round {phase.round}" if phase.round > 1 else ""
    return f"the equal-budget control ({control_of(phase).name}{rounds})"


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number > 1)}"
