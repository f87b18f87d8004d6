"""Find the user's own code by its name, ``package.module:name``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from redense.errors import FOREIGN, RedenseError


def is_object_name(text: str) -> bool:
    """Tell whether a string has the form ``package.module:name``.

    >>> is_object_name("mine.models:small"), is_object_name("data.npz")
    (True, False)
    """
    module, colon, name = text.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_object(text: str, error: type[RedenseError], what: str) -> Any:
    """Import ``package.module:name``, looking in the current folder too; this runs the user's code.

    Raises `error` when the module or the name is missing or the module fails to load.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")
    module_name, _, name = text.partition(":")
    try:
        module = import_module(module_name)
    except FOREIGN as cause:
        raise error(f"{what} {text}: importing {module_name} raised {type(cause).__name__}: {cause}") from cause
    if not callable(getattr(module, name, None)):
        raise error(f"{what} {text}: {module_name} has no function {name!r}; expected package.module:function")
    return getattr(module, name)


def call(function: Callable[..., Any], what: str, error: type[RedenseError], **offered: Any) -> Any:
    """Call a user's function with those of the offered keyword arguments that it takes.

    Raises `error`, which begins with `what`, when the function raises anything that is no `RedenseError`.

    >>> call(lambda size: 2 * size, "the function", RedenseError, size=2, colour="red")
    4
    """
    try:
        return function(**_taken(function, offered))
    except RedenseError:
        raise
    except FOREIGN as cause:
        raise error(f"{what} raised {type(cause).__name__}: {' '.join(str(cause).split())}") from cause


def _taken(function: Callable[..., Any], offered: dict[str, Any]) -> dict[str, Any]:
    """Pick the keyword arguments that a function takes; none where it does not tell, as some built-in ones."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return offered
    by_keyword = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    names = {parameter.name for parameter in parameters if parameter.kind in by_keyword}
    return {name: value for name, value in offered.items() if name in names}
