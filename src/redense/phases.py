"""The phases of Dense -> Sparse -> Dense training and the order in which they follow each other."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from redense.text import percent

PhaseKind = Literal["dense", "sparse", "redense", "control"]
Lineage = Literal["dsd", "control-longer", "control-llr"]
Repeated = Literal["sparse", "redense"]
CONTROLS: tuple[str, ...] = ("longer", "llr")
"""Controls of the same budget, which tell what DSD gained from what longer training gained."""


NAMES: dict[str, str] = {"dense": "dense", "sparse": "sparse", "redense": "re-dense", "control": "control"}
"""Kinds of phases in a person's words."""


_REPEATED: Final[tuple[Repeated, ...]] = ("sparse", "redense")


@dataclass(frozen=True)
class Phase:
    """One phase of training.

    `kind` says what happens at its start and during it:

    - ``dense``: nothing is masked;
    - ``sparse``: the smallest weights are set to zero and stay zero to the end of the phase;
    - ``redense``: the mask is dropped; pruned weights start again from zero;
    - ``control``: training goes on as in the phase that it stands `beside`, without any mask.

    `sparsity` is the fraction of zeros asked for (None in ``dense`` and ``control``; in ``redense``, that of the
    sparse phase before it), `rate` the factor on the learning rate, `round` 0 for the dense phase and 1, 2, ...
    for the phases that repeat. `lineage` is the chain that it belongs to (the dense phase, which all chains share,
    counts as DSD's), `beside` the phase of DSD that ends after as many epochs as this control does.
    """

    kind: PhaseKind
    epochs: int
    rate: float
    sparsity: float | None
    round: int
    lineage: Lineage = "dsd"
    beside: Repeated | None = None

    @property
    def label(self) -> str:
        """The phase in a person's words.

        >>> Phase("redense", epochs=10, rate=0.1, sparsity=0.3, round=1).label
        're-dense 30%'
        """
        rounds = f" (round {self.round})" if self.round > 1 else ""
        if self.beside is not None:
            return f"{self.lineage} beside {NAMES[self.beside]}{rounds}"
        if self.sparsity is None:
            return NAMES[self.kind]
        return f"{NAMES[self.kind]} {percent(self.sparsity)}{rounds}"


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


def control_phases(control: str, epochs: Sequence[int], rates: Sequence[float], rounds: int = 1) -> tuple[Phase, ...]:
    """List the phases of a control with DSD's budget, dense first; `control` is one of `CONTROLS`.

    ``longer`` repeats DSD's phases without masks, ``llr`` spends all epochs after the dense phase at the low rate.

    >>> [(phase.label, phase.epochs) for phase in control_phases("longer", (10, 5, 4), (1, 1, 0.1))]
    [('dense', 10), ('control-longer beside sparse', 5), ('control-longer beside re-dense', 4)]
    >>> [(phase.label, phase.epochs) for phase in control_phases("llr", (10, 5, 4), (1, 1, 0.1))]
    [('dense', 10), ('control-llr beside re-dense', 9)]
    """
    dense, *repeated = dsd_phases(0.0, epochs, rates, rounds)
    if control == "llr":
        remaining = sum(phase.epochs for phase in repeated)
        return (dense, Phase("control", remaining, rates[2], None, rounds, "control-llr", "redense"))
    return (
        dense,
        *(
            Phase("control", phase.epochs, phase.rate, None, phase.round, "control-longer", beside)
            for phase, beside in zip(repeated, itertools.cycle(_REPEATED), strict=False)
        ),
    )


def contrasts(phases: Iterable[Phase]) -> list[tuple[Phase, Phase]]:
    """List which phase is to be compared with which, as (first, second), whose difference is second minus first.

    Sparse with dense, re-dense with sparse and with dense, and both with the controls of as many epochs.

    >>> phases = [*dsd_phases(0.5, (2, 1, 1), (1, 1, 1)), *control_phases("longer", (2, 1, 1), (1, 1, 1))]
    >>> [(second.label, first.label) for first, second in contrasts(phases)][:2]
    [('re-dense 50%', 'control-longer beside re-dense'), ('re-dense 50%', 'sparse 50%')]
    """
    known = list(dict.fromkeys(phases))
    pairs = [
        (first, second) for second in known for first in known if second.sparsity is not None and _stands(first, second)
    ]
    # what matters most comes first: re-dense against the controls; within that, the order of the table is kept
    return sorted(
        pairs,
        key=lambda pair: (
            ("redense", "sparse").index(pair[1].kind),
            ("control", "sparse", "dense").index(pair[0].kind),
            CONTROLS.index(pair[0].lineage.removeprefix("control-")) if pair[0].lineage != "dsd" else 0,
        ),
    )


def contrasts_by_seed(known: Collection[tuple[Phase, int]]) -> list[tuple[Phase, Phase, list[int]]]:
    """List the `contrasts` of phases that are known for some seeds, each with the seeds that both phases have."""
    found = []
    for first, second in contrasts(phase for phase, _ in known):
        seeds = [seed for phase, seed in known if phase == first and (second, seed) in known]
        if seeds:
            found.append((first, second, seeds))
    return found


def _stands(first: Phase, second: Phase) -> bool:
    """Tell whether `first` is what a sparse or re-dense phase `second` is measured against."""
    match first.kind:
        case "dense":
            return True
        case "control":
            return first.beside == second.kind and first.round == second.round
        case "sparse":
            return second.kind == "redense" and (first.sparsity, first.round) == (second.sparsity, second.round)
    return False
