"""A multilayer perceptron for tables."""

from __future__ import annotations

import itertools
import math

from torch import nn

HIDDEN = (512, 256, 128)


def mlp(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Build a perceptron with hidden layers of 512, 256 and 128 units and ReLU; inputs are flattened.

    >>> import torch
    >>> mlp((446,), 30)(torch.zeros(2, 446)).shape
    torch.Size([2, 30])
    """
    widths = (math.prod(input_shape), *HIDDEN)
    hidden = [layer for before, after in itertools.pairwise(widths) for layer in (nn.Linear(before, after), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], num_classes))
