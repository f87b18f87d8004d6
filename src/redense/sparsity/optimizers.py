"""The optimizers that train a model: one or several, wrapped or not.

A wrapper is an optimizer around another one, which makes the step. Masks, rates and moments are those of the inner one;
what the wrapper keeps for every weight (slow weights, for instance) is masked and restarted with them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import nn, optim

from redense.arguments import CHECKED
from redense.errors import ModelError
from redense.sparsity.moments import is_moment, reset_moments
from redense.sparsity.parameters import is_a

WRAPPERS = {
    "accelerate.optimizer:AcceleratedOptimizer": "optimizer",
    "lightning.pytorch.core.optimizer:LightningOptimizer": "_optimizer",
    "lightning.fabric.wrappers:_FabricOptimizer": "_optimizer",
    "lightning_fabric.wrappers:_FabricOptimizer": "_optimizer",
    "pytorch_lightning.core.optimizer:LightningOptimizer": "_optimizer",
    "opacus.optimizers.optimizer:DPOptimizer": "original_optimizer",
    "timm.optim.lookahead:Lookahead": "_base_optimizer",
    "torch_optimizer.lookahead:Lookahead": "optimizer",
    "pytorch_optimizer.optimizer.lookahead:Lookahead": "optimizer",
    "pytorch_optimizer.optimizer.sam:SAM": "base_optimizer",
}
"""Wrappers as ``module:class``, subclasses included, and the attribute that holds the inner optimizer."""

REFUSED = {
    "opacus.optimizers.optimizer_fast_gradient_clipping:DPOptimizerFastGradientClipping": (
        "ghost clipping makes no per-sample gradients that could be masked before they are clipped; use "
        "make_private(grad_sample_mode='hooks')"
    ),
    "deepspeed.runtime.base_optimizer:DeepSpeedOptimizer": (
        "DeepSpeed trains flat copies of the weights; use PyTorch's fully_shard"
    ),
}
"""Optimizers that DSD cannot be used with, and what to do instead."""


COLLECTIONS = (list, tuple, set, frozenset)
"""Where containers of optimizers keep them, besides mappings."""

AnyOptimizer = Annotated[optim.Optimizer | Sequence[optim.Optimizer], CHECKED]
"""One or several, checked by `Optimizers`."""


class Optimizers:
    """One or several optimizers, of which each weight is in one.

    Raises `ModelError` for what is no optimizer, wrappers that are not known, and weights that are in two.
    """

    def __init__(self, given: optim.Optimizer | Sequence[optim.Optimizer]) -> None:
        several = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if not several:
            raise ModelError("optimizer: got an empty list; expected one optimizer or several")
        chains = [_unwrapped(optimizer) for optimizer in several]
        self.inner: tuple[optim.Optimizer, ...] = tuple(chain[-1] for chain in chains)
        """Those that make the steps."""
        self.wrappers: tuple[optim.Optimizer, ...] = tuple(wrapper for chain in chains for wrapper in chain[:-1])
        self._refuse_shared()

    def refuse_unheld(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Raise `ModelError` for the first of the parameters that would be trained and that no optimizer holds."""
        held = {id(parameter) for parameter in self._parameters()}
        for name, parameter in parameters.items():
            if parameter.requires_grad and id(parameter) not in held:
                raise ModelError(
                    f"{name}: the optimizer does not hold this parameter; make it from model.parameters() "
                    "(after fully_shard), or exclude that layer"
                )

    def refuse_without_rates(self) -> None:
        """Raise `ModelError` where there is no learning rate that a factor could multiply."""
        if any("lr" not in group for optimizer in self.inner for group in optimizer.param_groups):
            raise ModelError("got an optimizer without a rate 'lr' in its parameter groups; expected one to multiply")

    def moments(self, parameter: nn.Parameter) -> Iterator[torch.Tensor]:
        """Yield what optimizers and wrappers keep for every single weight of a parameter."""
        for state in self._states():
            for value in state.get(parameter, {}).values():
                if is_moment(value, parameter):
                    yield value

    def reset(self, counters: Sequence[Collection[str]]) -> None:
        """Bring all optimizers back to where they were before the first step, the weights but for what they are.

        `counters` names, for each that makes steps, what of its parameter groups restarts, too.
        """
        for optimizer, names in zip(self.inner, counters, strict=True):
            reset_moments(optimizer, names)
        for wrapper in self.wrappers:
            for parameter, state in wrapper.state.items():
                for value in state.values():
                    if is_moment(value, parameter):
                        with torch.no_grad():
                            value.copy_(parameter)  # slow weights start from the present ones

    def all(self, test: Callable[[optim.Optimizer], bool]) -> bool:
        """Tell whether a test holds for all that make steps."""
        return all(test(optimizer) for optimizer in self.inner)

    def _states(self) -> list[Any]:
        """Return the states of all optimizers; some wrappers show that of the inner one."""
        states = (optimizer.state for optimizer in (*self.inner, *self.wrappers))
        return list({id(state): state for state in states}.values())

    def _parameters(self) -> Iterator[nn.Parameter]:
        for optimizer in self.inner:
            for group in optimizer.param_groups:
                yield from group["params"]

    def _refuse_shared(self) -> None:
        seen: dict[int, int] = {}
        for number, optimizer in enumerate(self.inner):
            for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
                if seen.setdefault(id(parameter), number) != number:
                    raise ModelError(
                        f"optimizer: a weight {tuple(parameter.shape)} is in two optimizers, {seen[id(parameter)]} and "
                        f"{number}; expected each in one"
                    )


