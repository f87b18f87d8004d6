"""What an audit says of itself, in the terminal and on pages alike: how to read verdicts, columns and lists."""

from __future__ import annotations

from collections.abc import Iterable

from redense.auditing.attacks import PRIMARY
from redense.auditing.verdict import GRADES, LEAST_CONFIDENCE
from redense.text import from_to, percent

MARK = "*"
ABOUT = (
    "An audit attacks a model with what an outsider could see of it, and counts how often examples that it was "
    "trained on (members) are told from others like them (non-members). An attack is given an example with its label "
    "and asks only whether it was in the training data; it does not recover what an example holds. It gives every "
    "example a score and guesses that those with high scores are members; the more often it is right, the more the "
    "model gives away."
)
STRONGEST_IS = (
    "the lower end of its wider interval (the verdict's, over all attacks; not the one in a table of attacks) is the "
    "highest, so another's accuracy, AUC or TPR may be larger"
)
ROWS = "Rows may be of different attacks, so they do not say which model gives away more."
"""Of tables with a line a model, which name the strongest attack on each."""
ATTACK_RIGHT, MODEL_RIGHT = "attack right %", "model right %, members / others"
"""Columns of these tables."""
MODEL_RIGHT_IS = (
    "Model right: how often the model itself names the right class, of members and of others; this is no attack."
)
BESIDE_NAMES = "A number is a row, counted from 0 (train 113: row 113 of the training data), where no names were given."
"""Of names of members."""


def grades_text() -> str:
    """Say which word stands for which leak."""
    grades = ", ".join(f'"{grade}" from {percent(least)}' for grade, least in GRADES if least)
    return f'Its lower end chooses the word: {grades}, else "{GRADES[-1][0]}".'


def risk_is(nonmembers: Iterable[int]) -> str:
    """Say what a member's risk is, where there are so many non-members.

    >>> risk_is([800])
    'Risk: a rank, not a probability: the share of non-members with a lower score. By chance about 1 of 801 members \
stands above all non-members.'
    """
    return (
        "Risk: a rank, not a probability: the share of non-members with a lower score. By chance about 1 of "
        f"{from_to(count + 1 for count in nonmembers)} members stands above all non-members."
    )


def explanations(confidence: float) -> list[str]:
    """Explain columns and intervals to somebody who has never heard of an ROC curve."""
    sure, together = percent(confidence), percent(max(confidence, LEAST_CONFIDENCE))
    return [
        "accuracy: how often the guesses are right, members and non-members weighing alike (50%: as good as guessing; "
        "100%: everything is given away), with thresholds learnt on other examples or reference models; oracle: with "
        "the threshold that happens to be best for these examples, which no attacker knows.",
        "AUC: how often a member's score is higher than a non-member's (0.5: as good as guessing). TPR at 1%: the "
        "share of the members that are found when at most 1% of the non-members are wrongly accused (guessing: 1%); "
        "where a verdict names no such share, its attack shows none above guessing. ε: the privacy loss (differential "
        "privacy) that is proven at least; a dash: not measured, which does not mean zero.",
        f"Intervals, in brackets, hold the true figure in {sure} of audits, each by itself. The verdict's is wider: "
        f"those of all attacks hold together in {together}. {grades_text()} "
        f"p: how often chance alone would look like a leak at least as clear. {MARK}: the strongest attack, which the "
        f"verdict names: {STRONGEST_IS}.",
        "Exposed members, classes and ε are by one attack that is chosen before anything is seen "
        f"({', else '.join(PRIMARY)}); which one is the strongest is known only afterwards.",
    ]
