"""The methods: which phases follow each other, how long they are and at which rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

from redense.arguments import Sparsity, called, validated
from redense.errors import RecipeError
from redense.phases import Factor, Factors, Phase, PhaseKind, chained, cosine, dense, ends_of, sparse
from redense.sparsity.checks import MaskChoice

Phases = tuple[Phase, ...]
THREE = called("three integers (dense, sparse, re-dense), 0 or more dense, at least 1 sparse and re-dense")
MOST_ROUNDS = 10_000
"""Phases are listed one by one, so a mistyped number must not list millions."""


@validated(RecipeError)
def dsd(
    sparsity: Sparsity,
    epochs: Annotated[Sequence[int], THREE] = (20, 20, 20),
    rates: Sequence[float] = (1.0, 1.0, 0.1),
    rounds: int = 1,
    *,
    unit: str = "epochs",
) -> Phases:
    """List the phases of Dense -> Sparse -> Dense: dense, then `rounds` times sparse and re-dense.

    Args:
        sparsity: fraction of zeros, in [0, 1).
        epochs: lengths of dense (0 for a model already trained), sparse and re-dense (1 or more each).
        rates: factors on the learning rate in the three, finite and above 0.
        rounds: how often sparse and re-dense are repeated, at most `MOST_ROUNDS` times.
        unit: what the lengths count, named in errors.

    Raises `RecipeError` for settings that make no sense.
    Source: Han et al., "DSD: Dense-Sparse-Dense Training for Deep Neural Networks", ICLR 2017, section 3.

    >>> [phase.label for phase in dsd(0.5, (10, 5, 5))]
    ['dense', 'sparse 50%', 're-dense 50%']
    """
    _check_lengths(unit, epochs)
    if len(rates) != 3 or not all(rate > 0 and math.isfinite(rate) for rate in rates):
        raise RecipeError(f"rates: got {tuple(rates)}; expected three finite factors above 0 (dense, sparse, re-dense)")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise RecipeError(f"rounds: got {rounds}; expected 1 to {MOST_ROUNDS:,}")
    begin = Phase("dense", epochs[0], rates[0], None, 0)
    repeated = [
        phase
        for number in range(1, rounds + 1)
        for phase in (
            Phase("sparse", epochs[1], rates[1], sparsity, number),
            Phase("redense", epochs[2], rates[2], sparsity, number),
        )
    ]
    return (begin, *repeated)


Portions = tuple[tuple[PhaseKind, int], ...]
"""Phases and their shares of a method's epochs, in percent."""
ACDC: Portions = (
    ("dense", 10),
    *(("sparse", 5), ("dense", 5)) * 6,
    ("sparse", 5),
    ("dense", 10),
    ("sparse", 15),
)
SPDF: Portions = (("sparse", 75), ("dense", 25))
GRADUAL: Portions = (("dense", 20), ("sparse", 80))
ONE_SHOT: Portions = (("dense", 50), ("sparse", 50))


@validated(RecipeError)
def acdc(sparsity: Sparsity, epochs: int = 100, rate: Factor = 1.0) -> Phases:
    """List the phases of AC/DC, which alternates and gives a dense and a sparse model: the ends of its last two phases.

    Of 100 epochs 10 are dense, then 5 sparse and 5 dense in turn, dense from 75 to 85 and sparse from there. Different
    from the paper: the optimizer's moments restart at every boundary (there, where weights come back, at most); masks
    are those of every tensor's smallest weights unless ``distribution="global"`` is asked for; and the paper's one
    cosine of the rate is your scheduler's, or `rate`.

    Args:
        sparsity: fraction of zeros, in [0, 1).
        epochs: of all phases together, 20 or more; every phase gets its share. Or optimizer steps.
        rate: factor on the learning rate. A pair (from, to) is a cosine over all epochs, which holds at every boundary
            and is a cosine by itself within a phase.

    Raises `RecipeError` for settings that make no sense.
    Source: Peste et al., "AC/DC: Alternating Compressed/DeCompressed Training", NeurIPS 2021, arXiv 2106.12379.

    >>> [(phase.kind, phase.epochs) for phase in acdc(0.9)][-3:]
    [('sparse', 5), ('redense', 10), ('sparse', 15)]
    """
    return _shared_out(ACDC, sparsity, epochs, rate)


