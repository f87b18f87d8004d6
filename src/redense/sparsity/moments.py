"""What an optimizer remembers between steps, and how it forgets."""

from __future__ import annotations

import torch
from torch import optim

from redense.sparsity.zeros import all_zero


def reset_moments(optimizer: optim.Optimizer) -> None:
    """Bring an optimizer's state back to what it was before its first step.

    Nearly every optimizer makes its state at the first step, so it is enough to drop it. Adagrad makes it
    when it is constructed. Another optimizer that does so, too, is an error at its next step: keep its moments.

    >>> net = torch.nn.Linear(1, 1)
    >>> adam = torch.optim.Adam(net.parameters())
    >>> net(torch.ones(1)).backward()
    >>> adam.step()
    >>> reset_moments(adam)
    >>> len(adam.state)
    0
    """
    if not isinstance(optimizer, optim.Adagrad):
        optimizer.state.clear()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            state["step"].zero_()
            with torch.no_grad():
                state["sum"].fill_(group["initial_accumulator_value"])


def is_moment(value: object, parameter: torch.Tensor) -> bool:
    """Tell whether an optimizer keeps a value for every single weight; of integers nobody knows what they stand for."""
    return isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.is_floating_point()


def moves_nothing(optimizer: optim.Optimizer) -> bool:
    """Recognise the step by which `torch.distributed.checkpoint` makes an optimizer's state: no rate, no gradients.

    The rate it sets is a number, or a tensor on the CPU; one on a GPU is not waited for. All ranks answer alike.
    """
    for group in optimizer.param_groups:
        rate = group["lr"]
        if isinstance(rate, torch.Tensor) and rate.device.type != "cpu":
            return False
        if rate != 0:
            return False
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return all_zero(gradients)
