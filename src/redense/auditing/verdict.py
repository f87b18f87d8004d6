"""What an audit's figures amount to: the verdict in a sentence, and whether a limit is exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scipy.special import ndtr, ndtri

from redense.arguments import Rate, Shares, validated
from redense.auditing.attack_result import AttackResult
from redense.auditing.attacks import CALIBRATED
from redense.errors import DataError, LeakFound, RecipeError
from redense.text import interval_text, p_text, percent

if TYPE_CHECKING:
    from redense.auditing.result import AuditResult

GRADES = (("strongly", 0.75), ("clearly", 0.55), ("barely", 0.0))
"""How much a leak is, and the least lower end of the strongest attack's accuracy, over all attacks, for saying so."""
FEWEST = 50
"""Members and non-members that a verdict needs."""
JUDGED = ("leak", "none shown")
"""Kinds of verdicts that say something about membership."""
LEAST_CONFIDENCE = 0.95
"""Of a verdict and of `refuse_leak`, however little sure the intervals of the table shall be."""
KINDS = 2
"""Ways in which an attack may show a leak, which share the permitted error: its accuracy, and whom it ranks highest."""


@validated(DataError)
@dataclass(frozen=True)
class Verdict:
    """`kind`: whether a leak was shown; `sentence`: the same for somebody who has never heard of an ROC curve.

    - `attack`: the strongest, whose accuracy has the highest lower end over all attacks made; `accuracy`: its balanced
      accuracy, in [0, 1]; `interval`: of that, widened so that those of all attacks hold together, with a confidence
      of `LEAST_CONFIDENCE` at least;
    - `p`: of no leak, by accuracies and rankings, corrected for these two and for the number of attacks;
    - `grade`: of a leak, ``barely``, ``clearly`` or ``strongly``, by the interval's lower end (`GRADES`).

    None where there is no verdict (`kind` is ``too few`` or ``not comparable``), and `grade` where no leak was shown.
    """

    kind: Literal["leak", "none shown", "too few", "not comparable"]
    sentence: str
    attack: str | None = None
    accuracy: Rate | None = None
    interval: Shares | None = None
    p: Rate | None = None
    grade: str | None = None


def judge(found: Sequence[AttackResult], members: int, nonmembers: int, confidence: float) -> Verdict:
    """Judge by the smallest p-value, corrected for all that was tried; name the strongest attack and its size.

    There is a leak wherever the interval of an accuracy lies above one half: it is part of the test.
    """
    if min(members, nonmembers) < FEWEST:
        return Verdict(
            "too few",
            f"No verdict: {members:,} members and {nonmembers:,} non-members are too few; at least {FEWEST} of each "
            "are needed.",
        )
    by_kind = (kind for attack in found for kind in (attack.p_value, _p_of_accuracy(attack, confidence)))
    p_value = min(1.0, KINDS * len(found) * min(by_kind))
    interval, best = max(
        ((simultaneous(attack, len(found), confidence), attack) for attack in found),
        key=lambda ranked: (ranked[0], ranked[1].accuracy),
    )
    probability, (right, ends) = p_text(p_value), in_figures(best.accuracy, interval)
    rank = f"the strongest of {len(found)} attacks" if len(found) > 1 else "the only attack made"
    size = f"{best.attack!r}, {rank}, is right in {right}% {ends} where guessing is right in 50%"
    over = f"over all {len(found)} attacks, {probability}" if len(found) > 1 else probability
    if p_value >= 1 - max(confidence, LEAST_CONFIDENCE):
        sentence = (
            f"No leak that this audit can show: with {members:,} members and {nonmembers:,} non-members, {size}, which "
            f"chance alone may give ({over}). Stronger attacks may exist."
        )
        return Verdict("none shown", sentence, best.attack, best.accuracy, interval, p_value)
    grade = next(grade for grade, least in GRADES if interval[0] >= least)
    sentence = (
        f"This model {grade} gives away who was in its training data: {size}{_picked_out(best)} "
        f'({over}; "{grade}": {_why_so_called(grade)}).'
    )
    if interval[0] <= 0.5:
        sentence += _ranked(found)
    return Verdict("leak", sentence, best.attack, best.accuracy, interval, p_value, grade)


