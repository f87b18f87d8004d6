"""Controls: training with a method's budget and without its masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile

from redense.errors import RecipeError
from redense.methods.lists import Phases
from redense.phases import Phase, total


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
    if not start:  # a dense start of the controls' own, which is the first phase of ``longer``
        start, rest = (replace(_unmasked(rest[0]), lineage=CONTROLS["longer"].lineage),), rest[1:]
    last = phases[-1]
    return (
        *start,
        Phase("control", total(rest), last.last_rate, None, last.round, beside=last.kind, lineage=last.lineage),
    )


def _early(phases: Phases) -> Phases:
    base = CONTROLS[_last(phases)].phases(phases)
    return (*base[:-1], replace(base[-1], lineage=phases[-1].lineage, keeps="best"))


def _last(phases: Phases) -> str:
    """Name the control that ends as a method does: at its low rate, where it has one."""
    return "llr" if _rate_falls(phases) else "longer"


def _rate_falls(phases: Phases) -> bool:
    """Tell whether training ends at a lower rate than some of it had, and not in the first phase, which is shared."""
    highest = max(max(phase.rate, phase.last_rate) for phase in phases)
    return len(phases) > 1 and phases[-1].last_rate < highest


@dataclass(frozen=True)
class Control:
    """Training with a method's budget and without its masks, which tells what the method gained from longer training.

    `lists` makes its phases of the method's, dense first; `fits` tells for which of these it makes sense, and `needs`
    says what they lack otherwise. `best_of` names, for a method's phases, the control whose best epoch on validation
    examples it is, if it is that of one. `beside_each` tells that it has a phase beside each of the method's.
    """

    name: str
    lists: Callable[[Phases], Phases]
    fits: Callable[[Phases], bool] = bool
    needs: str = ""
    best_of: Callable[[Phases], str] | None = None
    beside_each: bool = False

    @property
    def lineage(self) -> str:
        """What its lineage is called."""
        return f"control-{self.name}"

    def phases(self, of_method: Phases) -> Phases:
        """List the phases of the control of a method's: the same dense phase, if it begins dense, then its own.

        >>> from redense.methods import dsd
        >>> [(phase.label, phase.epochs) for phase in CONTROLS["longer"].phases(dsd(0.5, (10, 5, 4)))]
        [('dense', 10), ('control-longer beside sparse', 5), ('control-longer beside re-dense', 4)]
        >>> [(phase.label, phase.epochs) for phase in CONTROLS["llr"].phases(dsd(0.5, (10, 5, 4)))]
        [('dense', 10), ('control-llr beside re-dense', 9)]
        """
        lineage = of_method[0].lineage
        return tuple(
            replace(phase, lineage=self.lineage) if phase.kind == "control" and phase.lineage == lineage else phase
            for phase in self.lists(of_method)
        )


CONTROLS = {
    control.name: control
    for control in (
        Control("longer", _longer, beside_each=True),
        Control("llr", _llr, _rate_falls, "no rate falls, so that llr would be longer in one phase"),
        Control("early", _early, best_of=_last),
    )
}
"""Controls by the name under which recipes ask for them: ``longer`` goes on from the dense phase with the same epochs
and rates, ``llr`` spends all epochs after the dense phase at the last, low rate, and ``early`` is that (where no rate
falls, the last phase of ``longer``) stopped at the epoch that is best on validation examples. Those of a method that
begins sparse begin with its first phase without the mask."""


def control_of(phase: Phase) -> Control:
    """Return the control to which a phase of the kind ``control`` belongs."""
    check_control(phase)
    return next(control for control in CONTROLS.values() if control.lineage == phase.lineage)


def check_control(phase: Phase) -> None:
    """Raise `RecipeError` for a phase of the kind ``control`` that belongs to none, or stands beside no other."""
    lineages = [control.lineage for control in CONTROLS.values()]
    if phase.kind == "control" and phase.lineage not in lineages:
        raise RecipeError(f"lineage: got {phase.lineage!r} for a control; expected one of {', '.join(lineages)}")
    if phase.kind == "control" and phase.beside is None:
        raise RecipeError("beside: got none for a control; expected the phase that it stands beside")
