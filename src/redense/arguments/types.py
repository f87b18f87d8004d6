"""Values held against the types that annotations name."""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, get_args, get_origin

from redense.arguments.arrays import Numbers, array_of, refuse_without_values
from redense.arguments.rules import CHECKED, Must
from redense.arguments.words import Unfit, described, is_lazy, is_scalar, is_tensor, is_truth
from redense.text import did_you_mean

MOST = 2**63
"""Integers are smaller than that in size: those of files, seeds and arrays have 64 bits."""


Check = Callable[[Any], Any]
"""Returns a value as a type; raises `Unfit` where it is none of that."""


def checker(kind: Any) -> Check:
    """Make the check of the type that an annotation names: the annotation is read once, values are checked often.

    >>> from redense.arguments.rules import Rate
    >>> checker(list[Rate])((0, 0.5))
    (0.0, 0.5)
    """
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return lambda value: value
    check = _checker(kind, get_origin(kind), get_args(kind))

    def ready(value: Any) -> Any:
        if is_lazy(value):
            raise Unfit("a value; send one batch through the model first", "a lazy parameter")
        return check(value)

    return ready


def _checker(kind: Any, origin: Any, arguments: tuple[Any, ...]) -> Check:
    if origin is typing.Annotated:
        return _annotated(arguments[0], kind.__metadata__)
    if origin is Literal:
        return _literal(arguments)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is tuple:
        return _tuple(arguments)
    if origin in _LISTS:
        return _list(arguments[0], origin)
    if origin in (dict, Mapping):
        return _mapping(*arguments)
    if Callable in (kind, origin):
        return _function
    return partial(_instance, origin or kind)


def _annotated(kind: Any, rules: tuple[Any, ...]) -> Check:
    if CHECKED in rules:
        return lambda value: value
    arrays = [rule for rule in rules if isinstance(rule, Numbers)]
    if arrays:
        return arrays[0].fit
    check, musts = checker(kind), [rule for rule in rules if isinstance(rule, Must)]

    def held(value: Any) -> Any:
        try:
            found = check(value)
        except Unfit as unfit:
            if musts:
                raise Unfit(musts[0].expected, "" if unfit.where else unfit.got) from None
            raise
        for rule in musts:
            if not rule.holds(found):
                raise Unfit(rule.expected)
        return found

    return held