def _unwrapped(optimizer: Any) -> list[optim.Optimizer]:
    """List an optimizer, what it wraps, and so on; the last one makes the step."""
    chain = [optimizer]
    while True:
        outer = chain[-1]
        _refuse(outer)
        attribute = next((attribute for kind, attribute in WRAPPERS.items() if is_a(outer, kind)), None)
        if attribute is None and _is_sam(outer):
            attribute = "base_optimizer"
        if attribute is None:
            _refuse_unknown_wrapper(outer)
            return chain
        chain.append(getattr(outer, attribute))


def _refuse(optimizer: Any) -> None:
    for kind, remedy in REFUSED.items():
        if is_a(optimizer, kind):
            raise ModelError(f"optimizer: got {type(optimizer).__name__}: {remedy}")
    if not isinstance(optimizer, optim.Optimizer):
        raise ModelError(f"optimizer: got {type(optimizer).__name__}; expected a torch.optim.Optimizer or several")


def _refuse_unknown_wrapper(optimizer: optim.Optimizer) -> None:
    """Raise `ModelError` for an optimizer that holds others: nobody knows which of them makes the step."""
    name = next((name for name, value in vars(optimizer).items() if _holds_optimizers(value)), None)
    if name is not None:
        kind, single = type(optimizer).__name__, isinstance(vars(optimizer)[name], optim.Optimizer)
        inner = f"optimizer.{name}" if single else f"those in optimizer.{name}"
        raise ModelError(
            f"optimizer: got {kind}, a wrapper that redense does not know; if {kind}.step() calls step() of {inner} "
            f"and changes no weights itself, give DSD {'' if single else 'a list of '}{inner}"
        )


def _holds_optimizers(value: object, depth: int = 3) -> bool:
    """Tell whether a value is an optimizer, or a collection of some, or of such collections up to a depth."""
    if isinstance(value, optim.Optimizer):
        return True
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, COLLECTIONS) else ()
    return depth > 0 and any(_holds_optimizers(each, depth - 1) for each in inside)


def _is_sam(optimizer: object) -> bool:
    """Tell whether it is the SAM of github.com/davda54/sam, a file that people copy into their projects."""
    return type(optimizer).__name__ == "SAM" and hasattr(type(optimizer), "second_step")
