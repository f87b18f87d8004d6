"""Layers of a stack on the CPU: what `torch.func.vmap` makes of them by itself is slow there.

`vmap` turns K convolutions into one grouped convolution, whose channels lie in another order than the layers after it
want: every tensor is copied. Here each model's convolution is one of its own, channels-last as in the plain trainer,
and one with few inputs a filter (grey images, say) is a matrix product, which leaves its outputs where pooling and the
next layer read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

FEW_INPUTS = 32
"""Up to so many inputs a filter (channels times pixels), a convolution is a matrix product of patches."""


class StackedLayers(TorchFunctionMode):
    """Within the ``with`` block, layers under `vmap` are carried out as this module does it.

    >>> x, weight = torch.rand(3, 8, 1, 5, 5), torch.rand(3, 2, 1, 3, 3)
    >>> with StackedLayers():
    ...     found = torch.func.vmap(functional.conv2d)(x, weight)
    >>> torch.allclose(found[2], functional.conv2d(x[2], weight[2]), atol=1e-6)
    True
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Carry out a function of PyTorch."""
        return LAYERS.get(function, function)(*args, **(kwargs or {}))


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Compute `linear` so that the gradient of the weights lies in memory as they do, which spares the optimizer."""
    if input.dim() != 2:
        return functional.linear(input, weight, bias)
    outputs = (weight @ input.mT).mT
    return outputs if bias is None else outputs + bias.to(outputs.dtype)  # a product may be in bfloat16


def _conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> torch.Tensor:
    if input.dim() != 4 or isinstance(padding, str):
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    pairs = _pair(stride), _pair(padding), _pair(dilation)
    if groups == 1 and weight[0].numel() <= FEW_INPUTS:
        return _product(input, weight, bias, *pairs)
    tensors = (each if each is None else _as_autocast(each) for each in (input, weight, bias))
    found: torch.Tensor = _Convolution.apply(*tensors, *pairs, groups)
    return found


def _as_autocast(tensor: torch.Tensor) -> torch.Tensor:
    """Cast what a convolution is given as autocast would: its backward, written here, runs outside of it."""
    device = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else tensor


LAYERS: Mapping[Any, Callable[..., torch.Tensor]] = {functional.linear: _linear, functional.conv2d: _conv2d}
"""What takes the place of PyTorch's functions; arguments and results are the same."""


def _product(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> torch.Tensor:
    """Convolve by a product of patches and filters, with a one in every patch for the bias."""
    outputs, channels, *kernel = weight.shape
    x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    ends = [x.shape[2 + axis] - dilation[axis] * (kernel[axis] - 1) for axis in (0, 1)]
    parts = [
        x[:, c, top : top + ends[0] : stride[0], left : left + ends[1] : stride[1]]
        for c in range(channels)
        for top in range(0, dilation[0] * kernel[0], dilation[0])
        for left in range(0, dilation[1] * kernel[1], dilation[1])
    ]
    filters = weight.flatten(1)
    if bias is not None:
        parts.append(torch.ones_like(parts[0]))
        filters = torch.cat((filters, bias.unsqueeze(1)), 1)
    patches = torch.stack(parts)
    found = patches.flatten(1).mT @ filters.mT  # [n h w, outputs]: channels-last
    return found.view(*patches.shape[1:], outputs).permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    """`conv2d`, known to `vmap` as `_Convolutions`."""

    @staticmethod
    def forward(*inputs: Any) -> torch.Tensor:
        return functional.conv2d(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: what `vmap` does not see depends on no weight."""

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *inputs: Any) -> tuple[Any, int]:
        return _Convolutions.apply(*_stacked(info.batch_size, in_dims, inputs)), 0


class _Convolutions(torch.autograd.Function):
    """K convolutions one after the other: x [K, n, c, h, w], weight [K, o, c / groups, i, j], bias [K, o] or None."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *settings: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = settings
        biases = [None] * len(x) if bias is None else bias
        models = zip(map(_channels_last, x), weight, biases, strict=True)
        return _joined(functional.conv2d(*model, *settings) for model in models)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        *pairs, groups = ctx.settings
        rest = weight.shape[1:2], *pairs, False, (0, 0), groups, wanted
        models = zip(map(_channels_last, gradient), map(_channels_last, x), weight, strict=True)
        of_x, of_weight, of_bias = zip(
            *(torch.ops.aten.convolution_backward(*model, *rest) for model in models), strict=True
        )
        return (
            _joined(of_x) if wanted[0] else None,
            torch.stack(of_weight) if wanted[1] else None,
            torch.stack(of_bias) if wanted[2] else None,
            *[None] * len(ctx.settings),
        )


def _joined(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """Stack images [n, c, h, w], one after the other as they are made, channels-last."""
    return torch.stack([part.permute(0, 2, 3, 1) for part in parts]).permute(0, 1, 4, 2, 3)


def _stacked(models: int, in_dims: Sequence[int | None], inputs: Sequence[Any]) -> list[Any]:
    """Bring the models' dimension of what `vmap` hands over to the front; what all share gets one."""

    def stacked(value: Any, dim: int | None) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return value.expand(models, *value.shape) if dim is None else value.movedim(dim, 0)

    return [stacked(value, dim) for value, dim in zip(inputs, in_dims, strict=True)]


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second
