"""What is noticed of models' outputs and of labels while batches pass by: no logits, or classes in another order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from redense.auditing.checks import ERRORS
from redense.auditing.verdict import FEWEST

Classes = npt.NDArray[np.int64]

NEARBY = (1, -1)
ROUNDING = 1e-3
"""How far sums of probabilities may lie from 1; in bfloat16 by its rounding."""


class OutputsSeen:
    """What one model's outputs look like while batches pass by."""

    def __init__(self) -> None:
        self.count = 0
        self._probabilities = self._logs = self._sigmoid = True

    def add(self, logits: torch.Tensor) -> None:
        """Add the logits [b, classes] of a batch."""
        self.count += len(logits)
        if not (self._probabilities or self._logs or self._sigmoid):
            return
        z = logits.double()
        rounding = max(ROUNDING, torch.finfo(logits.dtype).eps)
        if self._probabilities:
            self._probabilities = bool((z >= 0).all() and ((z.sum(1) - 1).abs() < rounding).all())
        if self._logs:  # rounding moves log-probabilities by their size, whose mean is the entropy
            most = rounding * max(1.0, math.log(z.shape[1]))
            self._logs = bool((z.logsumexp(1).abs() < most).all())
        if self._sigmoid:  # one logit z comes as (0, z)
            self._sigmoid = z.shape[1] == 2 and bool((z[:, 0] == 0).all() and ((z >= 0) & (z <= 1)).all())

    @property
    def mistake(self) -> str | None:
        """Say what they are instead of logits, and what to do; None where nothing speaks against logits."""
        if self._probabilities:
            return (
                "look like probabilities (from 0 to 1, with the sum 1), and were taken as logits; take the softmax out "
                "of the model"
            )
        if self._logs:
            return (
                "look like log-probabilities, and were taken as logits, which is right but for rounding; take the "
                "log_softmax out of the model where you can"
            )
        if self._sigmoid and self.count >= FEWEST:
            return (
                "look like a single probability (always from 0 to 1), and were taken as one logit; take the sigmoid "
                "out of the model"
            )
        return None


class LogitsSeen:
    """What can be seen of logits while batches pass by, of one side: the target's, and those of reference models.

    >>> seen = LogitsSeen("members")
    >>> seen.add(torch.tensor([[0.3, 0.7]] * 60), np.ones(60, dtype=np.int64))
    >>> seen.warnings()[0].split(":")[0]
    'members'
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._guesses: list[Classes] = []
        self._labels: list[Classes] = []
        self._outputs: list[OutputsSeen] = []

    def add(self, logits: torch.Tensor, labels: Classes, references: Sequence[torch.Tensor] = ()) -> None:
        """Add the logits [b, classes] of a batch with classes [b], and each reference model's of the same batch."""
        self._guesses.append(logits.argmax(1).cpu().numpy())
        self._labels.append(labels)
        self._outputs = self._outputs or [OutputsSeen() for _ in (logits, *references)]
        for seen, answers in zip(self._outputs, (logits, *references), strict=True):
            seen.add(answers)

    def warnings(self, counts: npt.NDArray[np.bool_] | None = None) -> list[str]:
        """Warn of outputs that are no logits and of labels that do not mean what the model means by them.

        `counts` [n] tells which of all examples so far are independent cases, by default all.
        """
        guesses, labels = np.concatenate(self._guesses), np.concatenate(self._labels)
        if counts is not None:
            guesses, labels = guesses[counts], labels[counts]
        found = [*self._of_outputs(), *_of_labels(guesses, labels)]
        return [f"{self.what}: {warning}" for warning in found]

    def _of_outputs(self) -> list[str]:
        target, *references = (seen.mistake for seen in self._outputs)
        found = [f"the model's outputs {target}"] if target else []
        for mistake in dict.fromkeys(one for one in references if one):
            models = [str(number) for number, one in enumerate(references) if one == mistake]
            which = f"model {models[0]}" if len(models) == 1 else f"models {', '.join(models)}"
            found.append(f"the outputs of reference {which} {mistake}")
        return found


def _of_labels(guesses: Classes, labels: Classes) -> list[str]:
    """Warn of labels [n] that are counted from elsewhere, or else in another order, than a model's guesses [n]."""
    order = _circle(guesses, labels)
    takes = np.arange(1 + max(labels.max(initial=0), guesses.max(initial=0)))
    takes[list(order)] = list(order.values())
    of_order = float((takes[labels] == guesses).mean()) if order else 0.0
    return _counted_from_elsewhere(guesses, labels, least=of_order / 2) or _in_another_order(guesses, labels, order)


def _counted_from_elsewhere(guesses: Classes, labels: Classes, least: float) -> list[str]:
    """Warn where labels [n] agree less with a model's guesses [n] than those beside them, which at least so many do."""
    found = []
    own = guesses == labels
    for step in NEARBY:
        shifted = guesses == labels + step
        more = shifted.astype(np.float64) - own
        surely = len(more) >= FEWEST and more.mean() > ERRORS * more.std() / math.sqrt(len(more))
        if surely and shifted.mean() >= least:
            found.append(
                f"the model agrees with the label {step:+d} in {100 * shifted.mean():.1f}% and with the label in "
                f"{100 * own.mean():.1f}%; count classes as in training, from 0"
            )
    return found


def _circle(guesses: Classes, labels: Classes) -> dict[int, int]:
    """Return what a model surely takes each class for, of labels [n] and guesses [n], where these form circles.

    A class that is merely hard goes to others, but these do not come back to it.
    """
    classes = 1 + int(guesses.max(initial=0))
    pairs, numbers = np.unique(labels * classes + guesses, return_counts=True)
    many = dict(zip(((pair // classes, pair % classes) for pair in pairs.tolist()), numbers.tolist(), strict=True))
    taken_for = dict(sorted(many, key=many.__getitem__))  # the most frequent guess is the last, which stays

    def surely(label: int, guess: int) -> bool:
        most, own = many[label, guess], many.get((label, label), 0)
        return bool(most - own > ERRORS * math.sqrt(most + own))

    moved = {label: guess for label, guess in taken_for.items() if label != guess and surely(label, guess)}
    while len(circle := {one: to for one, to in moved.items() if to in moved and one in moved.values()}) < len(moved):
        moved = circle
    return moved


def _in_another_order(guesses: Classes, labels: Classes, order: Mapping[int, int]) -> list[str]:
    """Warn where a model surely takes some classes for each other: labels have another order than its own."""
    if not order:
        return []
    label, guess = min(order.items())
    share = 100 * float((guesses[labels == label] == guess).mean())
    return [
        f"the model takes {share:.1f}% of what is labelled {label} for {guess}, and likewise {len(order) - 1} more, in "
        "a circle: the labels seem to have another order than in training; give the classes the same order"
    ]
