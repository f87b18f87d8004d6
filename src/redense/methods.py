"""The table of methods: their phases, their controls of the same budget, and which phases are compared.

A method is one line of `METHODS`. Plans, comparisons, tables and pictures of a run follow from it. The methods
themselves, `dsd`, `acdc`, `spdf` and `prune`, list phases for `redense.DSD` as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile

from redense.errors import RecipeError
from redense.phases import MaskChoice, Phase, PhaseKind, Rate, chained, cosine, dense, sparse, total
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


Shares = tuple[tuple[PhaseKind, int], ...]
"""Phases and their shares of a method's epochs, in percent."""
ACDC: Shares = (
    ("dense", 10),
    *(("sparse", 5), ("dense", 5)) * 6,
    ("sparse", 5),
    ("dense", 10),
    ("sparse", 15),
)
SPDF: Shares = (("sparse", 75), ("dense", 25))
GRADUAL: Shares = (("dense", 20), ("sparse", 80))
ONE_SHOT: Shares = (("dense", 50), ("sparse", 50))


def acdc(sparsity: float, epochs: int = 100, rate: Rate = 1.0) -> Phases:
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


def spdf(sparsity: float, epochs: int = 100, rate: Rate = 1.0, *, masks: MaskChoice | None = "random") -> Phases:
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


def prune(sparsity: float, epochs: int = 100, rate: Rate = 1.0, *, gradual: bool = True) -> Phases:
    """List the phases of pruning, the baseline of all that ends sparse: dense, then sparse to the end.

    Args:
        sparsity: fraction of zeros, in [0, 1).
        epochs: of both phases together, 5 or more. Or optimizer steps.
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


def _shared_out(shares: Shares, sparsity: float, epochs: int, rate: Rate, masks: MaskChoice | None = None) -> Phases:
    """Share epochs out among phases, every end being rounded to a whole one, and let the rate fall over all of them."""
    fewest = -(-100 // min(share for _, share in shares))
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < fewest:
        raise RecipeError(f"epochs: got {epochs!r}; expected {fewest} or more in all, so that every phase has some")
    if sparsity is None:
        raise RecipeError("sparsity: got None; expected a fraction from 0 (included) to 1 (excluded)")
    ends = [(2 * end * epochs + 100) // 200 for end in accumulate(share for _, share in shares)]
    phases = []
    for (kind, _), begin, end in zip(shares, [0, *ends], ends, strict=False):
        own = rate
        if isinstance(rate, tuple | list) and len(rate) == 2 and rate[0] != rate[1]:
            own = cosine(rate, begin / epochs), cosine(rate, end / epochs)
        phases.append(dense(end - begin, own) if kind == "dense" else sparse(end - begin, sparsity, own, masks=masks))
    return chained(phases)


def _parted(phases: Phases) -> tuple[Phases, Phases]:
    """Part the dense start, which a method shares with its controls, from the rest; some methods have none."""
    start = tuple(takewhile(lambda phase: phase.kind == "dense", phases))
    return start, phases[len(start) :]


def _unmasked(phase: Phase) -> Phase:
    return replace(phase, kind="control", sparsity=None, beside=phase.kind, masks=None)


def _longer(phases: Phases) -> Phases:
    start, rest = _parted(phases)
    return (*start, *map(_unmasked, rest))


def _llr(phases: Phases) -> Phases:
    start, rest = _parted(phases)
    if not start:  # the controls' own dense start: the first sparse phase without its mask
        start, rest = (_unmasked(rest[0]),), rest[1:]
    last = phases[-1]
    return (*start, Phase("control", total(rest), last.last_rate, None, last.round, beside=last.kind))


def _rate_falls(phases: Phases) -> bool:
    """Tell whether training ends at a lower rate than some of it had."""
    return phases[-1].last_rate < max(phase.rate for phase in phases)


@dataclass(frozen=True)
class Control:
    """Training with a method's budget and without its masks, which tells what the method gained from longer training.

    `lists` makes its phases of the method's, dense first; `fits` tells for which of these it makes sense, and `needs`
    says what they lack otherwise.
    """

    name: str
    lists: Callable[[Phases], Phases]
    fits: Callable[[Phases], bool] = bool
    needs: str = ""

    @property
    def lineage(self) -> str:
        """What its lineage is called."""
        return f"control-{self.name}"

    def phases(self, of_method: Phases) -> Phases:
        """List the phases of the control of a method's: the same dense phase, if it begins dense, then its own.

        >>> [(phase.label, phase.epochs) for phase in CONTROLS["longer"].phases(dsd(0.5, (10, 5, 4)))]
        [('dense', 10), ('control-longer beside sparse', 5), ('control-longer beside re-dense', 4)]
        >>> [(phase.label, phase.epochs) for phase in CONTROLS["llr"].phases(dsd(0.5, (10, 5, 4)))]
        [('dense', 10), ('control-llr beside re-dense', 9)]
        """
        return tuple(
            replace(phase, lineage=self.lineage) if phase.kind == "control" else phase
            for phase in self.lists(of_method)
        )


CONTROLS = {
    control.name: control
    for control in (
        Control("longer", _longer),
        Control("llr", _llr, _rate_falls, "no rate falls, so that llr would be longer in one phase"),
    )
}
"""Controls by the name under which recipes ask for them: ``longer`` goes on from the dense phase with the same epochs
and rates, ``llr`` spends all epochs after the dense phase at the last, low rate. Those of a method that begins sparse
begin with its first phase without the mask."""


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
