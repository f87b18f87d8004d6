"""The one way in for tensors in safetensors files."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load


def tensors_of(content: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors that the content of a safetensors file holds; raise `ValueError` for one that cannot be read.

    >>> tensors_of(b"no length and no header")
    Traceback (most recent call last):
    ...
    ValueError: Error while deserializing: header too large
    """
    try:
        return load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    except KeyError as error:  # safetensors knows more types than it can give PyTorch
        raise ValueError(f"it holds values of type {error}, which cannot be read") from None
