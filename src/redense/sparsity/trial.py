"""What an optimizer remembers between steps, tried out on stand-ins before training begins.

The stand-in is an optimizer of the same class and settings over parameters of its own, so that neither the model nor
the optimizer of the user changes, nor any random stream. It tells the step counters that restart with the moments, and
state that can be neither dropped nor masked: found here, it costs seconds, in the sparse phase all of the dense one.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn, optim

from redense.errors import FOREIGN, ModelError
from redense.sparsity.enforce import ELEMENTWISE, Enforcement
from redense.sparsity.moments import is_moment, reset_moments
from redense.sparsity.optimizers import Optimizers
from redense.sparsity.shards import local

Moments = Literal["reset", "keep"]
SHAPE = (128, 160)
"""Of a stand-in: large enough for optimizers that keep small tensors' state otherwise, and with sides of which no
square is a multiple of half its size, so that preconditioners are told from what is kept for every weight."""
STEPS = 10
"""Enough for optimizers that rest at first: in RAdam's first five the rate is 0."""
RATE = 1e-2
TOLERANCE = 1e-4
"""How far, in units of its largest change, a first step after a reset may be from a first step."""
OF_THE_USER = ("params", "lr", "initial_lr")
"""What of a parameter group is no step counter, whoever changes it."""
WAYS = ({"closure": False, "graph": False}, {"closure": True, "graph": False}, {"closure": False, "graph": True})
"""How an optimizer wants its gradients: before the step, from a closure, or with a graph for second derivatives."""


@dataclass(frozen=True)
class Memory:
    """What a trial has shown of an optimizer."""

    counters: frozenset[str] = frozenset()
    """Entries of parameter groups that the steps change."""
    stays: str = ""
    """What goes wrong with a first step when the moments have been reset."""
    unmasked: tuple[str, ...] = ()
    """State that is kept for every weight, in a form that cannot be masked."""
    fails: str = ""
    """What goes wrong with a step in the sparse phase."""
    keeps: str = ""
    """What goes wrong with a step after it, where the moments are kept."""


def step_counters(optimizers: Optimizers, moments: Moments) -> tuple[frozenset[str], ...]:
    """Name, for each inner optimizer, what of its parameter groups restarts with the moments.

    An optimizer whose stand-in cannot be made, or makes no step, is taken as it is. Raises `ModelError` for one whose
    state can be neither dropped nor masked as `moments` asks for.

    >>> net = nn.Linear(2, 1)
    >>> step_counters(Optimizers(optim.Adam(net.parameters())), "reset")
    (frozenset(),)
    """
    return tuple(_counters(optimizer, moments) for optimizer in optimizers.inner)


def _counters(optimizer: optim.Optimizer, moments: Moments) -> frozenset[str]:
    if type(optimizer) in ELEMENTWISE:  # known to keep moments and nothing else
        return frozenset()
    memory = _memory(optimizer)
    if memory is None:
        return frozenset()
    name = type(optimizer).__name__
    if memory.fails:
        raise ModelError(
            f"optimizer: {name} goes wrong with masks, as a trial on a stand-in shows ({memory.fails}); "
            "use another optimizer"
        )
    kept = f"{name} keeps {', '.join(memory.unmasked)} for every weight in a form that cannot be masked"
    if moments == "reset" and memory.stays:
        remedy = "use another optimizer" if memory.unmasked else 'use moments="keep"'
        raise ModelError(
            f"optimizer: the state of {name} does not restart between phases, as a trial on a stand-in shows "
            f"({memory.stays}); {remedy}"
        )
    if moments == "keep" and memory.unmasked:
        remedy = "use another optimizer" if memory.stays else 'use moments="reset"'
        raise ModelError(f"moments: got keep, but {kept}; {remedy}")
    if moments == "keep" and memory.keeps:
        raise ModelError(
            f"moments: got keep, but {name} goes wrong after a sparse phase, as a trial on a stand-in shows "
            f'({memory.keeps}); use moments="reset"'
        )
    return memory.counters


def _memory(optimizer: optim.Optimizer) -> Memory | None:
    """Try an optimizer out; None where nothing can be tried."""
    for way in WAYS:
        with _undisturbed(optimizer):
            try:
                trial, fresh = _Trial(optimizer, **way), _Trial(optimizer, **way)
                counters = trial.changed_by_steps()
            except FOREIGN:  # whatever a stranger's code raises, it raises without DSD, too
                continue
            unmasked = trial.unmasked()
            stays, fails = _failure(trial.restart, counters), _failure(fresh.sparse_steps)
            return Memory(counters, stays, unmasked, fails, fails or _failure(fresh.dense_steps))
    return None


def _failure(attempt: Callable[..., str], *arguments: Any) -> str:
    """Say what goes wrong with an attempt: what it says itself, or raises."""
    try:
        return attempt(*arguments)
    except FOREIGN as error:  # of a stranger's code, and what it is goes into the message
        return f"{type(error).__name__}: {error}"


@contextmanager
def _undisturbed(optimizer: optim.Optimizer) -> Iterator[None]:
    """Leave random streams as they are, and warnings to the training itself."""
    devices = {p.device for group in optimizer.param_groups for p in group["params"]}
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        with torch.random.fork_rng([device for device in devices if device.type == "cuda"]):
            yield


