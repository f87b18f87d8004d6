"""Looks on while somebody's loop trains, through PyTorch's hooks for all optimizers; it knows nothing of DSD."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


@dataclass
class Step:
    """A step of the optimizer that moves the weights."""

    scheduled: float
    """The learning rate that optimizer, scheduler and framework have set."""
    moved: float = 0.0
    """How far the weight went that went farthest: of Adam's first step after a restart, the rate itself."""
    zeros: list = field(default_factory=list)
    """Where the weights are zero: after the step, and again after that of each wrapper around the optimizer."""


class Watch:
    """Watches some weights, given by their names."""

    def __init__(self, **weights):
        self.weights = weights
        self.steps = []
        self._before = None

    @contextmanager
    def looking(self):
        """Look at every step of any optimizer that holds the weights."""
        handles = [
            register_optimizer_step_pre_hook(self._pre),
            register_optimizer_step_post_hook(self._post),
        ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _holds(self, optimizer):
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return any(id(weight) in held for weight in self.weights.values())

    def _pre(self, optimizer, *_):
        if self._holds(optimizer):
            self._before = [weight.detach().clone() for weight in self.weights.values()]
            self._scheduled = float(optimizer.param_groups[0]["lr"])

    def _post(self, optimizer, *_):
        if not self._holds(optimizer):
            return
        if self._before is not None:
            pairs = zip(self.weights.values(), self._before, strict=True)
            self.steps.append(Step(self._scheduled, max(float((w.detach() - b).abs().max()) for w, b in pairs)))
            self._before = None
        self.steps[-1].zeros.append({name: weight.detach() == 0 for name, weight in self.weights.items()})

    def check(self, *phases):
        """Compare what was seen with phases of (steps, sparsity, factor): of Adam, which restarts at every boundary.

        In a sparse phase exactly the same weights are zero after every step, as many as asked for; before the first
        one none is, and at the end of a later phase nearly none any more. Each phase's first step is as long as
        the rate.
        """
        assert len(self.steps) == sum(steps for steps, _, _ in phases)
        begin, pruned = 0, None
        for steps, sparsity, factor in phases:
            part = self.steps[begin : begin + steps]
            begin += steps
            assert part[0].moved == pytest.approx(part[0].scheduled * factor, rel=0.03)
            if sparsity:
                pruned = part[0].zeros[0]
                for name, zeros in pruned.items():
                    assert int(zeros.sum()) == round(sparsity * zeros.numel()), name
                for step in part:
                    for zeros in step.zeros:
                        assert all(torch.equal(zeros[name], pruned[name]) for name in pruned)
            elif pruned is None:
                assert not any(found.any() for step in part for zeros in step.zeros for found in zeros.values())
            else:
                for name, zeros in part[-1].zeros[-1].items():
                    assert int(zeros.sum()) <= 0.02 * zeros.numel(), name


def same_bits(one, other):
    """Tell whether two models hold the same bits."""
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)