def wrong_way(verdict: Verdict) -> Verdict:
    """Take a verdict of no leak back where scores tell the sides apart the wrong way round: nothing is known then."""
    if verdict.kind != "none shown":
        return verdict
    return Verdict(
        "not comparable",
        "Not comparable: members score lower than non-members, beyond chance, which no leak explains. Whether there is "
        "one cannot be told before the cause is found: scores that are higher for likely non-members (a loss taken for "
        "a scaled logit), exchanged sides, or members that are harder than the others.",
    )


def simultaneous(attack: AttackResult, tests: int, confidence: float) -> tuple[float, float]:
    """Widen the interval of an accuracy so that those of so many tests hold together, inside [0, 1].

    Each may then err with a probability of (1 - `confidence`) / `tests` (Bonferroni); an end moves away from the
    accuracy as the quantile of the normal distribution does. `confidence` is that of the attack's own interval; where
    it is less than `LEAST_CONFIDENCE`, that is taken instead.
    """
    quantile, low, high = _sure_enough(attack, confidence)
    error = 1 - max(confidence, LEAST_CONFIDENCE)
    wanted = float(ndtri(1 - error / tests / 2)) / quantile
    return max(0.0, attack.accuracy - wanted * low), min(1.0, attack.accuracy + wanted * high)


def _sure_enough(attack: AttackResult, confidence: float) -> tuple[float, float, float]:
    """Return the quantile of a confidence of `LEAST_CONFIDENCE` at least, and how far the ends of its interval reach.

    From an interval of less confidence ends move as the quantile's square: near rates of 0 and 1 Wilson's do so, and
    nowhere faster.
    """
    own, least = (float(ndtri(0.5 + each / 2)) for each in (confidence, max(confidence, LEAST_CONFIDENCE)))
    low, high = ((least / own) ** 2 * abs(end - attack.accuracy) for end in attack.accuracy_interval)
    return least, low, high


def in_figures(accuracy: float, interval: tuple[float, float]) -> tuple[str, str]:
    """Write an accuracy and its interval in percent, with as many digits as show that an end above 50 is above it.

    >>> in_figures(0.525, (0.481, 0.551)), in_figures(0.525, (0.5001, 0.551))
    (('52.5', '[48.1, 55.1]'), ('52.50', '[50.01, 55.10]'))
    """
    low = interval[0]
    digits = next((digits for digits in (1, 2, 3) if low <= 0.5 or float(f"{100 * low:.{digits}f}") > 50), 4)
    return f"{100 * accuracy:.{digits}f}", interval_text(interval, 100, digits)


def _why_so_called(grade: str) -> str:
    """Say which lower ends have this grade.

    >>> [_why_so_called(grade) for grade, _ in GRADES]
    ['the lower end is at least 75%', 'the lower end is from 55% to under 75%', 'the lower end is under 55%']
    """
    place = [each for each, _ in GRADES].index(grade)
    least, above = GRADES[place][1], GRADES[place - 1][1] if place else None
    if above is None:
        return f"the lower end is at least {percent(least)}"
    return f"the lower end is {f'from {percent(least)} to ' * bool(least)}under {percent(above)}"


def leaks_among(verdicts: Sequence[Verdict]) -> str:
    """Say how many of the models that were audited show a leak, and how many have no verdict; of one, nothing."""
    many, kinds = len(verdicts), [verdict.kind for verdict in verdicts]
    leaks, judged = kinds.count("leak"), sum(kind in JUDGED for kind in kinds)
    if many == 1:
        return ""
    if leaks == many:
        return f"all {many} models audited in this run show a leak"
    if not judged:
        return f"none of the {many} models audited in this run has a verdict"
    found = f"{leaks} show{'s' * (leaks == 1)} a leak" if leaks else "none shows a leak by itself"
    without = many - judged
    unjudged = f" and {without} {'has' if without == 1 else 'have'} no verdict" if without else ""
    return f"of the {many} models audited in this run {found}{unjudged}"


