"""Values in a few words, and the one way to say that one does not fit."""

from __future__ import annotations

import reprlib
import sys
from typing import Any


class Unfit(Exception):
    """A value that is not what its place asks for: where in it, what was got, what is expected."""

    def __init__(self, expected: str, got: str = "", where: str = "") -> None:
        super().__init__(expected)
        self.expected, self.got, self.where = expected, got, where


def described(value: Any) -> str:
    """Say what a value is, in a few words of one line.

    >>> import numpy
    >>> described(numpy.zeros((2, 3), dtype=complex)), described("n" * 100)
    ('an array of complex128 [2, 3]', "'nnnnnnnnnnnn...nnnnnnnnnnnnn'")
    """
    if is_tensor(value):
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


def is_tensor(value: Any) -> bool:
    """Tell whether it is a tensor of PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_truth(value: Any) -> bool:
    """Tell whether it is a tensor of bools."""
    return is_tensor(value) and str(value.dtype) == "torch.bool"


def is_lazy(value: Any) -> bool:
    """Tell whether it is a lazy parameter or buffer, which has no shape yet."""
    return type(value).__name__.startswith("Uninitialized")


def is_scalar(value: Any) -> bool:
    """Tell whether it is an array or tensor without dimensions, which nobody can go through, or a nested one."""
    if is_tensor(value) and value.is_nested:
        return True
    return hasattr(value, "shape") and not is_lazy(value) and not len(value.shape)
