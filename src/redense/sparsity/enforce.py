"""Keep pruned weights, their gradients and their optimizer moments at zero, step after step.

Masking gradients alone is not enough: old moments and weight decay move weights whose gradient is zero. So the
moments are cleared on entry. From then on gradients are masked as soon as they are there, before anything can
look at them (`clip_grad_norm_`, closures, DDP's all-reduce). For optimizers that treat every weight by
itself, zero gradient, zero moment and zero weight give zero again; after steps of any other optimizer, weights and
moments are masked too.

Weights that were written between two steps (``load_state_dict``, noise) are told by PyTorch's count of changes, and are
masked again before the next step; so are moments when the optimizer has loaded a state.

A mask is -1 (keep) or 0 for every weight, combined with its bits, so that a pruned weight becomes +0.0 whatever was
there, NaN and infinity included. On the CPU it is as wide as the weights: one call, one pass over a gradient that has
just been computed. Masks of large models, and on other devices, cost one byte a weight: int8, which the CPU widens a
block at a time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn, optim

from redense.arguments import validated
from redense.errors import ModelError
from redense.sparsity.keys import INTEGER
from redense.sparsity.masks import Masks
from redense.sparsity.optimizers import AnyOptimizer, Optimizers
from redense.sparsity.parameters import named
from redense.sparsity.per_sample import Removable, before_clipping, of_samples
from redense.sparsity.shards import is_sharded, like, local

ELEMENTWISE = (
    optim.SGD, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adagrad, optim.Adadelta, optim.RMSprop
)  # fmt: skip
"""Optimizers that leave a weight at zero when its gradient and moments are zero (subclasses may not)."""
WIDE = 1 << 24
"""Up to so many masked weights in a process, masks on the CPU are as wide as the weights: 64 MiB in float32."""
BLOCK = 1 << 19
"""Weights whose masks are widened at a time, into one buffer; smaller blocks are not faster."""
SMALL = 1 << 15
"""Up to so many weights go at once."""
_THREAD = threading.local()


@contextmanager
@validated(ModelError)
def masked(model: nn.Module, optimizer: AnyOptimizer, masks: Masks) -> Iterator[None]:
    """Hold the pruned weights of `model` at zero while the body trains with `optimizer`, or with several.

    `masks` are bool tensors by the names of parameters, True for a weight that is kept, as `redense.choose_masks` has
    them. On entry pruned weights and their moments become exactly 0, and after every ``optimizer.step()`` in the body
    they are 0 again. Gradients of pruned weights are 0 after ``backward()``. On exit the hooks go and nothing else
    changes. The model is not wrapped: names, ``state_dict`` and ``deepcopy`` work as ever.

    Raises `ModelError`, before anything is changed, when a mask names no parameter of the model, has another
    shape, or belongs to a parameter that the optimizer does not hold.

    >>> net = torch.nn.Linear(2, 1)
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with masked(net, sgd, {"weight": torch.tensor([[True, False]])}):
    ...     net(torch.ones(1, 2)).sum().backward()
    ...     sgd.step()
    >>> net.weight[0, 1].item()
    0.0
    """
    optimizers = Optimizers(optimizer)
    enforcement = Enforcement(model, optimizers, masks)
    handles = [
        handle
        for inner in optimizers.inner
        for handle in (
            inner.register_step_pre_hook(uncompiled(enforcement.before_step)),
            inner.register_step_post_hook(uncompiled(enforcement.after_step)),
        )
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        enforcement.remove()


def uncompiled(action: Callable[[], None]) -> Callable[..., None]:
    """Make a step hook of an action that ``torch.compile`` of the step leaves alone: it looks at more than tensors."""

    def hook(*_: object) -> None:
        action()

    # making an optimizer has imported the compiler already, so that this costs no time
    disabled: Callable[..., None] = torch.compiler.disable(hook)
    return disabled


def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Set to +0.0 what masks prune, in another model that has these parameters: a copy, an average, a merged one.

    Names are those of the bare models, however either is wrapped. Raises `ModelError`, before anything is changed, when
    a parameter is missing or has another shape.

    >>> net = nn.Linear(2, 1)
    >>> apply_masks(nn.DataParallel(net), {"weight": torch.tensor([[True, False]])})
    >>> net.weight[0, 1].item()
    0.0
    """
    with torch.no_grad():
        for parameter, mask in _paired(model, masks):
            zero_where(local(parameter), _as_keep(parameter, mask))


