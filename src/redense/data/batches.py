"""Examples on their way to a model: resident on its device, scaled one batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from redense.data.dataset import Dataset


@dataclass(frozen=True)
class TensorData:
    """The arrays of a `Dataset` as tensors on one device, inputs as they are stored (uint8, float32 or int64)."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    num_classes: int
    x_validation: torch.Tensor | None = None
    y_validation: torch.Tensor | None = None

    @classmethod
    def of(cls, dataset: Dataset, device: str = "cpu") -> TensorData:
        """Move a data set to a device; on the CPU nothing is copied."""
        tensors = {name: torch.from_numpy(array).to(device) for name, array in dataset.arrays.items()}
        return cls(**tensors, num_classes=dataset.num_classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.x_train.shape[1:])


def examples_to_try(data: Dataset) -> torch.Tensor:
    """Return two examples [2, ...] as a model gets them, to try it with before it is trained.

    Blank ones; of integers, those that hold the smallest and the largest of all, for which an embedding must have a
    place.
    """
    if data.x_train.dtype != np.int64:
        return torch.zeros(2, *data.input_shape)
    rows = [x.reshape(len(x), -1) for x in data.inputs.values()]
    smallest = min((of_part[of_part.min(axis=1).argmin()] for of_part in rows), key=np.min)
    largest = max((of_part[of_part.max(axis=1).argmax()] for of_part in rows), key=np.max)
    return torch.from_numpy(np.stack((smallest, largest))).reshape(2, *data.input_shape)


def scaled(batch: torch.Tensor) -> torch.Tensor:
    """Scale stored pixels to [0, 1]; other numbers stay what they are.

    >>> scaled(torch.tensor([[0, 255]], dtype=torch.uint8)).tolist()
    [[0.0, 1.0]]
    """
    if batch.dtype == torch.uint8:
        return batch.float().div_(255)
    in_8_bits = batch.is_floating_point() and batch.element_size() == 1  # in which nothing computes
    return batch.float() if in_8_bits else batch


def as_input(batch: torch.Tensor) -> torch.Tensor:
    """Make stored examples a model's input: `scaled`, and images channels-last.

    Channels-last is the memory layout in which convolutions are fastest on CPU; the shape stays [n, c, h, w].
    """
    inputs = scaled(batch)
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs
