"""Mistakes that would end in a confident wrong answer: each check gives warnings with cause and remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binomtest
from torch import nn

from redense.auditing.evidence import Evidence
from redense.auditing.verdict import FEWEST
from redense.errors import DataError
from redense.metrics.intervals import auc_interval_of
from redense.metrics.roc import Roc, roc
from redense.text import interval_text

ERRORS = 3
"""Standard errors from which an accuracy differs."""
NEARBY = (0, 1, -1)
ROUNDING = 1e-3
"""How far sums of probabilities may lie from 1 (float16)."""
MOST_OVERLAP = 0.01
"""Of the smaller side: more common examples are an error."""
UNLIKELY = 1e-4
"""Of fair coins: numbers of members and non-members so uneven are taken for a mistake."""
LEAST_SURE = 0.99
"""Confidence, over all attacks, from which one is called worse than guessing."""
MOST_SHIFT = 1.0
MOST_RATIO = 3.0
"""Shift of means, in standard deviations, and ratio of variances between training and audit, in half of the channels
at most."""

REMEDY = "check that inputs are preprocessed as in training, that the classes have the same order, and the weights"


class Answers:
    """What can be seen of a model's logits while batches pass by, of one side.

    >>> answers = Answers("members")
    >>> answers.add(torch.tensor([[0.3, 0.7]] * 60), np.ones(60, dtype=np.int64))
    >>> answers.warnings()[0].split(":")[0]
    'members'
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._agree: list[npt.NDArray[np.bool_]] = []
        self._probabilities = self._logs = True

    def add(self, logits: torch.Tensor, labels: npt.NDArray[np.int64]) -> None:
        """Add the logits [b, classes] of a batch with classes [b]."""
        guesses = logits.argmax(1).cpu().numpy()
        self._agree.append(np.stack([guesses == labels + step for step in NEARBY]))
        z = logits.double()
        if self._probabilities:
            self._probabilities = bool((z >= 0).all() and ((z.sum(1) - 1).abs() < ROUNDING).all())
        if self._logs:
            self._logs = bool((z.logsumexp(1).abs() < ROUNDING).all())

    def warnings(self) -> list[str]:
        """Warn of outputs that are no logits and of labels that are counted from elsewhere."""
        found = []
        if self._probabilities:
            found.append(
                f"{self.what}: the model's outputs look like probabilities (from 0 to 1, with the sum 1), and were "
                "taken as logits; take the softmax out of the model"
            )
        elif self._logs:
            found.append(
                f"{self.what}: the model's outputs look like log-probabilities, and were taken as logits, which is "
                "right but for rounding; take the log_softmax out of the model where you can"
            )
        agree = np.concatenate(self._agree, axis=1)
        for step, shifted in zip(NEARBY[1:], agree[1:], strict=True):
            more = shifted.astype(np.float64) - agree[0]
            if len(more) >= FEWEST and more.mean() > ERRORS * more.std() / math.sqrt(len(more)):
                found.append(
                    f"{self.what}: the model agrees with the label {step:+d} in {100 * shifted.mean():.1f}% and with "
                    f"the label in {100 * agree[0].mean():.1f}%; count classes as in training, from 0"
                )
        return found


class NormInputs:
    """Means and variances of what enters a BatchNorm layer, channel by channel."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        self.norm = norm
        self.count = 0
        self.total = self.squares = torch.zeros(1, dtype=torch.float64)

    def add(self, inputs: torch.Tensor) -> None:
        """Add a batch [b, channels, ...]."""
        flat = inputs.detach().double().transpose(0, 1).flatten(1)
        self.count += flat.shape[1]
        self.total = self.total + flat.sum(1).cpu()
        self.squares = self.squares + flat.square().sum(1).cpu()

    def warnings(self) -> list[str]:
        """Warn where half of the channels have other means or variances than in training."""
        running_mean, running_var = self.norm.running_mean, self.norm.running_var
        if running_mean is None or running_var is None or self.count < FEWEST:
            return []
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0) + self.norm.eps
        expected, spread = running_mean.double().cpu(), running_var.double().cpu() + self.norm.eps
        shift = ((mean - expected).abs() / spread.sqrt()).median().item()
        ratio = (variance / spread).log().abs().median().exp().item()
        if shift <= MOST_SHIFT and ratio <= MOST_RATIO:
            return []
        return [
            f"members: what reaches the first BatchNorm layer differs from training (means by {shift:.1f} standard "
            f"deviations, variances {ratio:.1f}-fold, in half of the channels); scale and normalise inputs as in "
            "training, unless that layer was frozen then"
        ]


@contextmanager
def first_norm(model: nn.Module) -> Iterator[list[NormInputs]]:
    """Watch the first BatchNorm layer that has learnt running statistics, if there is one, while the body runs.

    All batches count rather than the first few, which may be of one class.
    """
    norms = (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    norm = next((one for one in norms if _has_learnt(one)), None)
    if norm is None:
        yield []
        return
    seen = NormInputs(norm)
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0]))
    try:
        yield [seen]
    finally:
        handle.remove()


def _has_learnt(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean != 0).any() or (variance != 1).any())


def accuracies(evidence: Evidence) -> tuple[float, float] | tuple[None, None]:
    """Return the target's accuracy on members and on non-members; None where only phi is known."""
    if evidence.phi_only:
        return None, None
    right = evidence.target.correct
    return float(right[evidence.members].mean()), float(right[~evidence.members].mean())


