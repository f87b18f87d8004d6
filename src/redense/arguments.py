"""Arguments of public functions and classes, checked by their annotations before anything is done with them.

`validated` is the one check there is. What a type cannot say stands in the annotation, as
``Annotated[float, SHARE]`` or
``Annotated[npt.ArrayLike, Numbers("[n]")]``. Whatever is none of it ends in one error of one line: the argument, what
was got, what is expected. Values that mean the same come in one form: a NumPy integer is an integer, tensors and lists
of numbers are arrays of NumPy, a bool is no number.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import reprlib
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from redense.errors import ArgumentError, RedenseError

F = TypeVar("F", bound=Callable[..., Any])
MOST = 2**63
"""Integers are smaller than that in size: those of files, seeds and arrays have 64 bits."""
LISTED = 10_000
"""Elements of a list that are looked at one by one; beyond, of numbers and strings alone, it would take long."""


class _Unfit(Exception):
    """A value that is not what its place asks for: where in it, what was got, what is expected."""

    def __init__(self, expected: str, got: str = "", where: str = "") -> None:
        super().__init__(expected)
        self.expected, self.got, self.where = expected, got, where


@dataclass(frozen=True)
class Must:
    """What values of a type must be, besides being of that type: a test, and in words what passes it."""

    holds: Callable[[Any], bool]
    expected: str


SHARE = Must(lambda value: 0 <= value <= 1, "a rate from 0 to 1")
INSIDE = Must(lambda value: 0 < value < 1, "a share between 0 and 1, such as 0.95")
BELOW_ONE = Must(lambda value: 0 <= value < 1, "a probability from 0 to below 1")
FRACTION = Must(lambda value: 0 <= value < 1, "a fraction from 0 (included) to 1 (excluded)")
COUNT = Must(lambda value: value >= 0, "an integer of 0 or more")
SOME = Must(lambda value: value >= 1, "an integer of 1 or more")
FINITE = Must(math.isfinite, "a finite number")


Rate = Annotated[float, SHARE]
Sparsity = Annotated[float, FRACTION]
Confidence = Annotated[float, INSIDE]
Delta = Annotated[float, BELOW_ONE]
Count = Annotated[int, COUNT]
Positive = Annotated[float, Must(lambda value: 0 < value < math.inf, "a finite number above 0")]


CHECKED = "checked in the body"
"""In an annotation: the function checks this one itself, since it knows more than a type says."""


def called(expected: str) -> Must:
    """Say in words what a type asks for."""
    return Must(lambda value: True, expected)


def at_most(most: int, least: int = 1) -> Must:
    """Ask for an integer between two ends, both included."""
    return Must(lambda value: least <= value <= most, f"an integer from {least:,} to {most:,}")


@dataclass(frozen=True)
class Numbers:
    """Ask for an array of real numbers, or with `truths` of bools: [n] and the like, as the words in `shape` say.

    A list, or a tensor with values, will do; of lists without any element the type is not told. With `dims` the number
    of its dimensions must be one of these.
    """

    shape: str
    dims: tuple[int, ...] = ()
    truths: bool = False
    integers: bool = False
    finite: bool = False
    tensors: bool = False
    """Whether a tensor may stay one."""

    @property
    def expected(self) -> str:
        """In words, what is asked for."""
        kind = "bool" if self.truths else "integers" if self.integers else "real numbers"
        return f"{kind} {self.shape}"

    def fit(self, value: Any) -> Any:
        """Return the array."""
        if self.tensors and _is_tensor(value):
            _refuse_without_values(value, self.expected)
            array, kind = value, _kind_of_tensor(value)
        else:
            array = _array(value, self.expected)
            kind = array.dtype.kind
        kinds = "b" if self.truths else "iu" if self.integers else "biuf"
        if kind not in kinds or (self.dims and array.ndim not in self.dims):
            raise _Unfit(self.expected, described(array))
        if self.finite and kind == "f" and (wrong := int((~_numpy().isfinite(array)).sum())):
            raise _Unfit("finite numbers", f"{wrong} of {array.size} that are NaN or infinite")
        return array


def validated(error: type[RedenseError] = ArgumentError) -> Callable[[F], F]:
    """Check the arguments of a function or of a dataclass by their annotations, and raise `error` for the first unfit.

    >>> @validated()
    ... def half(share: typing.Annotated[float, SHARE]) -> float:
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
    except _Unfit as unfit:
        got = unfit.got or described(value)
        raise error(f"{name}{unfit.where}: got {got}; expected {unfit.expected}") from None


def _keywords(kind: Any, values: Mapping[str, Any], error: type[RedenseError]) -> dict[str, Any]:
    """Check the keyword arguments that a mapping with known keys lists; others are the function's own business."""
    known = typing.get_type_hints(get_args(kind)[0], include_extras=True) if get_args(kind) else {}
    return {name: _one(known[name], value, name, error) if name in known else value for name, value in values.items()}