class Enforcement:
    """Masks in force. Construction zeroes what is pruned; `before_step` and `after_step` belong around every step.

    Raises as `masked`.
    """

    def __init__(self, model: nn.Module, optimizers: Optimizers, masks: Masks) -> None:
        parameters = _matched(model, optimizers, masks)
        self.optimizers = optimizers
        self.parameters = parameters
        self._zeros_stay = optimizers.all(_leaves_zeros)
        wide = sum(local(parameter).numel() for parameter in parameters.values()) <= WIDE
        self._keep = {id(parameters[name]): _as_keep(parameters[name], mask, wide) for name, mask in masks.items()}
        self._masked_gradients: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}
        self._versions: list[int] = []
        """How often the weights had been changed when they were last known to be masked; empty: never."""
        with torch.no_grad():
            for parameter in parameters.values():
                self._zero_gradient(parameter)
            self._zero_weights_and_moments()
        self._hooks: list[Removable] = [
            *(self._watch(p, self._keep[id(p)]) for p in parameters.values() if p.requires_grad),
            *before_clipping(optimizers.wrappers, self._zero_per_sample),
            *(inner.register_load_state_dict_post_hook(self._forget) for inner in optimizers.inner),
        ]
        self._versions = self._counted()

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """The masks as bools, made anew: parameter name -> bool, sharded like the parameter; True = kept."""
        return {name: like(self._keep[id(p)] != 0, p) for name, p in self.parameters.items()}

    @property
    def mask_bytes(self) -> int:
        """The memory that the masks take in this process."""
        return sum(keep.numel() * keep.element_size() for keep in self._keep.values())

    def before_step(self) -> None:
        """Mask the gradients that were set or changed since `backward()` left them masked, and weights written."""
        if self._zeros_stay and self._versions != self._counted():
            with torch.no_grad():
                self._zero_weights_and_moments()
        for parameter in self.parameters.values():
            gradient = parameter.grad
            if gradient is None:
                continue
            seen = self._masked_gradients.get(id(parameter))
            if seen is None or seen[0]() is not gradient or seen[1] != gradient._version:
                with torch.no_grad():
                    self._zero_gradient(parameter)

    def after_step(self) -> None:
        """Mask weights and moments, unless the optimizer is known to leave zeros alone."""
        if not self._zeros_stay:
            with torch.no_grad():
                self._zero_weights_and_moments()
        self._versions = self._counted()

    def remove(self) -> None:
        """Take the hooks off the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _counted(self) -> list[int]:
        return [parameter._version for parameter in self.parameters.values()]

    def _forget(self, _: optim.Optimizer) -> None:
        """Take the optimizer's moments, which were loaded, for unmasked."""
        self._versions = []

    def _zero_per_sample(self) -> None:
        with torch.no_grad():
            for parameter in self.parameters.values():
                for gradients in of_samples(parameter):
                    zero_where(gradients, self._keep[id(parameter)])

    def _watch(self, parameter: nn.Parameter, keep: torch.Tensor) -> torch.utils.hooks.RemovableHandle:
        """Mask the parameter's gradient whenever `backward()` has added to it, and note that it is masked.

        This runs in every step for every tensor, so it does no more than it must.
        """
        masked_gradients, reference, sharded = self._masked_gradients, weakref.ref, is_sharded(parameter)

        def after_accumulation(parameter: torch.Tensor) -> None:
            gradient = parameter.grad
            if gradient is None:
                return
            if sharded or gradient.requires_grad or gradient.layout is not torch.strided:
                with torch.no_grad():
                    self._zero_gradient(parameter)
                return
            zero_where(gradient, keep)
            masked_gradients[id(parameter)] = reference(gradient), gradient._version

        handle: torch.utils.hooks.RemovableHandle = parameter.register_post_accumulate_grad_hook(after_accumulation)
        return handle

    def _zero_gradient(self, parameter: torch.Tensor) -> None:
        gradient, keep = parameter.grad, self._keep[id(parameter)]
        if gradient is None:
            return
        if gradient.layout is torch.sparse_coo:
            zero_where(gradient._values(), keep[gradient._indices()[0]])
        else:
            zero_where(local(gradient), keep)

    def _zero_weights_and_moments(self) -> None:
        for parameter in self.parameters.values():
            keep = self._keep[id(parameter)]
            zero_where(local(parameter), keep)
            for moment in self.optimizers.moments(parameter):
                zero_where(local(moment), keep)


