"""Arrays as arguments: lists, tensors and arrays of numbers become arrays of NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redense.arguments.words import Unfit, described, is_tensor, is_truth
from redense.files.reading import memory

EXACT = 2**53
"""Integers up to so much are float64 numbers."""


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
    kept: bool = False
    """Whether integers stay integers, so that none is rounded."""

    @property
    def expected(self) -> str:
        """In words, what is asked for."""
        kind = "bool" if self.truths else "integers" if self.integers else "real numbers"
        return f"{kind} {self.shape}"

    def fit(self, value: Any) -> Any:
        """Return the array."""
        if self.tensors and is_tensor(value):
            refuse_without_values(value, self.expected)
            array, kind = value, _kind_of_tensor(value)
        else:
            array = array_of(value, self.expected)
            kind = array.dtype.kind
        kinds = "b" if self.truths else "iu" if self.integers else "biuf"
        if kind not in kinds or (self.dims and array.ndim not in self.dims):
            raise Unfit(self.expected, described(array))
        if kind in "iu" and not (self.integers or self.kept or is_tensor(array)):
            _refuse_inexact(array)
        if self.finite and kind == "f" and (wrong := int((~_numpy().isfinite(array)).sum())):
            raise Unfit("finite numbers", f"{wrong} of {array.size} that are NaN or infinite")
        return array


def array_of(value: Any, expected: str) -> Any:
    """Make an array of NumPy of an array, a tensor or a list."""
    if value is None or isinstance(value, (str, bytes, Mapping, set)):
        raise Unfit(expected)
    if isinstance(value, _numpy().ma.MaskedArray):
        raise Unfit(f"{expected}, without a mask, which would be lost")
    try:
        if is_tensor(value):
            refuse_without_values(value, expected)
            value = value.detach().cpu()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        array = _numpy().asarray(value)
    except Unfit:
        raise
    except Exception:  # ragged lists, 8-bit floats, nested tensors: each raises something else
        raise Unfit(expected, described(value) if is_tensor(value) else "") from None
    if array.nbytes > memory():
        raise Unfit(f"{expected} that memory holds", f"{described(array)}, {array.nbytes:,} bytes")
    if array.dtype.kind not in "biuf":
        raise Unfit(expected, described(array) if array.ndim else "")
    return array


def _refuse_inexact(array: Any) -> None:
    """Raise `Unfit` for integers that float64, in which all is computed, would round: equal ones may be none."""
    if array.dtype.itemsize == 8 and array.size and max(abs(int(array.min())), abs(int(array.max()))) > EXACT:
        raise Unfit("numbers that float64 holds exactly, up to 2^53", described(array))


def _numpy() -> Any:
    import numpy  # settings that hold no arrays are read without it

    return numpy


def _kind_of_tensor(tensor: Any) -> str:
    """Tell what a tensor holds as NumPy does: f, c, b, i."""
    if tensor.is_floating_point():
        return "f"
    return "c" if tensor.is_complex() else "b" if is_truth(tensor) else "i"


def refuse_without_values(tensor: Any, expected: str) -> None:
    """Raise `Unfit` for a tensor that is lazy, on meta, quantized or sparse."""
    if type(tensor).__name__.startswith("Uninitialized") or tensor.is_meta or tensor.is_quantized:
        raise Unfit(f"{expected} with values")
    if str(tensor.layout) != "torch.strided" or tensor.is_nested:
        raise Unfit("a dense one: to_dense()")
