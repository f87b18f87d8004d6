"""The most exposed training examples themselves, for a report that is asked to show them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from redense.errors import DataError

if TYPE_CHECKING:
    from redense.experiment.audit_rows import AuditRow
    from redense.experiment.found import Found

MOST = 24
"""Examples that are shown."""
LARGEST = 96
"""Pixels of a picture's longer side, at most."""
Pixels = npt.NDArray[np.float64]


def example_pictures(run: Found, audits: Sequence[AuditRow]) -> list[dict[str, str | int]]:
    """Return pictures, as data URLs, of the training examples that stand out most in any of the audits, with captions.

    None of them is larger than `LARGEST`; `width` and `height` are those to show it with, as its sides are.

    Raises `DataError` where the data are not those that the run was trained on, are no images, or come from a function,
    which only its user may call.
    """
    from redense.data.loading import load
    from redense.user_code import is_object_name

    chosen = _most_exposed(audits, run.results.members)
    if not chosen:
        return []
    if is_object_name(run.recipe.data):
        raise DataError(
            f"--show-examples: {run.folder} names the function {run.recipe.data} as its data, and a report calls no "
            "code that a folder names; leave the flag out"
        )
    data = load(run.recipe.data, layout=run.recipe.layout).parted(run.recipe.validation)
    if run.plan is None or data.fingerprint != run.plan.data:
        raise DataError(
            f"--show-examples: {run.recipe.data} is not what {run.folder} was trained on (another fingerprint); "
            "restore it, or leave the flag out"
        )
    beyond = [place for place, _ in chosen if place >= len(data.x_train)]
    if beyond:
        raise DataError(
            f"--show-examples: the audits of {run.folder} name the training example {beyond[0]}, and {run.recipe.data} "
            f"has {len(data.x_train):,}; run `redense audit {run.folder}` anew, or leave the flag out"
        )
    if len(data.input_shape) != 3:
        raise DataError(f"--show-examples: {run.recipe.data} has no images to show; leave the flag out")
    places, class_name = data.original_places, audits[0].result.class_name
    return [
        {
            **_picture(data.x_train[place]),
            "caption": f"train {places[place]}, class {class_name(int(data.y_train[place]))}, risk {risk:.4f}",
        }
        for place, risk in chosen
    ]


def _most_exposed(audits: Sequence[AuditRow], training: int) -> list[tuple[int, float]]:
    """Rank training examples by their highest risk in any audit."""
    highest: dict[int, float] = {}
    for one in (one for row in audits for one in row.result.exposed if one.example < training):
        highest[one.example] = max(one.risk, highest.get(one.example, 0.0))
    return sorted(highest.items(), key=lambda ranked: -ranked[1])[:MOST]


def _picture(example: npt.NDArray[Any]) -> dict[str, str | int]:
    """Write an image [channels, height, width] as a PNG, with the size to show it in."""
    from matplotlib.image import imsave

    pixels = shrunk(np.moveaxis(example.astype(np.float64), 0, -1))
    low, high = pixels.min(), pixels.max()
    scaled = (pixels - low) / ((high - low) or 1.0)
    buffer = io.BytesIO()
    imsave(buffer, scaled if scaled.shape[-1] == 3 else scaled[..., 0], format="png", cmap="gray")
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    height, width = (max(1, round(LARGEST * side / max(pixels.shape[:2]))) for side in pixels.shape[:2])
    return {"source": source, "width": width, "height": height}


def shrunk(pixels: Pixels) -> Pixels:
    """Average an image [height, width, channels] over blocks until its longer side has `LARGEST` pixels at most.

    >>> shrunk(np.zeros((400, 100, 3))).shape, shrunk(np.zeros((28, 28, 1))).shape
    ((96, 24, 3), (28, 28, 1))
    """
    longer = max(pixels.shape[:2])
    for axis in (0, 1) if longer > LARGEST else ():
        side = pixels.shape[axis]
        starts = np.arange(kept := max(1, side * LARGEST // longer)) * side // kept
        sizes = np.diff([*starts, side])
        pixels = np.add.reduceat(pixels, starts, axis=axis) / np.expand_dims(sizes, tuple({0, 1, 2} - {axis}))
    return pixels