def fit(kind: Any, value: Any) -> Any:
    """Return a value as the type that an annotation names; raise `_Unfit` where it is none of that."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return value
    if _is_lazy(value):
        raise _Unfit("a value; send one batch through the model first", "a lazy parameter")
    if origin is typing.Annotated:
        return _annotated(arguments[0], kind.__metadata__, value)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _Unfit(f"one of {', '.join(map(str, arguments))}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if origin is tuple:
        return _tuple(arguments, value)
    if origin in _LISTS:
        return _list(arguments[0], value, origin)
    if origin in (dict, Mapping):
        return _mapping(arguments, value)
    if kind is Callable or origin is Callable or origin is _CALLABLE:
        if not callable(value):
            raise _Unfit("a function")
        return value
    return _instance(origin or kind, value)


def described(value: Any) -> str:
    """Say what a value is, in a few words of one line.

    >>> import numpy
    >>> described(numpy.zeros((2, 3), dtype=complex)), described("n" * 100)
    ('an array of complex128 [2, 3]', "'nnnnnnnnnnnn...nnnnnnnnnnnnn'")
    """
    if _is_tensor(value):
        where = "" if value.device.type == "cpu" else f" on {value.device.type}"
        layout = "" if str(value.layout) == "torch.strided" else f", {value.layout}"
        return f"a tensor of {value.dtype} {_dimensions(value)}{where}{layout}"
    if type(value).__module__ == "numpy" and hasattr(value, "dtype") and value.ndim:
        return f"an array of {value.dtype} {_dimensions(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (str, int, float, complex, list, tuple, dict, set, bytes, type(None))):
        return " ".join(_SHORT.repr(value).split())
    return f"a value of the type {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxother = 60


def _dimensions(value: Any) -> str:
    try:
        return str(list(value.shape))
    except RuntimeError:  # a lazy parameter has no shape yet
        return "without a shape yet"


def _annotated(kind: Any, rules: tuple[Any, ...], value: Any) -> Any:
    if CHECKED in rules:
        return value
    arrays = [rule for rule in rules if isinstance(rule, Numbers)]
    if arrays:
        return arrays[0].fit(value)
    musts = [rule for rule in rules if isinstance(rule, Must)]
    try:
        found = fit(kind, value)
    except _Unfit as unfit:
        if musts:
            raise _Unfit(musts[0].expected, "" if unfit.where else unfit.got) from None
        raise
    for rule in musts:
        if not rule.holds(found):
            raise _Unfit(rule.expected)
    return found


def _union(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    unfits = []
    for kind in kinds:
        if kind is types.NoneType:
            continue
        try:
            return fit(kind, value)
        except _Unfit as unfit:
            unfits.append(unfit)
    inside = [unfit for unfit in unfits if unfit.where]
    if inside:  # one of the kinds fits but for something in it
        raise inside[0]
    raise _Unfit(" or ".join(dict.fromkeys(unfit.expected for unfit in unfits)), unfits[0].got if unfits else "")


def _truth(value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_"):
        raise _Unfit("True or False")
    return bool(value)


def _integer(value: Any) -> int:
    expected = "an integer of at most 64 bits"
    if type(value).__name__ in ("bool", "bool_") or _is_truth(value):
        raise _Unfit(expected)
    try:
        number = operator.index(value)
    except Exception:  # of arrays and tensors, whatever their libraries raise
        raise _Unfit(expected) from None
    if abs(number) >= MOST:
        raise _Unfit(expected)
    return number


def _number(value: Any) -> float:
    """Return a real number: a float as it is, integers and scalars of libraries as floats."""
    expected = "a number"
    if isinstance(value, float):
        number = value
    else:
        if isinstance(value, (str, bytes, complex)) or type(value).__name__ in ("bool", "bool_") or _is_truth(value):
            raise _Unfit(expected)
        if hasattr(value, "ndim") and value.ndim:
            raise _Unfit(expected)
        try:
            number = float(value)
        except Exception:  # as above; OverflowError of huge integers
            raise _Unfit(f"{expected} that a float can hold" if isinstance(value, int) else expected) from None
    if math.isnan(number):
        raise _Unfit(expected)
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unfit("a string")
    return value


def _nothing(value: Any) -> None:
    if value is not None:
        raise _Unfit("None")


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    bool: _truth,
    int: _integer,
    float: _number,
    str: _text,
    None: _nothing,
    types.NoneType: _nothing,
}
_LISTS = (list, Sequence, Iterable)
_CALLABLE = get_origin(Callable[[], None])


def _list(kind: Any, value: Any, origin: Any) -> Any:
    """Check the elements of a list, a tuple or a NumPy array [n]; generators are not used up."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable) or _is_scalar(value):
        raise _Unfit("a list")
    if not isinstance(value, (list, tuple)):
        if origin is Iterable and not hasattr(value, "shape"):
            return value
        if hasattr(value, "shape"):
            value = _array(value, "a list").tolist()
        elif not isinstance(value, Sequence):
            raise _Unfit("a list")
    if len(value) > LISTED and kind not in (str, int, float):
        return value
    elements = [_element(kind, each, place) for place, each in enumerate(value)]
    return tuple(elements) if isinstance(value, tuple) else elements