@validated(RecipeError)
def spdf(sparsity: Sparsity, epochs: int = 100, rate: Factor = 1.0, *, masks: MaskChoice | None = "random") -> Phases:
    """List the phases of sparse pre-training: sparse from the first epoch to three quarters, dense for the rest.

    The paper prunes by chance before training, trains a language model sparse, and then *fine-tunes it dense on other
    data*. That step is not reproduced: both phases here see the same data, and how the epochs are shared out is ours.

    Args:
        sparsity: fraction of zeros, in [0, 1).
        epochs: of both phases together, 4 or more. Or optimizer steps.
        rate: as in `acdc`.
        masks: ``random``; None for the smallest of the first weights.

    Raises `RecipeError` for settings that make no sense.
    Source: Thangarasa et al., "SPDF: Sparse Pre-training and Dense Fine-tuning for Large Language Models", UAI 2023,
    arXiv 2303.10464.

    >>> [(phase.label, phase.epochs) for phase in spdf(0.75)]
    [('sparse 75%', 75), ('re-dense 75%', 25)]
    """
    return _shared_out(SPDF, sparsity, epochs, rate, masks)


@validated(RecipeError)
def prune(sparsity: Sparsity, epochs: int = 100, rate: Factor = 1.0, *, gradual: bool = True) -> Phases:
    """List the phases of pruning, the baseline of all that ends sparse: dense, then sparse to the end.

    Args:
        sparsity: fraction of zeros, in [0, 1).
        epochs: of both phases together, 5 or more, 2 if not `gradual`. Or optimizer steps.
        rate: as in `acdc`.
        gradual: from 20% to 80% of the epochs the sparsity rises along Zhu & Gupta's cubic, and the rest trains at the
            full one. Otherwise the smallest weights go at half the epochs, all at once.

    Raises `RecipeError` for settings that make no sense.
    Source: Zhu & Gupta, "To prune, or not to prune", 2017, arXiv 1710.01878; where it begins and ends is ours.

    >>> [(phase.label, phase.epochs, phase.masks) for phase in prune(0.9)]
    [('dense', 20, None), ('sparse 90%', 80, 'gradual')]
    """
    if gradual:
        return _shared_out(GRADUAL, sparsity, epochs, rate, "gradual")
    return _shared_out(ONE_SHOT, sparsity, epochs, rate)


def _shared_out(
    shares: Portions, sparsity: float, epochs: int, rate: Factors, masks: MaskChoice | None = None
) -> Phases:
    """Share epochs out among phases, every end being rounded to a whole one, and let the rate fall over all of them."""
    ends_of(rate)  # which says what is wrong with the whole, not with a phase's part of it
    fewest = -(-100 // min(share for _, share in shares))
    if epochs < fewest:
        raise RecipeError(f"epochs: got {epochs}; expected {fewest} or more in all, so that every phase has some")
    ends = [(2 * end * epochs + 100) // 200 for end in accumulate(share for _, share in shares)]
    phases = []
    for (kind, _), begin, end in zip(shares, [0, *ends], ends, strict=False):
        own = rate
        if isinstance(rate, tuple) and rate[0] != rate[1]:
            own = cosine(rate, begin / epochs), cosine(rate, end / epochs)
        phases.append(dense(end - begin, own) if kind == "dense" else sparse(end - begin, sparsity, own, masks=masks))
    return chained(phases)


def _check_lengths(unit: str, lengths: Sequence[int]) -> None:
    if len(lengths) != 3 or lengths[0] < 0 or min(lengths[1:]) < 1:
        raise RecipeError(f"{unit}: got {tuple(lengths)}; expected {THREE.expected}")
