"""What the fields of a dataclass mean: said once, as a string below each or its `Doc`, for help of all kinds."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import typing
from functools import cache
from typing import Any

from typing_extensions import Doc

WIDTH = 100
"""Columns of a docstring that is put together."""


def meanings(kind: type[Any]) -> dict[str, str]:
    """Return what the fields of a dataclass mean, each in one line; those without a word of their own are left out.

    Raises `OSError` or `TypeError` where the class's source is not there.
    """
    assert dataclasses.is_dataclass(kind)
    below, hints = _strings_below(kind), typing.get_type_hints(kind, include_extras=True)
    found = {}
    for name in (field.name for field in dataclasses.fields(kind)):
        documented = [each.documentation for each in getattr(hints[name], "__metadata__", ()) if isinstance(each, Doc)]
        said = " ".join((documented[0] if documented else below.get(name, "")).split())
        if said:
            found[name] = said
    return found


class Docstring:
    """A class's docstring followed by what its fields mean, put together only when asked for: reading sources is slow.

    `help`, notebooks and editors that ask the class see it; `own` is what stands in the class itself.
    """

    def __init__(self, own: str) -> None:
        self.own = own

    def __get__(self, instance: object, owner: type) -> str:
        """Return the whole docstring; the class's own where its source is not there."""
        try:
            said = meanings(owner)
        except (OSError, TypeError):  # the latter of a class that was made in an interactive session
            said = {}
        if not said:
            return self.own
        lines = (
            textwrap.fill(f"{name}: {what}", WIDTH, initial_indent="    ", subsequent_indent="        ")
            for name, what in said.items()
        )
        return "\n".join([inspect.cleandoc(self.own), "", "Fields:", *lines, ""])


@cache
def _strings_below(kind: type) -> dict[str, str]:
    """Return the strings below the fields of a class, by field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = str(below.value.value)
    return found