def _tuple(kinds: tuple[Any, ...], value: Any) -> Any:
    if kinds[1:] == (Ellipsis,):
        return tuple(_list(kinds[0], value, Sequence))
    if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
        raise _Unfit(f"a list of {len(kinds)}")
    return tuple(_element(kind, each, place) for place, (kind, each) in enumerate(zip(kinds, value, strict=True)))


def _element(kind: Any, value: Any, place: Any) -> Any:
    try:
        return fit(kind, value)
    except _Unfit as unfit:
        raise _Unfit(unfit.expected, unfit.got or described(value), f"[{place!r}]{unfit.where}") from None


def _mapping(kinds: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _Unfit("a mapping")
    for key, each in value.items():
        _element(kinds[0], key, key)
        _element(kinds[1], each, key)
    return value


def _instance(kind: Any, value: Any) -> Any:
    if getattr(kind, "_is_protocol", False):
        methods = [name for name, member in vars(kind).items() if callable(member) and not name.startswith("_")]
        if isinstance(value, type) or not all(callable(getattr(value, name, None)) for name in methods):
            raise _Unfit(f"a {kind.__name__.lower()}, which has {', '.join(methods)}")
        return value
    if isinstance(value, type) and kind is not type:
        raise _Unfit(_called(kind))
    if kind is type:
        if not isinstance(value, type):
            raise _Unfit("a class")
        return value
    if not isinstance(value, kind):
        raise _Unfit(_called(kind))
    if _is_tensor(value):
        _refuse_without_values(value, _called(kind))
    elif hasattr(value, "named_parameters"):
        _refuse_unready(value)
    return value


def _called(kind: Any) -> str:
    name = getattr(kind, "__qualname__", str(kind))
    package = str(getattr(kind, "__module__", "")).partition(".")[0]
    return f"a {package}.{name}" if package in ("torch", "numpy", "rich") else f"a {name}"


def _refuse_unready(module: Any) -> None:
    """Raise for a module whose parameters have no values yet."""
    for name, parameter in module.named_parameters():
        if parameter.is_meta:
            got = f"a module whose {name} is on meta"
            raise _Unfit("one with values: module.to_empty(device='cpu'), then its weights", got)
        if type(parameter).__name__.startswith("Uninitialized"):
            raise _Unfit("one with shapes: send one batch through first", f"a module whose {name} is a lazy parameter")


def _refuse_without_values(tensor: Any, expected: str) -> None:
    if type(tensor).__name__.startswith("Uninitialized") or tensor.is_meta or tensor.is_quantized:
        raise _Unfit(f"{expected} with values")
    if str(tensor.layout) != "torch.strided":
        raise _Unfit("a dense one: to_dense()")


def _array(value: Any, expected: str) -> Any:
    """Make an array of NumPy of an array, a tensor or a list."""
    if value is None or isinstance(value, (str, bytes, Mapping, set)):
        raise _Unfit(expected)
    if _is_tensor(value):
        _refuse_without_values(value, expected)
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    try:
        array = _numpy().asarray(value)
    except Exception:  # ragged lists, lists of tensors without values: each raises something else
        raise _Unfit(expected) from None
    if array.dtype.kind not in "biuf":
        raise _Unfit(expected, described(array) if array.ndim else "")
    return array


def _numpy() -> Any:
    import numpy  # settings that hold no arrays are read without it

    return numpy


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _kind_of_tensor(tensor: Any) -> str:
    """Tell what a tensor holds as NumPy does: f, c, b, i."""
    if tensor.is_floating_point():
        return "f"
    return "c" if tensor.is_complex() else "b" if _is_truth(tensor) else "i"


def _is_truth(value: Any) -> bool:
    """Tell whether it is a tensor of bools."""
    return _is_tensor(value) and str(value.dtype) == "torch.bool"


def _is_scalar(value: Any) -> bool:
    """Tell whether it is an array or tensor without dimensions, which nobody can go through."""
    return hasattr(value, "shape") and not _is_lazy(value) and not len(value.shape)


def _is_lazy(value: Any) -> bool:
    return type(value).__name__.startswith("Uninitialized")
