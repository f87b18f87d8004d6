"""What a parameter is, where a norm or a mask of PyTorch's stands between a layer's weight and what is trained."""

from __future__ import annotations

from torch import nn

from redense.sparsity.parameters import Place, is_a

LIST = "torch.nn.utils.parametrize:ParametrizationList"
"""Holds what is trained of a tensor: ``layer.parametrizations.weight.original``, of weight_norm original0 and 1."""
FORMER_WEIGHT_NORM = "torch.nn.utils.weight_norm:WeightNorm"
FORMER = {
    FORMER_WEIGHT_NORM: ("name", "_v"),
    "torch.nn.utils.spectral_norm:SpectralNorm": ("name", "_orig"),
    "torch.nn.utils.prune:BasePruningMethod": ("_tensor_name", "_orig"),
}
"""Hooks that make a tensor before each forward pass, as ``module:class``: where they keep its name, and what ending has
the parameter in its place."""


def layer_of(place: Place) -> nn.Module:
    """Return the module whose parameter it is; a parametrization holds it for the layer that it is inside of."""
    return place.around[-3][1] if is_a(place.module, LIST) else place.module


def stands_for(place: Place) -> str | None:
    """Name the layer's tensor that a parameter is, or is trained in the place of; None for magnitudes of weight_norm.

    >>> from redense.sparsity.parameters import places
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> {place.name: stands_for(place) for place in places(layer)}  # doctest: +NORMALIZE_WHITESPACE
    {'bias': 'bias', 'parametrizations.weight.original0': None, 'parametrizations.weight.original1': 'weight'}
    """
    if is_a(place.module, LIST):
        return None if place.attribute == "original0" else place.around[-1][0].rpartition(".")[2]
    for hook in place.module._forward_pre_hooks.values():
        for kind, (called, ending) in FORMER.items():
            if is_a(hook, kind):
                tensor: str = getattr(hook, called)
                if place.attribute == tensor + ending:
                    return tensor
                if kind == FORMER_WEIGHT_NORM and place.attribute == f"{tensor}_g":
                    return None
    return place.attribute
