"""How important each weight is: what is least important is pruned.

A saliency is a function of the model and its prunable parameters (name -> parameter) that returns, by name, tensors of
the parameters' shapes, 0 or more, higher = more important. Anybody can write one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from redense.arguments import Count, validated
from redense.errors import ModelError, RecipeError
from redense.seeding import generator

__all__ = ["gradient", "magnitude", "random"]

Saliency = Callable[[nn.Module, Mapping[str, nn.Parameter]], Mapping[str, torch.Tensor]]


@validated(ModelError)
def magnitude(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> Mapping[str, torch.Tensor]:
    """Take |w| (Han et al., "DSD", ICLR 2017).

    The weights themselves are returned: signs do not count in a saliency.
    """
    return {name: parameter.detach() for name, parameter in parameters.items()}


@validated(RecipeError)
def random(seed: Count = 0) -> Saliency:
    """Take chance: the control that tells a good choice from any. Tensors differ, a seed repeats.

    >>> net = torch.nn.Linear(2, 2)
    >>> first, again = (random(1)(net, {"weight": net.weight})["weight"] for _ in range(2))
    >>> torch.equal(first, again)
    True
    """

    def saliency(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, torch.Tensor]:
        drawn = {}
        for name, parameter in parameters.items():
            stream = generator(seed, "score", name)
            drawn[name] = torch.rand(parameter.shape, generator=stream).to(parameter.device)
        return drawn

    return saliency


@validated(RecipeError)
def gradient(loss: Callable[[nn.Module, Any], torch.Tensor], batches: Iterable[Any]) -> Saliency:
    """Take |w g|, g being the gradient of the mean loss over given batches.

    To first order this is how much the loss changes when the weight goes (Molchanov et al., "Pruning
    Convolutional Neural Networks", ICLR 2017; Lee et al., "SNIP", ICLR 2019). `loss` takes the model and a batch and
    returns a scalar; `batches` is gone through each time a mask is chosen. Gradients, buffers (batch norm's
    averages) and the mode of the model are as before afterwards. What it returns raises `ModelError` without batches.

    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> saliency = gradient(lambda net, x: net(x).sum(), [torch.tensor([[1.0, 0.0]])])
    >>> saliency(net, {"weight": net.weight})["weight"][0, 1].item()
    0.0
    """

    def saliency(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, torch.Tensor]:
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        sums = [torch.zeros_like(parameter) for parameter in parameters.values()]
        try:
            count = 0
            with torch.enable_grad():
                for batch in batches:
                    gradients = torch.autograd.grad(loss(model, batch), list(parameters.values()), allow_unused=True)
                    for total, own in zip(sums, gradients, strict=True):
                        if own is not None:
                            total.add_(own)
                    count += 1
        finally:
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    buffer.copy_(buffers[name])
        if count == 0:
            raise ModelError("gradient: got no batches; expected at least one (a generator is spent after one use)")
        pairs = zip(parameters.items(), sums, strict=True)
        return {name: (parameter.detach() * total / count).abs() for (name, parameter), total in pairs}

    return saliency


saliency = gradient
"""The former name of `gradient`."""
