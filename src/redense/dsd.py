"""Dense -> Sparse -> Dense around anybody's model, optimizer and loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from redense.config import Distribution, Recipe
from redense.phases import Phase, dsd_phases
from redense.sparsity.enforce import masked
from redense.sparsity.masks import Masks, magnitude_masks


class DSD:
    """Take a model through dense, sparse and re-dense phases; the training loop stays as it is.

    At every boundary the optimizer's moments are cleared, the learning rate gets the phase's factor, and the
    mask comes or goes. The factor multiplies whatever rate a scheduler has set, and the
    scheduler never sees it. In the sparse phase pruned weights are exactly 0 after every
    ``optimizer.step()``; in the re-dense phase they start again from 0.

    Args:
        model: any module; tensors of two or more dimensions are pruned unless `exclude` names them.
        optimizer: an optimizer that holds the model's parameters.
        sparsity: fraction of zeros, in [0, 1).
        epochs: epochs of the dense, sparse and re-dense phase.
        rounds: how often sparse and re-dense are repeated.
        rates: factors on the learning rate, as in the paper's last phase: 1, 1, 0.1.
        exclude: names or patterns of layers that stay dense.
        distribution: ``uniform`` (every tensor alike) or ``global``.

    Raises `RecipeError` for settings that make no sense.

    Source: Han et al., "DSD: Dense-Sparse-Dense Training for Deep Neural Networks", ICLR 2017.

    >>> net = torch.nn.Linear(10, 1)
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    >>> dsd = DSD(net, sgd, sparsity=0.5, epochs=(1, 1, 1))
    >>> for epoch in dsd.epochs():
    ...     net(torch.randn(4, 10)).square().mean().backward()
    ...     sgd.step()
    ...     print(epoch, dsd.phase.label, int((net.weight == 0).sum()))
    0 dense 0
    1 sparse 50% 5
    2 re-dense 50% 0
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        sparsity: float,
        epochs: Sequence[int],
        rounds: int = 1,
        rates: Sequence[float] = (1.0, 1.0, 0.1),
        exclude: Iterable[str] = (),
        distribution: Distribution = "uniform",
    ) -> None:
        checks: dict[str, Any] = {"epochs": tuple(epochs), "rates": tuple(rates), "exclude": tuple(exclude)}
        settings = Recipe(sparsities=(sparsity,), rounds=rounds, distribution=distribution, **checks)
        self.model = model
        self.optimizer = optimizer
        self.exclude = settings.exclude
        self.distribution = settings.distribution
        self.phases = dsd_phases(settings.sparsities[0], settings.epochs, settings.rates, settings.rounds)
        self.phase: Phase = self.phases[0]
        self.masks: Masks = {}
        """The masks in force: parameter name -> bool tensor, True = kept; empty outside the sparse phase."""

    def epochs(self) -> Iterator[int]:
        """Yield 0, 1, 2, ... over all phases, changing masks, rate and moments between them."""
        epoch = 0
        for phase in self.phases:
            with self._in_phase(phase):
                for _ in range(phase.epochs):
                    yield epoch
                    epoch += 1

    @contextmanager
    def _in_phase(self, phase: Phase) -> Iterator[None]:
        self.phase = phase
        self.optimizer.state.clear()
        if phase.kind == "sparse" and phase.sparsity is not None:
            self.masks = magnitude_masks(
                self.model, sparsity=phase.sparsity, exclude=self.exclude, distribution=self.distribution
            )
        mask = masked(self.model, self.optimizer, self.masks) if self.masks else nullcontext()
        try:
            with mask, scaled_rate(self.optimizer, phase.rate):
                yield
        finally:
            self.masks = {}


def scaled_rate(optimizer: torch.optim.Optimizer, factor: float) -> AbstractContextManager[None]:
    """Multiply the learning rate by `factor` within every step and only there, so that no scheduler sees it."""
    return nullcontext() if factor == 1 else _scaled_rate(optimizer, factor)


@contextmanager
def _scaled_rate(optimizer: torch.optim.Optimizer, factor: float) -> Iterator[None]:
    unscaled: list[Any] = []

    def scale(*_: Any) -> None:
        unscaled[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor

    def restore(*_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, unscaled, strict=True):
            group["lr"] = rate

    handles = [optimizer.register_step_pre_hook(scale), optimizer.register_step_post_hook(restore)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
