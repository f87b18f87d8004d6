"""What attacks with reference models have in common: checks of shapes, which models are IN and OUT, samples of both."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt

from redense.arguments import Numbers
from redense.errors import ArgumentError

Array = npt.NDArray[np.float64]
Included = npt.NDArray[np.bool_]
Answers = Annotated[npt.ArrayLike, Numbers("[n] or [n, q]")]
OfModels = Annotated[npt.ArrayLike, Numbers("[m, n] or [m, n, q]")]
WasIncluded = Annotated[npt.ArrayLike, Numbers("[m, n], True = trained on the example", truths=True)]
Mode = Literal["online", "offline"]
"""Whether an attack uses IN and OUT reference models, or OUT models alone."""


def mean_of_chosen(values: Array, chosen: Included) -> Array:
    """Average over the chosen of m models, [m, n] or [m, n, q] to [n] or [n, q]; 0 where none is.

    One model at a time, so that no copy of all values is made.
    """
    shape = chosen.shape[1:] + (1,) * (values.ndim - 2)
    total = np.zeros(values.shape[1:])
    for value, of_model in zip(values, chosen, strict=True):
        total += np.where(of_model.reshape(shape), value, 0.0)
    return np.asarray(total / np.maximum(chosen.sum(0), 1).reshape(shape))


def sample_pairs(included: Included, most: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw at most so many pairs (model, example) of [m, n], as many IN as OUT as far as there are: [r] and [r].

    They are in order, by model and then by example.
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for side in (included, ~included):
        places = np.flatnonzero(side)
        chosen.append(generator.permutation(places)[: most // 2] if len(places) > most // 2 else places)
    model, example = np.unravel_index(np.sort(np.concatenate(chosen)), included.shape)
    return model, example


def complementary_pairs(included: Included) -> npt.NDArray[np.int64]:
    """Return m models two by two, [m / 2, 2]: every example is in the training data of one of either two.

    `included` is bool [m, n]. Raises `ArgumentError` where a model's complement is missing.

    >>> complementary_pairs(np.array([[True, False], [True, True], [False, True], [False, False]])).tolist()
    [[0, 2], [1, 3]]
    """
    waiting: dict[bytes, list[int]] = {}
    pairs = []
    for model, half in enumerate(included):
        others = waiting.get(np.packbits(~half).tobytes())
        if others:
            pairs.append((others.pop(0), model))
        else:
            waiting.setdefault(np.packbits(half).tobytes(), []).append(model)
    alone = sorted(model for models in waiting.values() for model in models)
    if alone:
        raise ArgumentError(
            f"{len(alone)} of {len(included)} reference models (first: {alone[0]}) have no complement, trained on "
            "exactly the other examples; expected complementary pairs: draw a half for the first of each pair"
        )
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def checked_references(
    target: npt.ArrayLike,
    references: npt.ArrayLike,
    included: npt.ArrayLike,
    *,
    needs: tuple[str, ...] = ("IN", "OUT"),
    fewest: int = 2,
) -> tuple[Array, Array, Included]:
    """Return target [n, q], references [m, n, q] and included [m, n], or raise `ArgumentError` with what is wrong.

    Target and references may come without q. `needs` says which kinds of reference model every example must have,
    `fewest` how many models there must be.
    """
    own = np.asarray(target, dtype=np.float64)
    others = np.asarray(references, dtype=np.float64)
    member = np.asarray(included)
    if member.dtype != np.bool_:
        raise ArgumentError(f"included: got {member.dtype}; expected bool [m, n], True = trained on the example")
    if own.ndim not in (1, 2) or others.ndim != own.ndim + 1 or others.shape[1:] != own.shape:
        raise ArgumentError(
            f"got target {own.shape} and references {others.shape}; expected [n] and [m, n], or [n, q] and [m, n, q]"
        )
    if member.shape != others.shape[:2]:
        raise ArgumentError(
            f"included: got {member.shape}; expected {others.shape[:2]}, one for each model and example"
        )
    if len(others) < fewest:
        raise ArgumentError(f"got {len(others)} reference model(s); expected at least {fewest}")
    for name, values in (("target", own), ("references", others)):
        wrong = np.count_nonzero(~np.isfinite(values))
        if wrong:
            raise ArgumentError(f"{name}: {wrong} of {values.size} values are NaN or infinite; expected finite numbers")
    counts = {"IN": member.sum(0), "OUT": (~member).sum(0)}
    for side in needs:
        lacking = np.flatnonzero(counts[side] == 0)
        if len(lacking):
            raise ArgumentError(
                f"{len(lacking)} of {len(member.T)} examples (first: {lacking[0]}) have no {side} reference model; "
                "expected every example in the training data of some and not of others: draw complementary halves"
            )
    if own.ndim == 1:
        return own[:, None], others[:, :, None], member
    return own, others, member
