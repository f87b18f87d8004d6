"""The phases of Dense -> Sparse -> Dense training and the order in which they follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PhaseKind = Literal["dense", "sparse", "redense"]


@dataclass(frozen=True)
class Phase:
    """One phase of training.

    `kind` says what happens at its start and during it:

    - ``dense``: nothing is masked;
    - ``sparse``: the smallest weights are set to zero and stay zero to the end of the phase;
    - ``redense``: the mask is dropped; pruned weights start again from zero.

    `sparsity` is the fraction of zeros asked for (None in ``dense``; in ``redense``, that of the
    sparse phase before it), `rate` the factor on the learning rate, `round` 0 for the dense phase and 1, 2, ...
    for the sparse and re-dense phases that repeat.
    """

    kind: PhaseKind
    epochs: int
    rate: float
    sparsity: float | None
    round: int

    @property
    def label(self) -> str:
        """The phase in a person's words.

        >>> Phase("redense", epochs=10, rate=0.1, sparsity=0.3, round=1).label
        're-dense 30%'
        """
        if self.sparsity is None:
            return "dense"
        name = {"sparse": "sparse", "redense": "re-dense"}[self.kind]
        rounds = f" (round {self.round})" if self.round > 1 else ""
        return f"{name} {percent(self.sparsity)}{rounds}"


def percent(fraction: float) -> str:
    """Write a fraction as a percentage, with no more digits than it has.

    >>> percent(0.3), percent(0.875)
    ('30%', '87.5%')
    """
    return f"{100 * fraction:.10g}%"


def dsd_phases(sparsity: float, epochs: Sequence[int], rates: Sequence[float], rounds: int = 1) -> tuple[Phase, ...]:
    """List the phases of one DSD lineage: dense, then `rounds` times sparse and re-dense.

    `epochs` and `rates` hold one value each for dense, sparse and re-dense
    (Han et al., "DSD", ICLR 2017, section 3).

    >>> [phase.label for phase in dsd_phases(0.5, (10, 5, 5), (1, 1, 0.1))]
    ['dense', 'sparse 50%', 're-dense 50%']
    """
    dense = Phase("dense", epochs[0], rates[0], None, 0)
    repeated = [
        phase
        for number in range(1, rounds + 1)
        for phase in (
            Phase("sparse", epochs[1], rates[1], sparsity, number),
            Phase("redense", epochs[2], rates[2], sparsity, number),
        )
    ]
    return (dense, *repeated)
