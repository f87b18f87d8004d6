"""What the table says of optimizers is so of the optimizers that it makes."""

from typing import get_args

import pytest
import torch

from redense.experiment.optimizers import OPTIMIZERS, OptimizerKind, OptimizerName, make_optimizer, moments_of
from redense.experiment.plan import Training

SHAPES = ((4, 3), (4,), (2, 4))


class Normed(torch.optim.SGD):
    """Makes steps of one length for every tensor, as optimizers do that see tensors as wholes."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad /= parameter.grad.norm()
        return super().step(closure)


def training(name, momentum=0.9):
    return Training("", 4, name, 0.1, momentum, 0.01)


def steps(optimizer, parameters, gradients):
    """Return the parameters, side by side, after a step for each row of gradients."""
    for row in gradients:
        parts = row.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view(parameter.shape).clone()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def test_every_name_has_a_line():
    assert tuple(OPTIMIZERS) == get_args(OptimizerName)


@pytest.mark.parametrize("name", [*OPTIMIZERS, "normed"])
def test_elementwise_ones_do_with_a_row_what_they_do_with_its_tensors_and_others_do_not(name, monkeypatch):
    normed = OptimizerKind(lambda parameters, each: Normed(parameters, each.lr), moments=(), elementwise=False)
    monkeypatch.setitem(OPTIMIZERS, "normed", normed)
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator) for shape in SHAPES]
    gradients = torch.randn(5, sum(tensor.numel() for tensor in tensors), generator=generator)
    row = torch.nn.Parameter(torch.cat([tensor.flatten() for tensor in tensors]))
    apart = [torch.nn.Parameter(tensor.clone()) for tensor in tensors]
    found, expected = (
        steps(make_optimizer(parameters, training(name)), parameters, gradients) for parameters in ([row], apart)
    )
    assert not torch.equal(expected, torch.cat([tensor.flatten() for tensor in tensors]))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-7) == OPTIMIZERS[name].elementwise


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_and_counters_are_named(name, momentum):
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = make_optimizer([parameter], training(name, momentum))
    steps(optimizer, [parameter], torch.ones(1, 3))
    found = {each: (value.shape, value.dtype) for each, value in optimizer.state[parameter].items()}
    moments = dict.fromkeys(moments_of(training(name, momentum)), ((3,), torch.float32))
    counters = dict.fromkeys(OPTIMIZERS[name].counters, ((), torch.float32))
    assert found == {**moments, **counters}
    assert set(moments) in (set(), set(OPTIMIZERS[name].moments))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_momentum_is_heeded_where_the_table_says(name):
    gradients = torch.tensor([[1.0, 2.0, 3.0]] * 3)
    ends = []
    for momentum in (0.0, 0.9):
        parameter = torch.nn.Parameter(torch.ones(3))
        ends.append(steps(make_optimizer([parameter], training(name, momentum)), [parameter], gradients))
    assert (not torch.equal(*ends)) == OPTIMIZERS[name].takes_momentum
