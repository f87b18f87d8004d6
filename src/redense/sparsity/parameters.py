"""The parameters of anybody's model, under the names that they have in the bare model.

``torch.compile``, data parallelism and others put a model into another module, which puts its own word before every
name: ``_orig_mod.fc.weight``. Masks, states and patterns are those of the model, however it is wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from redense.errors import ModelError

COPIED = "peft.utils.other:ModulesToSaveWrapper"
"""A layer of which PEFT trains a copy for each adapter, and keeps the original beside them."""
WRAPPERS = {
    "torch._dynamo.eval_frame:OptimizedModule": "_orig_mod",
    "torch.nn.parallel.distributed:DistributedDataParallel": "module",
    "torch.nn.parallel.data_parallel:DataParallel": "module",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper:ActivationWrapper": "_checkpoint_wrapped_module",
    "torch.optim.swa_utils:AveragedModel": "module",
    "lightning.fabric.wrappers:_FabricModule": "_forward_module",
    "lightning_fabric.wrappers:_FabricModule": "_forward_module",
    "timm.utils.model_ema:ModelEma": "ema",
    "timm.utils.model_ema:ModelEmaV2": "module",
    "timm.utils.model_ema:ModelEmaV3": "module",
    "opacus.grad_sample.grad_sample_module:GradSampleModule": "_module",
    "peft.peft_model:PeftModel": "base_model",
    "peft.tuners.tuners_utils:BaseTuner": "model",
    "peft.tuners.tuners_utils:BaseTunerLayer": "base_layer",
    COPIED: "modules_to_save",
}
"""Modules that wrap a model, as ``module:class``, and the attribute that holds it."""


def is_a(value: object, name: str) -> bool:
    """Tell whether a value is of a class, given as ``module:class``, or of one that inherits from it.

    The module of that class is not imported: where nobody has, there is no such value.

    >>> is_a(nn.Linear(1, 1), "torch.nn.modules.linear:Linear"), is_a(nn.ReLU(), "torch.nn.modules.linear:Linear")
    (True, False)
    """
    return any(f"{kind.__module__}:{kind.__qualname__}" == name for kind in type(value).__mro__)


@dataclass(frozen=True)
class Place:
    """Where a parameter lies: `name` in the bare model, in `module` under `attribute`, inside of `around`."""

    name: str
    parameter: nn.Parameter
    module: nn.Module
    attribute: str
    around: tuple[tuple[str, nn.Module], ...]
    """The modules that contain it, by bare name, from the outermost to its own."""


def places(model: nn.Module) -> list[Place]:
    """List all places at which a model holds parameters, in the order of `named_parameters`; shared ones repeat.

    Raises `ModelError` for lazy parameters, which have no shape yet, and for what is no module, nor a wrapper of one.
    """
    found: list[Place] = []
    _collect(_module_of(model), "", (), found, set())
    return found


def bare(model: nn.Module) -> nn.Module:
    """Return the model inside of wrappers that compute what it does; adapters compute something else, and stay.

    >>> type(bare(nn.DataParallel(nn.Linear(2, 1)))).__name__
    'Linear'
    """
    inside: object = model
    while (holder := _plain_holder(inside)) is not None:
        inside = getattr(inside, holder)
    return _module_of(inside)


def bare_state(model: nn.Module) -> dict[str, Any]:
    """Return the state_dict of the bare model, also where parts of it are wrapped; adapters keep their names.

    >>> list(bare_state(nn.DataParallel(nn.Sequential(nn.DataParallel(nn.Linear(2, 1))))))
    ['0.weight', '0.bias']
    """
    inside = bare(model)
    wrapped = {name: _plain_holder(module) for name, module in inside.named_modules(remove_duplicate=False)}
    before = [f"{name}.{holder}." for name, holder in wrapped.items() if holder is not None]
    state = dict(inside.state_dict())
    for prefix in sorted(before, key=len, reverse=True):  # from the innermost
        outer = prefix.removesuffix(".").rpartition(".")[0]
        state = {
            f"{outer}.{name.removeprefix(prefix)}" if name.startswith(prefix) else name: value
            for name, value in state.items()
        }
    return state


def named(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters by their names in the bare model; one that several modules share, under its first name.

    >>> list(named(nn.DataParallel(nn.Linear(2, 1))))
    ['weight', 'bias']
    """
    seen: set[int] = set()
    first = {}
    for place in places(model):
        if id(place.parameter) not in seen:
            seen.add(id(place.parameter))
            first[place.name] = place.parameter
    return first


def _module_of(model: object) -> nn.Module:
    """Return a module, or the one in a wrapper that is none itself (timm's first ModelEma)."""
    holder = _holder(model)
    inside = getattr(model, holder) if holder is not None and not isinstance(model, nn.Module) else model
    if not isinstance(inside, nn.Module):
        raise ModelError(f"model: got {type(model).__name__}; expected a torch.nn.Module")
    return inside


def _holder(module: object) -> str | None:
    """Name the attribute in which a wrapper holds the model; None for what is no wrapper."""
    return next((attribute for kind, attribute in WRAPPERS.items() if is_a(module, kind)), None)


def _plain_holder(module: object) -> str | None:
    """Name the attribute in which a wrapper holds a model that computes the same; None for others, and adapters."""
    return None if type(module).__module__.startswith("peft.") else _holder(module)


def _collect(
    module: nn.Module, name: str, around: tuple[tuple[str, nn.Module], ...], found: list[Place], walked: set[int]
) -> None:
    """Add the places inside of a module that is called `name`; every module is walked through once."""
    if id(module) in walked:
        return
    walked.add(id(module))
    around = (*around, (name, module))
    for attribute, parameter in module._parameters.items():
        if parameter is not None:
            own = f"{name}.{attribute}".lstrip(".")
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise ModelError(f"{own}: got a lazy parameter, which has no shape yet; send one batch through first")
            found.append(Place(own, parameter, module, attribute, around))
    wrapped = _holder(module)
    for attribute, child in _children(module):
        if child is not None:
            _collect(child, name if attribute == wrapped else f"{name}.{attribute}".lstrip("."), around, found, walked)


def _children(module: nn.Module) -> Iterable[tuple[str, nn.Module | None]]:
    """List a module's own modules by attribute; of a layer with copies the active one alone, which computes."""
    if not is_a(module, COPIED):
        return module._modules.items()
    copies: Any = module
    active = [name for name in copies.active_adapters if name in copies.modules_to_save]
    return [("modules_to_save", copies.modules_to_save[name]) for name in active[:1]]
