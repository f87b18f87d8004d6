"""A phase of training, lists of them, and the clock that tells which phase is running."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from redense.arguments import Count, Must, NotNegative, Sparsity, called, described, validated
from redense.errors import RecipeError
from redense.files.reading import Unread, field, fields, mapping
from redense.sparsity.checks import MaskChoice
from redense.text import did_you_mean, percent

__all__ = ["Phase", "dense", "sparse"]

PhaseKind = Literal["dense", "sparse", "redense", "control"]
NAMES: dict[PhaseKind, str] = {"dense": "dense", "sparse": "sparse", "redense": "re-dense", "control": "control"}
"""Kinds of phases in a person's words."""


@validated(RecipeError)
@dataclass(frozen=True)
class Phase:
    """One phase of training.

    `kind` says what happens at its start and during it:

    - ``dense``: nothing is masked;
    - ``sparse``: the smallest weights are set to zero and stay zero to the end of the phase;
    - ``redense``: the mask is dropped; pruned weights start again from zero;
    - ``control``: training goes on as in the phase that it stands `beside`, without any mask.

    `epochs` is its length, in optimizer steps where `redense.DSD` counts these; `rate` the factor on the learning rate.
    `sparsity` is the fraction of zeros asked for (None in ``dense`` and ``control``; in ``redense``, that of the
    sparse phase before it), `round` 0 for the dense phase and 1, 2, ... for the phases that repeat. `lineage` is the
    chain that it belongs to: the method's name, or that of a control (the dense phase, which all chains share, counts
    as the method's). `beside` is, of a control, the phase of the method that ends after as many epochs.

    `rate_end`, if there is one, is where the factor falls to (or rises) from `rate` along a cosine. `masks` says how a
    sparse phase chooses its mask: ``random`` by chance, ``gradual`` little by little from none (Zhu & Gupta's cubic
    over the first three quarters), by the saliency that `redense.DSD` is told; None wholly as it is told. By default
    the smallest weights go, at once.

    `keeps` says, in runs of recipes, of which epoch the weights are kept: None of the last, ``best`` of the one that is
    most accurate on validation examples.

    >>> Phase("redense", epochs=10, rate=0.1, sparsity=0.5, round=1).label
    're-dense 50%'
    """

    kind: PhaseKind
    epochs: Count
    rate: NotNegative
    sparsity: Sparsity | None
    round: Count
    lineage: str = "dsd"
    beside: PhaseKind | None = None
    rate_end: NotNegative | None = None
    masks: MaskChoice | None = None
    keeps: Literal["best"] | None = None

    @validated(RecipeError)
    def factor(self, since: Count) -> float:
        """Return the factor on the learning rate after `since` epochs (or steps) of the phase.

        As `torch.optim.lr_scheduler.CosineAnnealingLR` has it with a period of the phase's length: the first epoch has
        `rate`, and one after the last would have `rate_end`, which is where a phase that follows may begin.

        >>> [round(Phase("dense", 4, 1.0, None, 0, rate_end=0.2).factor(since), 3) for since in range(5)]
        [1.0, 0.883, 0.6, 0.317, 0.2]
        """
        return self.rate if self.rate_end is None else cosine((self.rate, self.rate_end), since / self.epochs)

    @validated(RecipeError)
    def is_at(self, sparsity: Sparsity) -> bool:
        """Tell whether the phase belongs to what is trained at a sparsity: it is its own, or the phase has none.

        >>> [phase.is_at(0.5) for phase in chained([dense(2), sparse(1, 0.9), sparse(1, 0.5)])]
        [True, False, True]
        """
        return self.sparsity is None or self.sparsity == sparsity

    @property
    def last_rate(self) -> float:
        """The factor that the phase ends with."""
        return self.rate if self.rate_end is None else self.rate_end

    @property
    def label(self) -> str:
        """The phase in a person's words.

        >>> Phase("redense", epochs=10, rate=0.1, sparsity=0.3, round=1).label
        're-dense 30%'
        """
        rounds = f" (round {self.round})" if self.round > 1 else ""
        if self.beside is not None:
            return f"{self.lineage} beside {NAMES[self.beside]}{rounds}"
        if self.sparsity is None:  # rounds of these count from 0
            return NAMES[self.kind] + (f" (round {self.round + 1})" if self.round else "")
        return f"{NAMES[self.kind]} {percent(self.sparsity)}{rounds}"

    @property
    def series(self) -> str:
        """What it is called together with its like of other sparsities and rounds."""
        return self.lineage if self.kind == "control" else NAMES[self.kind]

    def to_columns(self) -> dict[str, Any]:
        """Return the fields as the columns of a flat row, in which the kind is called ``phase``.

        Those of `OPTIONAL_COLUMNS` are there where they say something.

        >>> Phase("dense", 10, 1.0, None, 0).to_columns()["phase"]
        'dense'
        """
        values = dataclasses.asdict(self)
        further = {name: values[name] for name in OPTIONAL_COLUMNS if values[name] is not None}
        return {name: values["kind" if name == "phase" else name] for name in PHASE_COLUMNS} | further

    @classmethod
    def from_columns(cls, row: Mapping[str, Any]) -> tuple[Phase, dict[str, Any]]:
        """Part a flat row into its phase, as `to_columns` wrote it, and the other columns.

        Raises `redense.files.reading.Unread`.
        """
        mapping(row)
        given = {"kind" if name == "phase" else name: field(row, name) for name in PHASE_COLUMNS}
        try:
            phase = fields(cls, given | {name: row[name] for name in OPTIONAL_COLUMNS if name in row})
        except RecipeError as error:
            raise Unread(str(error)) from None
        return phase, {name: value for name, value in row.items() if name not in (*PHASE_COLUMNS, *OPTIONAL_COLUMNS)}


