"""Models in evaluation mode, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Run the body with the model in evaluation mode; each module's own mode comes back, also after an error.

    A layer that its user froze in evaluation mode inside a model in training mode stays frozen.

    >>> model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    >>> frozen = model[0].eval()
    >>> with evaluation_mode(model):
    ...     [module.training for module in model]
    [False, False]
    >>> [module.training for module in model]
    [False, True]
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run the body in `evaluation_mode` and without gradients.

    Not in PyTorch's inference mode: what a model keeps of an evaluation, such as a mask, must do for training, too.
    """
    with evaluation_mode(model), torch.no_grad():
        yield
