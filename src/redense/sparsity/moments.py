"""What an optimizer remembers between steps, and how it forgets."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import optim

from redense.sparsity.shards import is_sharded
from redense.sparsity.zeros import all_zero


def reset_moments(optimizer: optim.Optimizer, counters: Collection[str] = ()) -> None:
    """Bring an optimizer's state back to what it was before its first step.

    Nearly every optimizer makes its state at the first step, so it is enough to drop it. Adagrad makes it when it is
    constructed. `counters` names what its steps change in the parameter groups (`redense.sparsity.trial` finds them):
    that gets its default back or, where there is none, goes.

    >>> net = torch.nn.Linear(1, 1)
    >>> adam = torch.optim.Adam(net.parameters())
    >>> net(torch.ones(1)).backward()
    >>> adam.step()
    >>> reset_moments(adam)
    >>> len(adam.state)
    0
    """
    for group in optimizer.param_groups:
        for name in counters:
            if name in optimizer.defaults:
                group[name] = optimizer.defaults[name]
            else:
                group.pop(name, None)
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
    """Tell whether an optimizer keeps a plain number for every single weight, or several (AdEMAMix of bitsandbytes).

    Of integers and of tensors of other classes (8 bits and fewer) nobody knows what they stand for.
    """
    return (
        isinstance(value, torch.Tensor)
        and value.dim() >= parameter.dim()
        and value.shape[value.dim() - parameter.dim() :] == parameter.shape
        and value.is_floating_point()
        and (type(value) in (torch.Tensor, torch.nn.Parameter) or is_sharded(value))
    )


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