PHASE_COLUMNS = ("lineage", "phase", "sparsity", "rate", "beside", "round", "epochs")
"""What a phase is called in rows of JSON and CSV."""
OPTIONAL_COLUMNS = ("rate_end", "masks", "keeps")
"""Columns of phases of which these are not None."""

Factors = float | tuple[float, float]
"""A factor on the learning rate, or where it begins and where it ends, a cosine lying between them."""
A_FACTOR = called("a finite factor above 0, or a pair of them (from, to) for a cosine")
Factor = Annotated[Factors, A_FACTOR]
Epochs = Annotated[int, Must(lambda epochs: epochs >= 1, "an integer of at least 1")]


@validated(RecipeError)
def dense(epochs: Epochs, rate: Factor = 1.0) -> Phase:
    """Make a phase without a mask; after a sparse phase the weights that were pruned start again from zero.

    Args:
        epochs: its length, 1 or more; optimizer steps where phases are counted in steps.
        rate: factor on the learning rate, finite and above 0, or a pair (from, to): a cosine between them, which moves
            with every epoch (every step where phases are counted in steps).

    Raises `RecipeError` for anything else.

    >>> dense(5, rate=(1.0, 0.1)).rate_end
    0.1
    """
    begin, end = ends_of(rate)
    return Phase("dense", epochs, begin, None, 0, rate_end=end)


@validated(RecipeError)
def sparse(
    epochs: Epochs, sparsity: Sparsity | None = None, rate: Factor = 1.0, *, masks: MaskChoice | None = None
) -> Phase:
    """Make a phase in which a share of the weights is held at zero.

    Args:
        epochs: its length, 1 or more; optimizer steps where phases are counted in steps.
        sparsity: fraction of zeros, in [0, 1); None in recipes, where it is each of their `sparsities`.
        rate: as in `dense`.
        masks: ``random`` or ``gradual`` (see `Phase`); None: as `redense.DSD` is told by ``saliency`` and `schedule`.

    Raises `RecipeError` for anything else.

    >>> sparse(5, 0.9).label
    'sparse 90%'
    """
    begin, end = ends_of(rate)
    return Phase("sparse", epochs, begin, sparsity, 1, rate_end=end, masks=masks)


def to_table(phase: Phase) -> dict[str, Any]:
    """Return a phase of a list as recipes write it: its kind, its epochs, and what is not by default.

    >>> to_table(dense(5, rate=(1.0, 0.1)))
    {'kind': 'dense', 'epochs': 5, 'rate': [1.0, 0.1]}
    """
    rate = [] if phase.rate_end is None and phase.rate == 1 else [phase.rate, phase.rate_end]
    table = {
        "sparsity": phase.sparsity,
        "rate": rate if phase.rate_end is not None else (rate or [None])[0],
        "masks": phase.masks,
    }
    kept = {name: value for name, value in table.items() if value is not None}
    return {"kind": phase.kind, "epochs": phase.epochs, **kept}


def of_table(table: Any) -> Phase:
    """Undo `to_table`; raise `RecipeError` for what is no such table.

    >>> of_table({"kind": "sparse", "epochs": 5, "masks": "random"}) == sparse(5, masks="random")
    True
    """
    kinds: dict[str, Callable[..., Phase]] = {"dense": dense, "sparse": sparse}
    known = {"dense": ("epochs", "rate"), "sparse": ("epochs", "sparsity", "rate", "masks")}
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds or "epochs" not in table:
        raise RecipeError(f"phases: got {table!r}; expected a table with kind dense or sparse, and epochs")
    settings = {name: value for name, value in table.items() if name != "kind"}
    for name in settings:
        if name not in known[kind]:
            raise RecipeError(
                f"phases: got {name!r} in a {kind} one{did_you_mean(name, known[kind])}; expected some of "
                f"{', '.join(known[kind])}"
            )
    return kinds[kind](**settings)