def zero_where(values: torch.Tensor, keep: torch.Tensor) -> None:
    """Set `values` to +0.0 in place where `keep` is 0; they may have more dimensions before its.

    `keep` is -1 or 0, of any type of integers; as wide as the values is fastest.
    """
    if values.dtype not in INTEGER:
        values.mul_(keep != 0)
        return
    bits = values.view(INTEGER[values.dtype])
    n = bits.numel()
    if keep.dtype == bits.dtype or n <= SMALL or bits.device.type != "cpu" or bits.stride() != keep.stride():
        bits.bitwise_and_(keep)
        return
    flat, flat_keep, wide = bits.as_strided((n,), (1,)), keep.as_strided((n,), (1,)), _scratch(bits.dtype)
    if n <= BLOCK:
        flat.bitwise_and_(wide[:n].copy_(flat_keep))
        return
    for block, block_keep in zip(flat.split(BLOCK), flat_keep.split(BLOCK), strict=True):
        block.bitwise_and_(wide[: len(block)].copy_(block_keep))


def _scratch(dtype: torch.dtype) -> torch.Tensor:
    """Return this thread's room for a block of widened masks: fresh memory would cost more than the masking."""
    room: torch.Tensor | None = getattr(_THREAD, str(dtype), None)
    if room is None or room.numel() < BLOCK:
        room = torch.empty(BLOCK, dtype=dtype)
        setattr(_THREAD, str(dtype), room)
    return room


def _matched(model: nn.Module, optimizers: Optimizers, masks: Masks) -> dict[str, nn.Parameter]:
    """Find the parameters that masks belong to."""
    pairs = _paired(model, masks)
    matched = {name: parameter for name, (parameter, _) in zip(masks, pairs, strict=True)}
    optimizers.refuse_unheld(matched)
    return matched


def _paired(model: nn.Module, masks: Masks) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Pair each mask, in their order, with the parameter that it belongs to."""
    parameters = named(model)
    for name, mask in masks.items():
        if name not in parameters:
            raise ModelError(f"mask {name!r}: the model has no such parameter; make the masks from this model")
        parameter = parameters[name]
        if mask.shape != parameter.shape or local(mask).shape != local(parameter).shape:
            raise ModelError(f"mask {name!r}: got shape {tuple(mask.shape)}; expected {tuple(parameter.shape)}")
    return [(parameters[name], mask) for name, mask in masks.items()]


def _as_keep(parameter: nn.Parameter, mask: torch.Tensor, wide: bool = False) -> torch.Tensor:
    """Turn a bool mask into -1 and 0, laid out in memory like its parameter, without gaps; int8, if not `wide`."""
    weights = local(parameter.detach())
    on_cpu = weights.device.type == "cpu"
    dtype = INTEGER.get(weights.dtype, torch.int8) if wide and on_cpu else torch.int8
    return torch.empty_like(weights, dtype=dtype).copy_(local(mask)).neg_()


def _leaves_zeros(optimizer: optim.Optimizer) -> bool:
    """Tell whether a weight of zero with zero gradient and moments surely stays zero.

    An update 0 / (0 + eps) must be 0, and the usual eps of 1e-8 is no more than 0 in float16.
    """
    return type(optimizer) in ELEMENTWISE and all(
        group.get("eps", 1.0) > torch.finfo(parameter.dtype).smallest_normal
        for group in optimizer.param_groups
        for parameter in group["params"]
    )
