"""Keep pruned weights, their gradients and their optimizer moments at zero, step after step.

Masking gradients alone is not enough: an optimizer's old moments and weight decay move weights whose
gradient is zero. So the moments are cleared on entry, gradients are masked before every step, which keeps
the moments at zero, and the weights are masked after it, which holds for optimizers of any kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from redense.errors import ModelError
from redense.sparsity.masks import Masks


@contextmanager
def masked(model: torch.nn.Module, optimizer: torch.optim.Optimizer, masks: Masks) -> Iterator[None]:
    """Hold the pruned weights of `model` at zero while the body trains with `optimizer`.

    On entry pruned weights and their moments become exactly 0. After every ``optimizer.step()`` in the
    body they and their gradients are 0 again. On exit the hooks go and nothing else changes. The model is not
    wrapped: names, ``state_dict`` and ``deepcopy`` work as ever.

    Raises `ModelError`, before anything is changed, when a mask names no parameter of the model, has another
    shape, or belongs to a parameter that the optimizer does not hold.

    >>> net = torch.nn.Linear(2, 1)
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with masked(net, sgd, {"weight": torch.tensor([[True, False]])}):
    ...     net(torch.ones(1, 2)).sum().backward()
    ...     sgd.step()
    >>> net.weight[0, 1].item()
    0.0
    """
    multipliers = _multipliers(model, optimizer, masks)
    with torch.no_grad():
        for parameter, multiplier in multipliers.items():
            pruned = multiplier == 0
            parameter[pruned] = 0
            for moment in _moments(optimizer, parameter):
                moment[pruned] = 0

    def mask_gradients(*_: Any) -> None:
        with_gradient = [(p.grad, m) for p, m in multipliers.items() if p.grad is not None]
        if with_gradient:
            gradients, factors = zip(*with_gradient, strict=True)
            torch._foreach_mul_(list(gradients), list(factors))

    def mask_weights(*_: Any) -> None:
        with torch.no_grad():
            torch._foreach_mul_(list(multipliers), list(multipliers.values()))

    handles = [
        optimizer.register_step_pre_hook(mask_gradients),
        optimizer.register_step_post_hook(mask_weights),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _multipliers(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, masks: Masks
) -> dict[torch.nn.Parameter, torch.Tensor]:
    """Turn masks into 0/1 tensors laid out like their parameters (a bool mask multiplies 8 times slower on CPU)."""
    parameters = dict(model.named_parameters())
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    multipliers = {}
    for name, mask in masks.items():
        if name not in parameters:
            raise ModelError(f"mask {name!r}: the model has no such parameter; make the masks from this model")
        parameter = parameters[name]
        if mask.shape != parameter.shape:
            raise ModelError(f"mask {name!r}: got shape {tuple(mask.shape)}; expected {tuple(parameter.shape)}")
        if id(parameter) not in held:
            raise ModelError(f"{name}: the optimizer does not hold this parameter; make it from model.parameters()")
        multipliers[parameter] = torch.empty_like(parameter, requires_grad=False).copy_(mask)
    return multipliers


def _moments(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> list[torch.Tensor]:
    """List what the optimizer keeps for every single weight of the parameter."""
    state = optimizer.state.get(parameter, {})
    return [value for value in state.values() if isinstance(value, torch.Tensor) and value.shape == parameter.shape]
