"""Opacus' own loop is in tests/foreign; here is a stand-in of what redense knows of it."""

import pytest
import torch
from torch import nn, optim

from redense import DSD


class DPOptimizer(optim.Optimizer):
    """Clips the gradients of examples, adds them up, and lets another optimizer make the step."""

    def __init__(self, optimizer, max_norm):
        self.original_optimizer, self.max_norm = optimizer, max_norm
        self.param_groups, self.state, self.defaults = optimizer.param_groups, optimizer.state, optimizer.defaults

    def clip_and_accumulate(self):
        several = [self.samples(parameter) for parameter in self.param_groups[0]["params"]]
        norms = torch.stack([samples.flatten(1).norm(dim=1) for samples in several]).norm(dim=0)
        factors = (self.max_norm / norms).clamp(max=1)
        for parameter, samples in zip(self.param_groups[0]["params"], several, strict=True):
            parameter.grad = torch.einsum("i,i...", factors, samples)

    def samples(self, parameter):
        found = parameter.grad_sample
        return torch.cat(found) if isinstance(found, list) else found

    def step(self, closure=None):
        self.clip_and_accumulate()
        return self.original_optimizer.step(closure)


DPOptimizer.__module__ = "opacus.optimizers.optimizer"


class PerLayer(DPOptimizer):
    """Subclasses have their own way of clipping."""


@pytest.mark.parametrize("kind", [DPOptimizer, PerLayer])
@pytest.mark.parametrize("several", [False, True])
def test_per_sample_gradients_of_pruned_weights_do_not_count_in_the_clipping_norm(kind, several):
    model = nn.Linear(4, 1, bias=False)
    optimizer = kind(optim.SGD(model.parameters(), 1.0), max_norm=1.0)
    moved = {}
    for epoch in DSD(model, optimizer, sparsity=0.75, epochs=(1, 1, 1), rates=(1, 1, 1)).epochs():
        before = model.weight.detach().clone()
        samples = torch.full((2, 1, 4), 3.0)
        model.weight.grad_sample = [samples[:1], samples[1:]] if several else samples
        optimizer.step()
        moved[epoch] = (before - model.weight.detach()).norm().item()
        assert int((model.weight == 0).sum()) == (3 if epoch == 1 else 0)
    assert moved == pytest.approx({0: 2.0, 1: 2.0, 2: 2.0})  # two examples, each of the norm that is allowed
    assert "clip_and_accumulate" not in vars(optimizer)
