"""The table of methods: their phases, their controls of the same budget, and which phases are compared.

A method is one line of `METHODS`. Plans, comparisons, tables and pictures of a run follow from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from redense.errors import RecipeError
from redense.phases import Phase, PhaseKind, total
from redense.sparsity.checks import check_sparsity

Phases = tuple[Phase, ...]
MOST_ROUNDS = 10_000
"""Phases are listed one by one, so a mistyped number must not list millions."""


def dsd(
    sparsity: float,
    epochs: Sequence[int] = (20, 20, 20),
    rates: Sequence[float] = (1.0, 1.0, 0.1),
    rounds: int = 1,
    *,
    unit: str = "epochs",
) -> Phases:
    """List the phases of Dense -> Sparse -> Dense: dense, then `rounds` times sparse and re-dense.

    Args:
        sparsity: fraction of zeros, in [0, 1).
        epochs: lengths of dense (0 for a model already trained), sparse and re-dense.
        rates: factors on the learning rate in the three, finite and above 0.
        rounds: how often sparse and re-dense are repeated, at most `MOST_ROUNDS` times.
        unit: what the lengths count, named in errors.

    Raises `RecipeError` for settings that make no sense.
    Source: Han et al., "DSD: Dense-Sparse-Dense Training for Deep Neural Networks", ICLR 2017, section 3.

    >>> [phase.label for phase in dsd(0.5, (10, 5, 5))]
    ['dense', 'sparse 50%', 're-dense 50%']
    """
    check_sparsity("sparsity", sparsity)
    _check_lengths(unit, epochs)
    if len(rates) != 3 or not all(rate > 0 and math.isfinite(rate) for rate in rates):
        raise RecipeError(f"rates: got {tuple(rates)}; expected three finite factors above 0 (dense, sparse, re-dense)")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise RecipeError(f"rounds: got {rounds}; expected 1 to {MOST_ROUNDS:,}")
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


def _longer(phases: Phases) -> Phases:
    dense, *repeated = phases
    return (
        dense,
        *(Phase("control", phase.epochs, phase.rate, None, phase.round, beside=phase.kind) for phase in repeated),
    )


def _llr(phases: Phases) -> Phases:
    dense, *repeated = phases
    last = repeated[-1]
    return (dense, Phase("control", total(repeated), last.rate, None, last.round, beside=last.kind))


@dataclass(frozen=True)
class Control:
    """Training with a method's budget and without its masks, which tells what the method gained from longer training.

    `lists` makes its phases of the method's, dense first.
    """

    name: str
    lists: Callable[[Phases], Phases]

    @property
    def lineage(self) -> str:
        """What its lineage is called."""
        return f"control-{self.name}"

    def phases(self, of_method: Phases) -> Phases:
        """List the phases of the control of a method's: the same dense phase, then its own.

        >>> [(phase.label, phase.epochs) for phase in CONTROLS["longer"].phases(dsd(0.5, (10, 5, 4)))]
        [('dense', 10), ('control-longer beside sparse', 5), ('control-longer beside re-dense', 4)]
        >>> [(phase.label, phase.epochs) for phase in CONTROLS["llr"].phases(dsd(0.5, (10, 5, 4)))]
        [('dense', 10), ('control-llr beside re-dense', 9)]
        """
        dense, *others = self.lists(of_method)
        return (dense, *(replace(phase, lineage=self.lineage) for phase in others))


CONTROLS = {control.name: control for control in (Control("longer", _longer), Control("llr", _llr))}
"""Controls by the name under which recipes ask for them: ``longer`` goes on from the dense phase with the same epochs
and rates, ``llr`` spends all epochs after the dense phase at the last, low rate."""


def control_of(phase: Phase) -> Control:
    """Return the control to which a phase of the kind ``control`` belongs."""
    return next(control for control in CONTROLS.values() if control.lineage == phase.lineage)


@dataclass(frozen=True)
class Method:
    """A way to train through phases.

    `lists` makes its phases of sparsity, epochs, rates and rounds; the first is dense, the same for all sparsities.
    `controls` names those of `CONTROLS` that fit it. `contrasts` says which kind of
    phase is compared with which, what matters most first: pairs (second, first), whose difference is second minus
    first.
    """

    name: str
    lists: Callable[[float, Sequence[int], Sequence[float], int], Phases]
    controls: tuple[str, ...]
    contrasts: tuple[tuple[PhaseKind, PhaseKind], ...]

    def phases(self, sparsity: float, epochs: Sequence[int], rates: Sequence[float], rounds: int) -> Phases:
        """List the phases of the method's own lineage, which has its name."""
        return tuple(replace(phase, lineage=self.name) for phase in self.lists(sparsity, epochs, rates, rounds))

    def compared(self, phases: Iterable[Phase]) -> list[tuple[Phase, Phase]]:
        """List which of the phases is to be compared with which, as (first, second), by importance.

        A control is compared with the phase it stands beside, the dense phase with all, others within their sparsity
        and round. Among equally important pairs the order of the phases is kept.

        >>> phases = [*dsd(0.5, (2, 1, 1)), *CONTROLS["longer"].phases(dsd(0.5, (2, 1, 1)))]
        >>> [(second.label, first.label) for first, second in METHODS["dsd"].compared(phases)][:2]
        [('re-dense 50%', 'control-longer beside re-dense'), ('re-dense 50%', 'sparse 50%')]
        """
        known = list(dict.fromkeys(phases))
        controls = [CONTROLS[name].lineage for name in self.controls]
        pairs = [
            (first, second)
            for second in known
            for first in known
            if (second.kind, first.kind) in self.contrasts and _comparable(first, second)
        ]
        return sorted(
            pairs,
            key=lambda pair: (
                self.contrasts.index((pair[1].kind, pair[0].kind)),
                controls.index(pair[0].lineage) if pair[0].kind == "control" else 0,
            ),
        )


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "dsd",
            dsd,
            ("longer", "llr"),
            (
                ("redense", "control"),
                ("redense", "sparse"),
                ("redense", "dense"),
                ("sparse", "control"),
                ("sparse", "dense"),
            ),
        ),
    )
}
"""Methods by the name under which recipes ask for them."""


def _comparable(first: Phase, second: Phase) -> bool:
    if first.kind == "control":
        return (first.beside, first.round) == (second.kind, second.round)
    return first.sparsity is None or (first.sparsity, first.round) == (second.sparsity, second.round)


def _check_lengths(unit: str, lengths: Sequence[int]) -> None:
    expected = "expected three integers (dense, sparse, re-dense), 0 or more dense, at least 1 sparse and re-dense"
    if len(lengths) != 3 or any(isinstance(n, bool) or not isinstance(n, int) for n in lengths):
        raise RecipeError(f"{unit}: got {tuple(lengths)}; {expected}")
    if lengths[0] < 0 or min(lengths[1:]) < 1:
        raise RecipeError(f"{unit}: got {tuple(lengths)}; {expected}")
