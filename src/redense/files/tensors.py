"""The one way in for tensors and metadata in safetensors files."""

from __future__ import annotations

import json

import torch
from safetensors import SafetensorError
from safetensors.torch import load

METADATA = "__metadata__"
"""A name that safetensors itself uses."""


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


def metadata_of(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file that `tensors_of` has read.

    The file is a length of 8 bytes and so much JSON before the tensors.

    >>> from safetensors.torch import save
    >>> metadata_of(save({"weight": torch.ones(3)}, {"made by": "hand"}))
    {'made by': 'hand'}
    """
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get(METADATA, {}))
