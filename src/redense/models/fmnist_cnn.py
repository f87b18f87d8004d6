"""The published network for Fashion-MNIST: two convolutions, two dense layers, 421,576 parameters."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from redense.errors import ModelError


class FmnistCNN(nn.Sequential):
    """The published network, its layers in the published order and with Keras's names and initial values.

    Inputs [n, channels, height, width] in [0, 1]; outputs logits [n, num_classes].

    `forward` computes the function that the sequence of layers defines, and its gradient, in less time:

    - max-pooling comes before ReLU, which then has a quarter of the work (both are monotone, so they commute;
      the gradient is the same too, also at ties);
    - rows and columns that pooling leaves out are not computed: at 28x28, the second pooling reads 10 of 11 rows
      of the second convolution, which therefore needs 12 of 13 rows of the first pooling, which needs 26 of the 28 rows
      of the image.

    >>> sum(p.numel() for p in FmnistCNN((1, 28, 28), 10).parameters())
    421576
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        if len(input_shape) != 3 or min(input_shape[1:]) < 10:
            raise ModelError(
                f"model fmnist-cnn: got inputs of shape {input_shape}; expected (channels, height, width) "
                "of at least 10x10 pixels; use --model mlp for tables"
            )
        channels, height, width = input_shape
        rows, columns = _pooled_twice(height), _pooled_twice(width)
        super().__init__(
            OrderedDict(
                conv2d=nn.Conv2d(channels, 32, 3),
                relu=nn.ReLU(),
                max_pooling2d=nn.MaxPool2d(2),
                conv2d_1=nn.Conv2d(32, 64, 3),
                relu_1=nn.ReLU(),
                max_pooling2d_1=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                dense=nn.Linear(64 * rows * columns, 250),
                relu_2=nn.ReLU(),
                dense_1=nn.Linear(250, num_classes),
            )
        )
        self.needed = _needed(rows), _needed(columns)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the logits [n, num_classes] of images [n, channels, height, width]."""
        rows, columns = self.needed
        conv2d, relu, max_pooling2d, conv2d_1, relu_1, max_pooling2d_1, *dense_layers = self
        x = input[..., :rows, :columns]
        for layer in (conv2d, max_pooling2d, relu, conv2d_1, max_pooling2d_1, relu_1, *dense_layers):
            x = layer(x)
        return x


def _pooled_twice(size: int) -> int:
    """Size of one side after convolution, pooling, convolution, pooling."""
    return ((size - 2) // 2 - 2) // 2


def _needed(pooled: int) -> int:
    """How much of one side of the image influences `pooled` rows after the second pooling: 5 -> 26."""
    return 2 * (2 * pooled + 2) + 2