def _p_of_accuracy(attack: AttackResult, confidence: float) -> float:
    """Return the one-sided p-value of guessing: the error at which the lower end of `simultaneous` is one half."""
    quantile, reach, _ = _sure_enough(attack, confidence)
    if attack.accuracy <= 0.5 or reach <= 0:
        return 1.0
    return float(ndtr(-quantile * (attack.accuracy - 0.5) / reach))


def _picked_out(attack: AttackResult) -> str:
    """Say how many members are picked out at the lowest false-positive rate shown, if more than by chance."""
    fpr, point = min(attack.shown_rates.items(), default=(0.0, None))
    if point is None or point.tpr_interval[0] <= fpr:
        return ""
    found = f"{100 * point.tpr:.{0 if point.tpr >= 0.1 else 1}f}%"
    rate = percent(fpr)
    return f", and picks out {found} of the members (guessing: {rate}) while accusing at most {rate} of the others"


def _ranked(found: Sequence[AttackResult]) -> str:
    """Say what shows a leak where no accuracy does."""
    surest = min(found, key=lambda attack: (attack.p_value, -attack.auc))
    return f" What shows it is not how often guesses are right but which examples {surest.attack!r} ranks highest."


def why_unnamed(verdict: Verdict, primary: AttackResult, confidence: float) -> str | None:
    """Say why no members are named as the most exposed ones; None where the primary attack can tell them."""
    if verdict.kind != "leak":
        return "no leak is shown"
    if primary.attack not in CALIBRATED:
        return (
            f"{primary.attack} ranks easy examples highest, whether members or not; reference models "
            f"({', '.join(CALIBRATED)}) can tell who is exposed"
        )
    if primary.p_value >= 1 - max(confidence, LEAST_CONFIDENCE):
        return f"{primary.attack}, by which they would be chosen, shows no leak itself"
    return None


def check_limit(fail_above: float | None) -> None:
    """Raise `RecipeError` for a limit that is no balanced accuracy."""
    if fail_above is not None and not 0.5 <= fail_above <= 1:
        raise RecipeError(f"fail_above: got {fail_above:g}; expected a balanced accuracy from 0.5 to 1")


def refuse_leak(results: Sequence[tuple[str, AuditResult]], fail_above: float) -> None:
    """Raise `LeakFound` when an attack of these titled results is more accurate than the limit; it names the strongest.

    The intervals are widened for all attacks of all results (`simultaneous`): where no attack is truly more accurate
    than the limit, at most 5% of calls raise it, also where the results' own confidence is less than 95%. Raises
    `DataError` when a result has no verdict to go by.
    """
    judged = [(title, result) for title, result in results if result.verdict.kind in JUDGED]
    tests = sum(len(result.attacks) for _, result in judged)
    intervals = [
        (simultaneous(attack, tests, result.confidence), title, attack)
        for title, result in judged
        for attack in result.attacks
    ]
    interval, title, worst = max(intervals, key=lambda found: found[0], default=((0.0, 0.0), "", None))
    if worst is not None and interval[0] > fail_above:
        raise LeakFound(
            f"{_titled(title)}{worst.attack} is right in {100 * worst.accuracy:.1f}% {interval_text(interval, 100, 1)} "
            f"(over all {tests} attacks): more than --fail-above {fail_above:g}"
        )
    for title, result in results:
        if result.verdict.kind not in JUDGED:
            raise DataError(f"--fail-above {fail_above:g}: {_titled(title)}{result.verdict.sentence}")


def _titled(title: str) -> str:
    return f"{title}: " if title else ""