class _Trial:
    """An optimizer over stand-ins, one for each parameter group; raises whatever it raises."""

    def __init__(self, optimizer: optim.Optimizer, *, closure: bool, graph: bool) -> None:
        self._closure, self._graph = closure, graph
        self.model = nn.ParameterList(_stand_in(group["params"]) for group in optimizer.param_groups)
        self.optimizer = _same_kind(optimizer, list(self.model))
        self._first = [parameter.detach().clone() for parameter in self.model]
        if callable(train := getattr(self.optimizer, "train", None)):  # schedule-free ones say when they train
            train()

    def changed_by_steps(self) -> frozenset[str]:
        """Make some steps, and name what they change in the parameter groups."""
        before = [{name: _own(value) for name, value in group.items()} for group in self.optimizer.param_groups]
        self._steps()
        return frozenset(
            name
            for old, group in zip(before, self.optimizer.param_groups, strict=True)
            for name in set(group) - set(OF_THE_USER)
            if name not in old or _differ(old[name], group[name])
        )

    def restart(self, counters: frozenset[str]) -> str:
        """Say how a first step after a reset differs from the first step; nothing where it does not."""
        first = self._first_step(counters)
        self._steps()
        again = self._first_step(counters)
        if torch.allclose(first, again, rtol=0, atol=TOLERANCE * float(first.abs().max())):
            return ""
        ratio = float(again.norm() / first.norm())
        return f"the first step after the state was dropped is {ratio:.2g} times as long as the first one, or another"

    def unmasked(self) -> tuple[str, ...]:
        """Name the state that is kept for every weight and is no moment that can be masked."""
        found: dict[str, None] = {}
        for parameter, state in self.optimizer.state.items():
            if isinstance(parameter, torch.Tensor) and isinstance(state, Mapping):
                for name, value in state.items():
                    plain = isinstance(value, torch.Tensor) and is_moment(value, parameter)
                    if not plain and any(_of_every_weight(tensor, parameter) for tensor in _tensors(value)):
                        found[str(name)] = None
        return tuple(found)

    def sparse_steps(self) -> str:
        """Make steps without and with masks."""
        self._steps()
        if self._not_finite():  # so it goes without masks, too
            return ""
        masks = {name: torch.rand(p.shape) < 0.5 for name, p in self.model.named_parameters() if p.dim() > 1}
        masks = {name: mask.to(self.model.get_parameter(name).device) for name, mask in masks.items()}
        enforcement = Enforcement(self.model, Optimizers(self.optimizer), masks)
        self._steps(enforcement)
        enforcement.remove()
        return self._not_finite()

    def dense_steps(self) -> str:
        """Make further steps without masks."""
        self._steps()
        return self._not_finite()

    def _not_finite(self) -> str:
        return "" if all(bool(p.isfinite().all()) for p in self.model) else "weights become infinite or NaN"

    def _first_step(self, counters: frozenset[str]) -> torch.Tensor:
        """Reset all, make steps up to the first that moves anything, and return by how much parameters have moved."""
        with torch.no_grad():
            for parameter, first in zip(self.model, self._first, strict=True):
                parameter.copy_(first)
        reset_moments(self.optimizer, counters)
        for _ in range(STEPS):
            self._step()
            moves = zip(self.model, self._first, strict=True)
            moved = torch.cat([(parameter.detach() - first).float().flatten().cpu() for parameter, first in moves])
            if moved.any():
                break
        return moved

    def _steps(self, enforcement: Enforcement | None = None) -> None:
        for _ in range(STEPS):
            self._step(enforcement)

    def _step(self, enforcement: Enforcement | None = None) -> None:
        torch.manual_seed(0)
        self._backward()
        if enforcement:
            enforcement.before_step()
        self.optimizer.step(self._backward) if self._closure else self.optimizer.step()
        if enforcement:
            enforcement.after_step()

    def _backward(self) -> Any:
        self.optimizer.zero_grad()
        loss: Any = sum(((parameter - 0.1) ** 2).sum() for parameter in self.model)
        loss.backward(create_graph=self._graph)
        return loss


def _stand_in(parameters: list[nn.Parameter]) -> nn.Parameter:
    """Make a parameter like those of a group: of matrices, where there are any."""
    like = local(max(parameters, key=lambda parameter: parameter.dim() > 1).detach())
    shape = (*SHAPE, *[1] * (like.dim() - 2)) if like.dim() > 1 else SHAPE[:1]
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return nn.Parameter(values.to(dtype=like.dtype, device=like.device))


def _same_kind(optimizer: optim.Optimizer, parameters: list[nn.Parameter]) -> optim.Optimizer:
    """Make an optimizer of the same class and settings, but for the rate, which may be warming up from 0."""
    _, *names = inspect.signature(type(optimizer)).parameters
    known = {**{name: value for name, value in vars(optimizer).items() if name in names}, **optimizer.defaults}
    settings = {name: value for name, value in known.items() if name in names}
    groups = [
        {**{name: _own(value) for name, value in group.items()}, "params": [parameter], "lr": _rate(group["lr"])}
        for group, parameter in zip(optimizer.param_groups, parameters, strict=True)
    ]
    return type(optimizer)(groups, **{name: _own(value) for name, value in settings.items()})


def _own(value: Any) -> Any:
    """Copy what a step might change in place."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def _rate(rate: Any) -> Any:
    return torch.full_like(rate, RATE) if isinstance(rate, torch.Tensor) else RATE


def _differ(old: Any, new: Any) -> bool:
    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        return not torch.equal(old, new)
    return type(old) is not type(new) or bool(old != new)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a value of an optimizer's state."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))


def _of_every_weight(value: torch.Tensor, parameter: torch.Tensor) -> bool:
    """Tell whether a tensor keeps something for every weight, be it half a byte."""
    half = parameter.numel() // 2
    return parameter.dim() > 1 and value.numel() >= half and value.numel() % half == 0