def _literal(known: tuple[Any, ...]) -> Check:
    names, expected = [each for each in known if isinstance(each, str)], f"one of {', '.join(map(str, known))}"

    def one_of(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise Unfit(expected, f"{value!r}{did_you_mean(value, names)}" if isinstance(value, str) else "")
        return value

    return one_of


def _union(kinds: tuple[Any, ...]) -> Check:
    optional = types.NoneType in kinds
    checks = [checker(kind) for kind in kinds if kind is not types.NoneType]

    def any_of(value: Any) -> Any:
        if value is None and optional:
            return None
        unfits = []
        for check in checks:
            try:
                return check(value)
            except Unfit as unfit:
                unfits.append(unfit)
        inside = [unfit for unfit in unfits if unfit.where]
        if inside:  # one of the kinds fits but for something in it
            raise inside[0]
        raise Unfit(" or ".join(dict.fromkeys(unfit.expected for unfit in unfits)), unfits[0].got if unfits else "")

    return any_of


def _function(value: Any) -> Any:
    if not callable(value):
        raise Unfit("a function")
    return value


def _truth(value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_"):
        raise Unfit("True or False")
    return bool(value)


def _integer(value: Any) -> int:
    expected = "an integer of at most 64 bits"
    if type(value).__name__ in ("bool", "bool_") or is_truth(value):
        raise Unfit(expected)
    try:
        number = operator.index(value)
    except Exception:  # of arrays and tensors, whatever their libraries raise
        raise Unfit(expected) from None
    if abs(number) >= MOST:
        raise Unfit(expected)
    return number


def _number(value: Any) -> float:
    """Return a real number: a float as it is, integers and scalars of libraries as floats."""
    expected = "a number"
    if isinstance(value, float):
        number = value
    else:
        if isinstance(value, (str, bytes, complex)) or type(value).__name__ in ("bool", "bool_") or is_truth(value):
            raise Unfit(expected)
        if hasattr(value, "ndim") and value.ndim:
            raise Unfit(expected)
        try:
            number = float(value)
        except Exception:  # as above; OverflowError of huge integers
            raise Unfit(f"{expected} that a float can hold" if isinstance(value, int) else expected) from None
    if math.isnan(number):
        raise Unfit(expected)
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("a string")
    return value


def _nothing(value: Any) -> None:
    if value is not None:
        raise Unfit("None")


_PLAIN: dict[Any, Check] = {
    bool: _truth,
    int: _integer,
    float: _number,
    str: _text,
    None: _nothing,
    types.NoneType: _nothing,
}


_SEVERAL = {bool: "truth values", int: "integers", float: "numbers", str: "strings"}


_LISTS = (list, Sequence, Iterable)


def _list(kind: Any, origin: Any) -> Check:
    """Make the check of a list, a tuple or a NumPy array [n], element by element; generators are not used up."""
    element, expected = checker(kind), f"a list of {_SEVERAL[kind]}" if kind in _SEVERAL else "a list"

    def listed(value: Any) -> Any:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable) or is_scalar(value):
            raise Unfit(expected)
        if not isinstance(value, (list, tuple)):
            if origin is Iterable and not hasattr(value, "shape"):
                return value
            if hasattr(value, "shape"):
                value = array_of(value, expected).tolist()
            elif not isinstance(value, Sequence):
                raise Unfit(expected)
        elements = [_inside(element, each, place) for place, each in enumerate(value)]
        return tuple(elements) if isinstance(value, tuple) else elements

    return listed


def _tuple(kinds: tuple[Any, ...]) -> Check:
    if kinds[1:] == (Ellipsis,):
        listed = _list(kinds[0], Sequence)
        return lambda value: tuple(listed(value))
    checks = [checker(kind) for kind in kinds]
    expected = f"a list of {len(kinds)} {_SEVERAL.get(kinds[0], '')}".rstrip()

    def together(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != len(checks):
            raise Unfit(expected)
        pairs = enumerate(zip(checks, value, strict=True))
        return tuple(_inside(check, each, place) for place, (check, each) in pairs)

    return together


def _mapping(of_keys: Any, of_values: Any) -> Check:
    keys, values = checker(of_keys), checker(of_values)

    def mapped(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Unfit("a mapping")
        for key, each in value.items():
            _inside(keys, key, key)
            _inside(values, each, key)
        return value

    return mapped


def _inside(check: Check, value: Any, place: Any) -> Any:
    """Check what stands at a place of a list or mapping."""
    try:
        return check(value)
    except Unfit as unfit:
        raise Unfit(unfit.expected, unfit.got or described(value), f"[{place!r}]{unfit.where}") from None


def _instance(kind: Any, value: Any) -> Any:
    if getattr(kind, "_is_protocol", False):
        methods = [name for name, member in vars(kind).items() if callable(member) and not name.startswith("_")]
        if isinstance(value, type) or not all(callable(getattr(value, name, None)) for name in methods):
            raise Unfit(f"a {kind.__name__.lower()}, which has {', '.join(methods)}")
        return value
    if isinstance(value, type) and kind is not type:
        raise Unfit(_called(kind))
    if kind is type:
        if not isinstance(value, type):
            raise Unfit("a class")
        return value
    if not isinstance(value, kind):
        raise Unfit(_called(kind))
    if is_tensor(value):
        refuse_without_values(value, _called(kind))
    elif hasattr(value, "named_parameters"):
        _refuse_unready(value)
    return value


def _called(kind: Any) -> str:
    name = getattr(kind, "__qualname__", str(kind))
    package = str(getattr(kind, "__module__", "")).partition(".")[0]
    if package == "torch" and ".nn." in kind.__module__:
        return f"a torch.nn.{name}"
    return f"a {package}.{name}" if package in ("torch", "numpy", "rich") else f"a {name}"


def _refuse_unready(module: Any) -> None:
    """Raise for a module whose parameters have no values yet."""
    for name, parameter in module.named_parameters():
        if parameter.is_meta:
            got = f"a module whose {name} is on meta"
            raise Unfit("one with values: module.to_empty(device='cpu'), then its weights", got)
        if type(parameter).__name__.startswith("Uninitialized"):
            raise Unfit("one with shapes: send one batch through first", f"a module whose {name} is a lazy parameter")
