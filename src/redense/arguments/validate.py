"""The decorator that checks arguments."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from redense.arguments.types import fit
from redense.arguments.words import Unfit, described
from redense.errors import ArgumentError, RedenseError

F = TypeVar("F", bound=Callable[..., Any])


def validated(error: type[RedenseError] = ArgumentError) -> Callable[[F], F]:
    """Check the arguments of a function or of a dataclass by their annotations, and raise `error` for the first unfit.

    >>> from redense.arguments.rules import Rate
    >>> @validated()
    ... def half(share: Rate) -> float:
    ...     return share / 2
    >>> half(1)
    0.5
    >>> half("much")
    Traceback (most recent call last):
    ...
    redense.errors.ArgumentError: share: got 'much'; expected a rate from 0 to 1
    """

    def decorate(target: F) -> F:
        if inspect.isclass(target):
            made: Any = target
            made.__init__ = _wrapped(made.__init__, target, error)
            return target
        wrapped: F = _wrapped(target, target, error)
        return wrapped

    return decorate


def _wrapped(function: Any, annotated: Any, error: type[RedenseError]) -> Any:
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:  # later: annotations may name what is defined below
        return typing.get_type_hints(annotated, include_extras=True)

    def checked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in hints():
                several = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
                bound.arguments[name] = _keywords(hints()[name], value, error) if several else _one(
                    hints()[name], value, name, error
                )  # fmt: skip
        return bound

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = checked(args, kwargs)
        return function(*bound.args, **bound.kwargs)

    # as if it stood where the function does: doctest looks for its examples there
    made = types.FunctionType(call.__code__, function.__globals__, function.__name__, None, call.__closure__)
    return functools.update_wrapper(made, function)


def _one(kind: Any, value: Any, name: str, error: type[RedenseError]) -> Any:
    try:
        return fit(kind, value)
    except Unfit as unfit:
        got = unfit.got or described(value)
        raise error(f"{name}{unfit.where}: got {got}; expected {unfit.expected}") from None


def _keywords(kind: Any, values: Mapping[str, Any], error: type[RedenseError]) -> dict[str, Any]:
    """Check the keyword arguments that a mapping with known keys lists; others are the function's own business."""
    known = typing.get_type_hints(get_args(kind)[0], include_extras=True) if get_args(kind) else {}
    return {name: _one(known[name], value, name, error) if name in known else value for name, value in values.items()}