def of_accuracy(evidence: Evidence) -> list[str]:
    """Warn where members are classified hardly better than by guessing the largest class, or worse than non-members."""
    inside, outside = accuracies(evidence)
    members, nonmembers = int(evidence.members.sum()), int((~evidence.members).sum())
    if inside is None or outside is None or min(members, nonmembers) < FEWEST:
        return []
    found = []
    guess = float(np.bincount(evidence.labels[evidence.members]).max() / members)
    needed = guess + ERRORS * math.sqrt(guess * (1 - guess) / members)
    if inside < needed <= 1:
        found.append(
            f"the model is right about {100 * inside:.1f}% of the members, and guessing the largest class about "
            f"{100 * guess:.1f}%: it hardly knows what it was trained on; {REMEDY}"
        )
    # one right and one wrong answer more on each side, for an accuracy of 1 is not sure (Agresti & Caffo 2000)
    low, high = (inside * members + 1) / (members + 2), (outside * nonmembers + 1) / (nonmembers + 2)
    if low < high - ERRORS * math.sqrt(low * (1 - low) / (members + 2) + high * (1 - high) / (nonmembers + 2)):
        found.append(
            f"the model is right about {100 * inside:.1f}% of the members and {100 * outside:.1f}% of the non-members: "
            f"it should know its members better; check that the sides are not exchanged, and {REMEDY}"
        )
    return found


def of_signs(curves: Mapping[str, Roc]) -> list[str]:
    """Warn where attacks are surely worse than guessing, over all of them."""
    intervals = {name: auc_interval_of(curve, 1 - (1 - LEAST_SURE) / len(curves)) for name, curve in curves.items()}
    worse = [name for name, (_, high) in intervals.items() if high < 0.5]
    if not worse:
        return []
    worst = min(worse, key=lambda name: intervals[name][1])
    area = f"AUC {curves[worst].auc:.3f} {interval_text(intervals[worst], 1, 3)}"
    return [
        f"members score lower than non-members in {', '.join(worse)} ({worst}: {area}): a wrong sign, exchanged sides, "
        "or members that are harder; scores have to be higher for likely members (a scaled logit, not a loss)"
    ]


def check_coins(members: int, nonmembers: int) -> None:
    """Raise `DataError` when fair coins would hardly give such numbers (two-sided binomial test, `UNLIKELY`)."""
    if binomtest(members, members + nonmembers).pvalue < UNLIKELY:
        raise DataError(
            f"randomized: got {members:,} members and {nonmembers:,} non-members; fair coins give numbers so uneven in "
            f"fewer than 1 of {1 / UNLIKELY:,.0f} cases; give all examples for which a coin was thrown, or leave "
            "randomized out: then no epsilon can be proven"
        )


def repeated(digests: npt.NDArray[np.bytes_], is_member: npt.NDArray[np.bool_]) -> list[str]:
    """Find examples that are members and non-members at once, or twice on a side, by the digests of their contents.

    Returns warnings with the counts; raises `DataError` when more than 1% of the smaller side overlap.
    """
    warnings = []
    mine, theirs = np.unique(digests[is_member]), np.unique(digests[~is_member])
    overlap = len(np.intersect1d(mine, theirs, assume_unique=True))
    smaller = min(is_member.sum(), (~is_member).sum())
    if overlap > MOST_OVERLAP * smaller:
        raise DataError(
            f"{overlap} examples are among the members and among the non-members, more than 1% of {smaller}; expected "
            "two separate sets: take the common ones out"
        )
    if overlap:
        warnings.append(f"{overlap} examples are among the members and among the non-members")
    for side, distinct, name in ((is_member, mine, "members"), (~is_member, theirs, "non-members")):
        again = int(side.sum()) - len(distinct)
        if again:
            warnings.append(f"{again} of {int(side.sum())} {name} are repetitions of others")
    return warnings


def telling_counts(evidence: Evidence) -> list[str]:
    """Warn when the numbers of IN models alone tell members from non-members: attacks would read them, not the model.

    That happens when reference sets are balanced with the target counted in.
    """
    if evidence.references is None:
        return []
    counts = evidence.references.included.sum(0).astype(np.float64)
    low, high = auc_interval_of(roc(counts, evidence.members), 0.999)
    if low <= 0.5 <= high:
        return []
    means = [counts[side].mean() for side in (evidence.members, ~evidence.members)]
    return [
        f"members are in the training data of {means[0]:.2f} reference models on average, non-members of "
        f"{means[1]:.2f}: these counts give membership away; draw reference sets independently of the target"
    ]
