"""What is noticed of anybody's batches, and of what reaches the first norm, while they pass by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from redense.attacks.threshold import Labels
from redense.auditing.asking import the_first
from redense.auditing.outputs import LogitsSeen
from redense.auditing.sample import Sample
from redense.auditing.verdict import FEWEST
from redense.data.dataset import check_types

MOST_SHIFT = 1.0
MOST_RATIO = 3.0
"""Shift of means, in standard deviations, and ratio of variances between training and audit, in half of the channels
at most."""


SETTLED = 0.03
"""Weight of their initial values from which running statistics are no measure: those of 33 updates and fewer with the
usual momentum of 0.1."""


class SideSeen:
    """What is noticed of one side's batches as they pass."""

    def __init__(self, what: str, other: SideSeen | None = None) -> None:
        self.what, self.other = what, other
        self.stored: torch.dtype | None = None
        self.sample = Sample()
        self.logits = LogitsSeen(what)

    def __call__(
        self,
        inputs: Any,
        placed: Any,
        labels: Labels,
        digests: npt.NDArray[np.bytes_],
        logits: Sequence[torch.Tensor],
    ) -> None:
        """Take note of a batch; raise `DataError` where bytes are on one side alone."""
        if self.stored is None and not (isinstance(inputs, Mapping) and len(inputs) > 1):  # those are not scaled
            self.stored = the_first(inputs).dtype
            if self.other is not None and self.other.stored is not None:
                check_types(self.other.stored, self.stored, (f"{self.other.what}'", f"{self.what}'"))
        self.sample.add(placed, labels, digests)
        self.logits.add(logits[0], labels, logits[1:])


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
        if running_mean is None or running_var is None or self.count < FEWEST or _initial(self.norm) > SETTLED:
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


def _initial(norm: nn.modules.batchnorm._BatchNorm) -> float:
    """Return the weight that the initial values have in the running statistics: (1 - momentum)^k after k updates.

    0 where they are not known, as in weights of other frameworks, which say nothing of their updates.
    """
    updates = 0 if norm.num_batches_tracked is None else int(norm.num_batches_tracked)
    return float((1 - norm.momentum) ** updates) if updates and norm.momentum is not None else 0.0


def _has_learnt(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return bool((mean != 0).any() or (variance != 1).any())
