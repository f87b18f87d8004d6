"""The table of methods: their phases, their controls, and which phases are compared.

A method is one line of `METHODS`. Plans, comparisons, tables and pictures of a run follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from redense.errors import RecipeError
from redense.methods.controls import CONTROLS
from redense.methods.lists import Phases, acdc, dsd, prune, spdf
from redense.phases import Factors, Phase, PhaseKind, chained


@dataclass(frozen=True)
class Method:
    """A way to train through phases.

    `lists` makes its phases of sparsity, epochs, rates and rounds, and of the recipe's own list of phases; the phases
    decide which of `CONTROLS` fit. `contrasts` says which kind of phase is compared with which, what matters most
    first: pairs (second, first), whose difference is second minus first. `takes` names which of `LENGTHS` it heeds. Of
    a method that `alternates`, the last dense and the last sparse phase are what it yields: these are shown and
    compared, with the controls beside them.
    """

    name: str
    lists: Callable[[float, Sequence[int], Sequence[float], int, Phases], Phases]
    contrasts: tuple[tuple[PhaseKind, PhaseKind], ...]
    takes: tuple[str, ...]
    alternates: bool = False

    def phases(
        self, sparsity: float, epochs: Sequence[int], rates: Sequence[float], rounds: int, own: Phases = ()
    ) -> Phases:
        """List the phases of the method's own lineage, which has its name; `own` are those of a recipe's list.

        Raises `RecipeError` for rounds and lists that the method does not take, and for what makes no phases.
        """
        if own and "phases" not in self.takes:
            raise RecipeError(f"phases: got a list beside another method; expected method = {_takers('phases')}")
        if rounds != 1 and "rounds" not in self.takes:
            raise RecipeError(f"rounds: got {rounds}; expected 1; rounds are for method = {_takers('rounds')}")
        return tuple(replace(phase, lineage=self.name) for phase in self.lists(sparsity, epochs, rates, rounds, own))

    def refuse_unheeded(self, given: Collection[str]) -> None:
        """Raise `RecipeError` for a length or rate among the settings `given` that the method does not heed."""
        for name in LENGTHS:
            if name in given and name not in self.takes:
                raise RecipeError(
                    f'{name}: got it beside method = "{self.name}", which does not heed it; expected it for method = '
                    f"{_takers(name)}"
                )

    def shown(self, phases: Iterable[Phase]) -> list[Phase]:
        """Choose, among phases of lineages of the method, those that tables show and comparisons are about.

        >>> [phase.label for phase in METHODS["acdc"].shown(acdc(0.9))]
        ['re-dense 90% (round 7)', 'sparse 90% (round 8)']
        """
        known = list(dict.fromkeys(phases))
        if not self.alternates:
            return known
        without_mask = "redense" if any(phase.kind == "redense" for phase in known) else "dense"
        last = {
            kind: max((phase.round for phase in known if kind in (phase.kind, phase.beside)), default=0)
            for kind in (without_mask, "sparse")
        }
        return [phase for phase in known if last.get(phase.beside or phase.kind) == phase.round]

    def compared(self, phases: Iterable[Phase]) -> list[tuple[Phase, Phase]]:
        """List which of the phases is to be compared with which, as (first, second), by importance.

        A control is compared with the phase it stands beside, the dense phase with all, others within their sparsity
        and, unless the method alternates, round. Among equally important pairs the order of the phases is kept.

        >>> phases = [*dsd(0.5, (2, 1, 1)), *CONTROLS["longer"].phases(dsd(0.5, (2, 1, 1)))]
        >>> [(second.label, first.label) for first, second in METHODS["dsd"].compared(phases)][:2]
        [('re-dense 50%', 'control-longer beside re-dense'), ('re-dense 50%', 'sparse 50%')]
        """
        known = self.shown(phases)
        controls = [control.lineage for control in CONTROLS.values()]
        pairs = [
            (first, second)
            for second in known
            for first in known
            if (second.kind, first.kind) in self.contrasts and self._comparable(first, second)
        ]
        return sorted(
            pairs,
            key=lambda pair: (
                self.contrasts.index((pair[1].kind, pair[0].kind)),
                controls.index(pair[0].lineage) if pair[0].kind == "control" else 0,
            ),
        )

    def opponent(self, phases: Iterable[Phase]) -> PhaseKind | None:
        """Return the kind of phase that the last of the method's own has to beat, by `OPPONENTS`.

        `phases` are those of the method and its controls. None where the last is compared with no other.

        >>> METHODS["dsd"].opponent(dsd(0.5, (2, 1, 1))), METHODS["acdc"].opponent(acdc(0.9))
        ('dense', 'redense')
        """
        known = list(dict.fromkeys(phases))  # controls have the dense start once more
        last = [phase for phase in known if phase.kind != "control"][-1]
        compared = {first.kind for first, second in self.compared(known) if second == last}
        return next((kind for kind in OPPONENTS if kind in compared), None)

    def besides(self, last: Phase, phases: Iterable[Phase]) -> Phase | None:
        """Return the other network that an alternating method yields beside one that ends sparse: that without a mask.

        >>> METHODS["acdc"].besides(acdc(0.9)[-1], acdc(0.9)).label, METHODS["dsd"].besides(acdc(0.9)[-1], acdc(0.9))
        ('re-dense 90% (round 7)', None)
        """
        if not self.alternates or last.kind != "sparse":
            return None
        shown = self.shown(phases)
        return next((phase for phase in shown if (phase.kind, phase.sparsity) == ("redense", last.sparsity)), None)

    def _comparable(self, first: Phase, second: Phase) -> bool:
        if first.kind == "control":
            return (first.beside, first.round) == (second.kind, second.round)
        if first.sparsity is None:
            return True
        return first.sparsity == second.sparsity and (self.alternates or first.round == second.round)


def _of_three(sparsity: float, epochs: Sequence[int], rates: Sequence[float], rounds: int, own: Phases) -> Phases:
    return dsd(sparsity, epochs, rates, rounds)


def _of_total(
    lists: Callable[[float, int, Factors], Phases],
) -> Callable[[float, Sequence[int], Sequence[float], int, Phases], Phases]:
    """Take a recipe's epochs as one total, and its rates as where a cosine over all of them begins and ends."""

    def of_recipe(sparsity: float, epochs: Sequence[int], rates: Sequence[float], rounds: int, own: Phases) -> Phases:
        dsd(sparsity, epochs, rates)  # raises for what is no three lengths and rates
        return lists(sparsity, sum(epochs), (rates[0], rates[-1]) if rates[0] != rates[-1] else rates[0])

    return of_recipe


