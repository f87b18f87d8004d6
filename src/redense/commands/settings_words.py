"""What a flag takes, in words, read off its field: for help and for what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from redense.phases import Phase

NOUNS: dict[Any, tuple[str, str, str]] = {
    int: ("a whole number", "whole numbers", "N"),
    float: ("a number", "numbers", "X"),
    Path: ("a path", "paths", "PATH"),
    str: ("a name", "names", "NAME"),
    Phase: ("a phase as JSON", "phases as JSON", "JSON"),
}
"""Of a type: one, several, and how help writes it."""


def choices(hint: Any) -> tuple[str, ...]:
    """Return the words that a flag takes, if there are only some."""
    return tuple(map(str, get_args(_one(hint)))) if get_origin(_one(hint)) is Literal else ()


def expected(hint: Any) -> str:
    """Say what a flag takes.

    >>> expected(int | None), expected(tuple[float, ...]), expected(tuple[int, int, int]), expected(Literal["a", "b"])
    ('a whole number', 'numbers', '3 whole numbers', 'one of a, b')
    """
    many, known = _how_many(hint), choices(hint)
    if known:
        return f"{'some' if many == '...' else 'one'} of {', '.join(known)}"
    one, several, _ = NOUNS[_one(hint)]
    return {"1": one, "...": several}.get(many, f"{many} {several}")


def metavar(hint: Any) -> str:
    """Write what a flag takes as help does.

    >>> metavar(int | None), metavar(tuple[float, ...]), metavar(tuple[int, int]), metavar(bool)
    ('N', 'X ...', 'N N', '')
    """
    if hint is bool:
        return ""
    many, known = _how_many(hint), choices(hint)
    one = "|".join(known) if known else NOUNS[_one(hint)][2]
    return f"{one} ..." if many == "..." else " ".join([one] * int(many))


def bare(hint: Any) -> Any:
    """Return a type without what annotates it and without None."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
        return bare(hint)
    return hint


def _one(hint: Any) -> Any:
    """Return the type of one value."""
    hint = bare(hint)
    return bare(get_args(hint)[0]) if get_origin(hint) is tuple else hint


def _how_many(hint: Any) -> str:
    hint = bare(hint)
    if get_origin(hint) is not tuple:
        return "1"
    return "..." if Ellipsis in get_args(hint) else str(len(get_args(hint)))
