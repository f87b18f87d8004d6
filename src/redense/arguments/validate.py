"""The decorator that checks arguments."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from redense.arguments.fields import Docstring
from redense.arguments.types import Check, checker
from redense.arguments.words import Unfit, described
from redense.errors import ArgumentError, RedenseError

F = TypeVar("F", bound=Callable[..., Any])


def validated(error: type[RedenseError] = ArgumentError) -> Callable[[F], F]:
    """Check the arguments of a function or of a dataclass by their annotations, and raise `error` for the first unfit.

    A dataclass's docstring tells of its fields, too, what stands below them.

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
            if dataclasses.is_dataclass(target) and target.__doc__:
                made.__doc__ = Docstring(target.__doc__)
            return target
        wrapped: F = _wrapped(target, target, error)
        return wrapped

    return decorate


def _wrapped(function: Any, annotated: Any, error: type[RedenseError]) -> Any:
    parameters = inspect.signature(function).parameters.values()
    in_order = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    others = next((one.name for one in parameters if one.kind is one.VAR_KEYWORD), None)

    @functools.cache
    def checks() -> dict[str, Check]:  # later: annotations may name what is defined below
        hints = typing.get_type_hints(annotated, include_extras=True)
        further = hints.pop(others, None) if others is not None else None
        named = {one.name for one in parameters} - {others}
        found = {name: checker(hint) for name, hint in hints.items() if name in named}
        return {**_of_keywords(further), **found}

    def checked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        known = checks()

        def one(name: str, value: Any) -> Any:
            return _one(known[name], value, name, error) if name in known else value

        fitting = [one(name, value) for name, value in zip(in_order, args, strict=False)]
        # what is too much is the function's own error
        return [*fitting, *args[len(fitting) :]], {name: one(name, value) for name, value in kwargs.items()}

    def call(*args: Any, **kwargs: Any) -> Any:
        fitting, named = checked(args, kwargs)
        return function(*fitting, **named)

    # as if it stood where the function does: doctest looks for its examples there
    made = types.FunctionType(call.__code__, function.__globals__, function.__name__, None, call.__closure__)
    return functools.update_wrapper(made, function)


def _of_keywords(kind: Any) -> dict[str, Check]:
    """Make checks of the keyword arguments that a mapping with known keys lists; others are the function's business."""
    known = typing.get_type_hints(get_args(kind)[0], include_extras=True) if get_args(kind) else {}
    return {name: checker(hint) for name, hint in known.items()}


def _one(check: Check, value: Any, name: str, error: type[RedenseError]) -> Any:
    try:
        return check(value)
    except Unfit as unfit:
        got = unfit.got or described(value)
        raise error(f"{name}{unfit.where}: got {got}; expected {unfit.expected}") from None