def _of_list(sparsity: float, epochs: Sequence[int], rates: Sequence[float], rounds: int, own: Phases) -> Phases:
    if any(phase.sparsity is not None for phase in own):
        raise RecipeError("phases: got a sparsity; expected none: a recipe's list is trained at each of its sparsities")
    return chained([replace(phase, sparsity=sparsity) if phase.kind == "sparse" else phase for phase in own])


def _takers(setting: str) -> str:
    """Name the methods that take a setting."""
    return " or ".join(f'"{method.name}"' for method in METHODS.values() if setting in method.takes)


LENGTHS = ("epochs", "rates", "rounds", "phases")
"""The settings of recipes that phases are made of; each method takes some."""
OPPONENTS: tuple[PhaseKind, ...] = ("control", "dense", "redense", "sparse")
"""Kinds of phases to beat: controls, which have the same budget, else dense training, else what there is besides."""
ENDS_SPARSE: tuple[tuple[PhaseKind, PhaseKind], ...] = (
    ("sparse", "control"),
    ("redense", "control"),
    ("sparse", "redense"),
    ("sparse", "dense"),
)
ENDS_DENSE: tuple[tuple[PhaseKind, PhaseKind], ...] = (
    ("redense", "control"),
    ("redense", "sparse"),
    ("redense", "dense"),
    ("sparse", "control"),
    ("sparse", "dense"),
)
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("dsd", _of_three, ENDS_DENSE, ("epochs", "rates", "rounds")),
        Method("acdc", _of_total(acdc), ENDS_SPARSE, ("epochs", "rates"), alternates=True),
        Method("spdf", _of_total(spdf), ENDS_DENSE, ("epochs", "rates")),
        Method("prune", _of_total(prune), ENDS_SPARSE, ("epochs", "rates")),
        Method("phases", _of_list, ENDS_SPARSE, ("phases",), alternates=True),
    )
}
"""Methods by the name under which recipes ask for them. ``phases`` is the recipe's own list."""
