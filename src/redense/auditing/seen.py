"""What is noticed of anybody's batches and a model's answers while they pass by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from redense.attacks.threshold import Labels
from redense.auditing.asking import the_first
from redense.auditing.checks import ERRORS
from redense.auditing.sample import Sample
from redense.auditing.verdict import FEWEST
from redense.data.dataset import check_types

NEARBY = (0, 1, -1)
ROUNDING = 1e-3
"""How far sums of probabilities may lie from 1; in bfloat16 by its rounding."""
MOST_SHIFT = 1.0
MOST_RATIO = 3.0
"""Shift of means, in standard deviations, and ratio of variances between training and audit, in half of the channels
at most."""


class SideSeen:
    """What is noticed of one side's batches as they pass."""

    def __init__(self, what: str, other: SideSeen | None = None) -> None:
        self.what, self.other = what, other
        self.stored: torch.dtype | None = None
        self.sample = Sample()
        self.logits = LogitsSeen(what)

    def __call__(
        self, inputs: Any, placed: Any, labels: Labels, digests: npt.NDArray[np.bytes_], logits: torch.Tensor
    ) -> None:
        """Take note of a batch; raise `DataError` where bytes are on one side alone."""
        if self.stored is None and not (isinstance(inputs, Mapping) and len(inputs) > 1):  # those are not scaled
            self.stored = the_first(inputs).dtype
            if self.other is not None and self.other.stored is not None:
                check_types(self.other.stored, self.stored, (f"{self.other.what}'", f"{self.what}'"))
        self.sample.add(placed, labels, digests)
        self.logits.add(logits, labels)


class LogitsSeen:
    """What can be seen of a model's logits while batches pass by, of one side.

    >>> seen = LogitsSeen("members")
    >>> seen.add(torch.tensor([[0.3, 0.7]] * 60), np.ones(60, dtype=np.int64))
    >>> seen.warnings()[0].split(":")[0]
    'members'
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._agree: list[npt.NDArray[np.bool_]] = []
        self._probabilities = self._logs = self._sigmoid = True

    def add(self, logits: torch.Tensor, labels: npt.NDArray[np.int64]) -> None:
        """Add the logits [b, classes] of a batch with classes [b]."""
        guesses = logits.argmax(1).cpu().numpy()
        self._agree.append(np.stack([guesses == labels + step for step in NEARBY]))
        z = logits.double()
        rounding = max(ROUNDING, torch.finfo(logits.dtype).eps)
        if self._probabilities:
            self._probabilities = bool((z >= 0).all() and ((z.sum(1) - 1).abs() < rounding).all())
        if self._logs:  # rounding moves log-probabilities by their size, whose mean is the entropy
            most = rounding * max(1.0, math.log(z.shape[1]))
            self._logs = bool((z.logsumexp(1).abs() < most).all())
        if self._sigmoid:  # one logit z comes as (0, z)
            self._sigmoid = z.shape[1] == 2 and bool((z[:, 0] == 0).all() and ((z >= 0) & (z <= 1)).all())

    def warnings(self, counts: npt.NDArray[np.bool_] | None = None) -> list[str]:
        """Warn of outputs that are no logits and of labels that are counted from elsewhere.

        `counts` [n] tells which of all examples so far are independent cases, by default all.
        """
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
        if counts is not None:
            agree = agree[:, counts]
        if self._sigmoid and agree.shape[1] >= FEWEST:
            found.append(
                f"{self.what}: the model's single output looks like a probability (always from 0 to 1), and was taken "
                "as a logit; take the sigmoid out of the model"
            )
        for step, shifted in zip(NEARBY[1:], agree[1:], strict=True):
            more = shifted.astype(np.float64) - agree[0]
            if len(more) >= FEWEST and more.mean() > ERRORS * more.std() / math.sqrt(len(more)):
                found.append(
                    f"{self.what}: the model agrees with the label {step:+d} in {100 * shifted.mean():.1f}% and with "
                    f"the label in {100 * agree[0].mean():.1f}%; count classes as in training, from 0"
                )
        return found


class NormInputs:
    """Means and variances of what enters a BatchNorm layer, channel by channel.

    Dropout before it has made variances in training larger than they are without; then only means and larger variances
    than in training are held against it.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        self.norm = norm
        self.count = 0
        self.dropped = False
        self.total = self.squares = torch.zeros(1, dtype=torch.float64)

    def add(self, inputs: torch.Tensor) -> None:
        """Add a batch [b, channels, ...]."""
        flat = inputs.detach().double().transpose(0, 1).flatten(1)
        self.count += flat.shape[1]
        self.total = self.total + flat.sum(1).cpu()
        self.squares = self.squares + flat.square().sum(1).cpu()

    def pass_dropout(self) -> None:
        """Take note of dropout that a batch passes; only that of the first batch before it got here counts."""
        self.dropped |= not self.count

    def warnings(self) -> list[str]:
        """Warn where half of the channels have other means or variances than in training."""
        running_mean, running_var = self.norm.running_mean, self.norm.running_var
        if running_mean is None or running_var is None or self.count < FEWEST:
            return []
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0) + self.norm.eps
        expected, spread = running_mean.double().cpu(), running_var.double().cpu() + self.norm.eps
        shift = ((mean - expected).abs() / spread.sqrt()).median().item()
        logs = (variance / spread).log()
        ratio = (logs.clamp(min=0) if self.dropped else logs.abs()).median().exp().item()
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
    handles = [norm.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0]))]
    dropouts = [module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd) and module.p]
    handles += [one.register_forward_pre_hook(lambda *_: seen.pass_dropout()) for one in dropouts]
    try:
        yield [seen]
    finally:
        for handle in handles:
            handle.remove()


def _has_learnt(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean != 0).any() or (variance != 1).any())
