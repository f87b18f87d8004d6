"""The order of the axes of images: one rule for all that comes from memory or from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from redense.errors import DataError

if TYPE_CHECKING:  # recipes name layouts, and need no arrays
    import numpy.typing as npt
    import torch

Stored = TypeVar("Stored", "npt.NDArray[Any]", "torch.Tensor")
Layout = Literal["auto", "channels-first", "channels-last"]
CHANNELS = (1, 3, 4)
"""How many channels an image may have for the order of its axes to be told from its shape."""


def images(x: Stored) -> Stored:
    """Give images [n, h, w] a channel, and turn [n, h, w, c] into [n, c, h, w] where no other reading makes sense.

    A reading makes sense with 1, 3 or 4 channels. Where both orders do, and where none does, the order is that of
    PyTorch and stays; so does everything that is no image.

    >>> import numpy as np
    >>> [images(np.zeros(shape)).shape for shape in ((5, 8, 9), (5, 8, 9, 3), (5, 3, 8, 9), (5, 3, 8, 4), (5, 7))]
    [(5, 1, 8, 9), (5, 3, 8, 9), (5, 3, 8, 9), (5, 3, 8, 4), (5, 7)]
    """
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        return _turned(x)
    return x


def images_of_file(x: npt.NDArray[Any], what: str, layout: Layout = "auto") -> npt.NDArray[Any]:
    """Make images of a file [n, channels, height, width].

    Files come from other tools, so PyTorch's order is not presumed. Channels are last where only the last dimension is
    1, 3 or 4, first where only the second is; otherwise `layout` has to say it. Raises `DataError`, which begins with
    `what`, where it does not, or where it says what the shape contradicts.

    >>> import numpy as np
    >>> images_of_file(np.zeros((5, 8, 8, 3)), "x").shape
    (5, 3, 8, 8)
    >>> images_of_file(np.zeros((5, 8, 8, 9)), "x", "channels-last").shape
    (5, 9, 8, 8)
    """
    if x.ndim != 4:
        return images(x)
    first, last = x.shape[1] in CHANNELS, x.shape[3] in CHANNELS
    if layout == "auto" and first == last:
        raise DataError(
            f"{what} is {x.shape}, which may be [n, channels, height, width] or [n, height, width, channels]; "
            "expected to be told: --layout channels-first or --layout channels-last (layout= in Python)"
        )
    found = _turned(x) if (last if layout == "auto" else layout == "channels-last") else x
    if images(found).shape != found.shape:
        raise DataError(
            f"{what} is {x.shape}, which {layout} makes {found.shape}; expected images [n, channels, height, width] "
            f"whose last dimension alone is not one of {CHANNELS}, or they are taken for [n, height, width, channels]"
        )
    return found


def refuse_layout(layout: Layout, what: str) -> None:
    """Raise `DataError`, which begins with `what`, where a layout is told of what is no file of arrays.

    >>> refuse_layout("auto", "data digits")
    """
    if layout != "auto":
        raise DataError(
            f"{what}: got the layout {layout}, which is said of NPZ files alone; leave it out (a function returns "
            "images [n, channels, height, width])"
        )


def is_grey(x: Stored) -> bool:
    """Tell whether images [n, 3, h, w] show grey alone: three equal channels, as grey files have once decoded.

    >>> import numpy as np
    >>> is_grey(np.full((2, 3, 4, 4), 7)), is_grey(np.zeros((2, 1, 4, 4)))
    (True, False)
    """
    if x.ndim != 4 or x.shape[1] != 3:
        return False
    same: Any = x[:, :1] == x
    return bool(same.all())


def one_channel(x: Stored) -> Stored:
    """Make images [n, 3, h, w] that are grey [n, 1, h, w]; raise `DataError` when some are not.

    >>> import numpy as np
    >>> one_channel(np.full((2, 3, 4, 4), 7)).shape
    (2, 1, 4, 4)
    """
    if not is_grey(x):
        raise DataError(f"images {tuple(x.shape)} are in colour, and the model takes one channel; expected grey ones")
    return x[:, :1]


def _turned(x: Stored) -> Stored:
    return x.swapaxes(1, 3).swapaxes(2, 3)