def chained(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Return phases as they follow each other, knowing which round each is of, and what a dense one comes after.

    A dense phase after a sparse one is re-dense, of the same sparsity; rounds count sparse phases. Phases of no length
    are left out. Raises `RecipeError` for a list without a sparse phase, and for what is not made by `dense`, `sparse`
    or one of `redense.methods`.

    >>> [phase.label for phase in chained([sparse(3, 0.5), dense(1), sparse(2, 0.9)])]
    ['sparse 50%', 're-dense 50%', 'sparse 90% (round 2)']
    """
    chain: list[Phase] = []
    for place, phase in enumerate(_checked(phases)):
        last = chain[-1] if chain else None
        pruned = last.sparsity if last is not None else None
        if phase.kind == "sparse":
            if phase.sparsity is None:
                raise RecipeError(
                    f"phases: got a sparse phase without sparsity at {place}; expected sparse(epochs, 0.9)"
                )
            before = last.round if last is not None and pruned is not None else 0
            chain.append(replace(phase, round=before + 1))
        elif last is None or pruned is None:
            chain.append(replace(phase, kind="dense", sparsity=None, round=0 if last is None else last.round + 1))
        else:
            again = last.round + (last.kind == "redense")
            chain.append(replace(phase, kind="redense", sparsity=pruned, round=again))
    return tuple(chain)


def cosine(rate: tuple[float, float], share: float) -> float:
    """Return where a rate is after a share of the way, in [0, 1], along a cosine from its first to its second value.

    Source: Loshchilov & Hutter, "SGDR", ICLR 2017, equation 5. Both ends are exact.

    >>> cosine((1.0, 0.0), 0.5)
    0.5
    """
    begin, end = rate
    if share in (0, 1):
        return end if share else begin
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


def _checked(phases: Sequence[Phase]) -> list[Phase]:
    expected = "expected a list of redense.phases.dense(epochs) and redense.phases.sparse(epochs, sparsity)"
    if not isinstance(phases, list | tuple) or not all(isinstance(phase, Phase) for phase in phases):
        raise RecipeError(f"phases: got {described(phases)}; {expected}")
    found = [phase for phase in phases if phase.epochs]
    if any(phase.kind == "control" for phase in found):
        raise RecipeError(f"phases: got a control; {expected}")
    if not any(phase.kind == "sparse" for phase in found):
        raise RecipeError(f"phases: got {len(found)} without a sparse one; {expected}, at least one of them sparse")
    return found


def ends_of(rate: Factors) -> tuple[float, float | None]:
    """Return where a rate begins, and where it ends if it moves; raise `RecipeError` for none above 0.

    >>> ends_of(0.5), ends_of((1.0, 0.1))
    ((0.5, None), (1.0, 0.1))
    """
    ends = rate if isinstance(rate, tuple) else (rate,)
    if not all(0 < end < math.inf for end in ends):
        raise RecipeError(f"rate: got {rate!r}; expected {A_FACTOR.expected}")
    begin, *end = ends
    return begin, end[0] if end else None


def total(phases: Sequence[Phase]) -> int:
    """Return the epochs (or steps) of all phases together."""
    return sum(phase.epochs for phase in phases)


def check_fill(phases: Sequence[Phase], unit: str, planned: float | None, trainer: str) -> None:
    """Raise `RecipeError` unless the phases take as many epochs (or steps) as a framework's trainer makes.

    >>> check_fill([Phase("dense", 3, 1.0, None, 0)], "epochs", 3, "fit")
    """
    if total(phases) != planned:
        raise RecipeError(
            f"DSDCallback: the phases take {total(phases)} {unit}, {trainer} makes {planned}; make them equal"
        )


def running(phases: Sequence[Phase], progress: int) -> tuple[Phase, int]:
    """Return which phase is running after `progress` epochs (or steps) of all, and how many of its own are over.

    At the end it is the last phase, all of it over.

    >>> phase, since = running([Phase("dense", 2, 1.0, None, 0), Phase("sparse", 3, 1.0, 0.5, 1)], 3)
    >>> phase.label, since
    ('sparse 50%', 1)
    """
    since = progress
    for phase in phases:
        if since < phase.epochs:
            return phase, since
        since -= phase.epochs
    return phases[-1], phases[-1].epochs
