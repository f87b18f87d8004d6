"""Find the user's own code by its name, ``package.module:name``."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from redense.errors import RedenseError


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
    except Exception as cause:
        raise error(f"{what} {text}: importing {module_name} raised {type(cause).__name__}: {cause}") from cause
    if not callable(getattr(module, name, None)):
        raise error(f"{what} {text}: {module_name} has no function {name!r}; expected package.module:function")
    return getattr(module, name)
