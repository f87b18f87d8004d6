"""Which models take integers as they are: those that begin with an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from redense.errors import FOREIGN
from redense.models.evaluation import evaluating

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def begins_with_embedding(model: nn.Module, inputs: Any) -> bool:
    """Tell whether the first layer with parameters that integers come to is an embedding.

    `inputs` are some, int64 [n, ...] or a mapping of keywords. That the model refuses them does not matter: which layer
    came first is known all the same.

    >>> tokens = torch.zeros(2, 5, dtype=torch.int64)
    >>> begins_with_embedding(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)), tokens)
    True
    >>> begins_with_embedding(nn.Linear(5, 3), tokens)
    False
    """
    if not any(isinstance(one, EMBEDDINGS) for one in model.modules()):
        return False
    reached: list[nn.Module] = []
    leaves = [one for one in model.modules() if not any(True for _ in one.children())]
    layers = [
        one for one in leaves if any(True for _ in one.parameters()) and not isinstance(one, torch.jit.ScriptModule)
    ]
    hooks = [layer.register_forward_pre_hook(lambda layer, _: reached.append(layer)) for layer in layers]
    try:
        with evaluating(model):
            model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    except FOREIGN:  # such as of a layer that takes no integers
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return bool(reached) and isinstance(reached[0], EMBEDDINGS)


def blank(model: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """Make two blank examples that a model takes: integers where it begins with an embedding, numbers elsewhere.

    >>> blank(nn.Embedding(9, 4), (5,)).dtype, blank(nn.Linear(5, 3), (5,)).shape
    (torch.int64, torch.Size([2, 5]))
    """
    integers = torch.zeros(2, *shape, dtype=torch.int64)
    return integers if begins_with_embedding(model, integers) else integers.float()
