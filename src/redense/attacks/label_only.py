"""The label-only attack: how often the model's answer stays right when the example is changed a little."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt

from redense.arguments import Numbers, validated
from redense.attacks.references import Array
from redense.errors import ArgumentError


@validated()
def label_only(correct: Annotated[npt.ArrayLike, Numbers("[n, q]", truths=True)]) -> Array:
    """Score n examples by the share of their q changed versions that are classified correctly; bool [n, q] -> [n].

    Needs nothing but the label that a model answers with. Source: Choquette-Choo et al., "Label-Only Membership
    Inference Attacks", ICML 2021, section 3.2 (data augmentation), with the count in place of a classifier on it.

    Raises `ArgumentError` unless `correct` is bool [n, q].

    >>> label_only([[True, True], [True, False]]).tolist()
    [1.0, 0.5]
    """
    answers = np.asarray(correct)
    if answers.dtype != np.bool_ or answers.ndim != 2 or answers.shape[1] < 1:
        raise ArgumentError(f"correct: got {answers.dtype} {answers.shape}; expected bool [n, q] with q of 1 or more")
    return np.asarray(answers.mean(axis=1, dtype=np.float64))
