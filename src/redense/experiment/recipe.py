"""The recipe: every setting that determines the results of a run, and nothing else.

One frozen dataclass serves TOML files, command-line flags and Python; every check stands here.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from typing_extensions import Doc

from redense.arguments import FRACTION, SOME, NotNegative, Positive, validated
from redense.auditing import protocols
from redense.auditing.attacks import FURTHER_FAMILIES
from redense.data.layout import Layout
from redense.errors import RecipeError
from redense.experiment.optimizers import OPTIMIZERS, OptimizerName
from redense.files.reading import field as setting_of
from redense.files.reading import mapping, plain_bytes
from redense.methods import CONTROLS, LENGTHS, METHODS, Method, Phases
from redense.models.names import OWN
from redense.phases import Phase, of_table, to_table
from redense.sparsity.checks import DistributionName, check_sparsity
from redense.text import did_you_mean, percent

Precision = Literal["fp32", "bf16"]
Keep = Literal["last", "best"]
AuditNames = Annotated[
    tuple[str, ...],
    Doc(
        f"Attacks with reference models of the same phases: {', '.join(FURTHER_FAMILIES)}. None: no audit. Those that "
        "need nothing but the target's plain answers are made in every audit."
    ),
]
FORMER_NAMES = {"protocols": protocols.FORMER}
"""Words that older recipes use, and what they are called now, by setting."""
LATER = ("phases", "validation", "keep", "layout", "precision")
"""Settings that folders of former versions lack: their defaults hold there."""
SETS = ("controls", "audit", "protocols", "exclude")
"""Settings whose values are names, each given once; former versions wrote what was given twice."""
VALIDATION = 0.1
"""The share of the training examples that validation takes where it is needed and not said."""
TOML_LIMIT = 2**20
"""Bytes of a recipe in TOML, at most."""
DEFAULT_RECIPE = "digits"
"""What `redense run` trains without a recipe."""
FORMER_RECIPES = {"fashion-mnist-reference": "fashion-mnist-published"}


@validated(RecipeError)
@dataclass(frozen=True)
class Recipe:
    """The settings of a run. Raises `RecipeError` for any that make no sense.

    `model` names a network that comes with redense, or package.module:factory; auto chooses by the shape of the
    inputs. `audit` names attacks with reference models (lira, rmia and others that `redense run --help` lists); without
    any there is no audit.

    >>> Recipe(data="fashion-mnist", epochs=(10, 10, 10)).sparsities
    (0.3, 0.5, 0.7, 0.9)
    >>> Recipe(sparsities=(1.5,))
    Traceback (most recent call last):
    ...
    redense.errors.RecipeError: sparsities: got 1.5; expected a fraction from 0 (included) to 1 (excluded)
    """

    data: str = "digits"
    """A named data set (`redense data` lists them), FILE.npz, a folder of class folders, or package.module:function."""
    layout: Layout = "auto"
    """channels-first or channels-last: the order of the axes of images in an NPZ file whose shape does not tell."""
    model: Annotated[str, Doc(f"{OWN}; auto chooses by the shape of the inputs.")] = "auto"
    method: str = "dsd"
    """Which phases follow each other: dsd is dense, sparse, re-dense; acdc alternates and yields a dense and a sparse
    network; spdf is sparse by chance from the start, then dense; prune is dense, then sparser and sparser; phases are
    those of the recipe's own list."""
    sparsities: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)
    """Fractions of weights to prune, each at least 0 and below 1."""
    epochs: tuple[int, int, int] = (20, 20, 20)
    """Epochs of the dense, sparse and re-dense phase; other methods share out the sum among their phases."""
    seeds: tuple[int, ...] = (0,)
    """One whole table is trained for each seed."""
    rounds: int = 1
    """How often sparse and re-dense are repeated: 2 is D-S-D-S-D; of dsd alone."""
    batch_size: Annotated[int, SOME] = 32
    """Examples a step."""
    optimizer: OptimizerName = "adam"
    """A fresh one starts every phase."""
    lr: Positive = 1e-3
    """Learning rate of the optimizer."""
    rates: tuple[float, float, float] = (1.0, 1.0, 0.1)
    """Factors on the learning rate in the dense, sparse and re-dense phase; in other methods it falls from the first to
    the last along a cosine over all epochs."""
    momentum: Annotated[float, FRACTION] = 0.9
    """Momentum of SGD."""
    weight_decay: NotNegative = 0.0
    """Weight decay: L2 for SGD and Adam, decoupled for AdamW."""
    precision: Precision = "fp32"
    """fp32 trains in float32; bf16 computes forward and backward passes in bfloat16, faster where the processor
    has units for it. Weights, optimizer, masks and all that is measured are float32 in both."""
    exclude: tuple[str, ...] = ()
    """Names or patterns of layers that stay dense, such as conv2d or 'layer1.*'."""
    distribution: DistributionName = "uniform"
    """uniform prunes every tensor alike; global takes the smallest weights of all tensors together; erk
    (Erdos-Renyi-kernel) spares small tensors."""
    controls: tuple[str, ...] = ()
    """Controls of the same budget beside the method: longer goes on from the dense phase with the same epochs, rates
    and batches but no mask; llr spends all these epochs at the low rate, and is left out where no rate falls. Where the
    method begins sparse, they begin with that phase unmasked. early is llr, or else the last phase of longer, stopped
    at its best epoch by validation, and brings that control and validation with it."""
    validation: Annotated[float, FRACTION] = 0.0
    """Share of the training examples that validates and is neither trained on nor audited, the same examples for all
    models; 0.1 where early or keep best needs one."""
    keep: Keep = "last"
    """Of which epoch of every phase the weights are kept, and the next phase begins with: last, or best by
    validation, where llr is what early is otherwise."""
    audit: AuditNames = ()
    references: int = 16
    """Reference models of an audit, each trained like the target on a random half of all examples."""
    protocols: tuple[str, ...] = ("all",)
    """Audited targets: all is the table's models, trained on all training data, with the test data as
    non-members; half trains targets on a random half of all examples, the other half being non-members."""
    phases: tuple[Phase, ...] = ()
    """The phases of the method phases, one after the other, each trained at all of `sparsities`; tables [[phases]] in
    TOML: kind dense or sparse, epochs, rate (a number or [from, to]), masks (random or gradual)."""

    def __post_init__(self) -> None:
        for name, former in FORMER_NAMES.items():
            object.__setattr__(self, name, tuple(former.get(each, each) for each in getattr(self, name)))
        self._check_values()
        object.__setattr__(self, "controls", self._with_sources())
        if self.validation == 0 and (self._stopped or self.keep == "best"):
            object.__setattr__(self, "validation", VALIDATION)

    @property
    def chosen_method(self) -> Method:
        """The line of the table of methods."""
        return METHODS[self.method]

    @property
    def audited_protocols(self) -> tuple[str, ...]:
        """The protocols whose audits are shown: those asked for; without an audit of the run's own, the table's too."""
        return self.protocols if self.audit else tuple(dict.fromkeys((*protocols.OF_TABLE, *self.protocols)))

    def phases_at(self, sparsity: float) -> Phases:
        """List the phases of the method at a sparsity."""
        return self._kept(self.chosen_method.phases(sparsity, self.epochs, self.rates, self.rounds, self.phases))

    @cached_property
    def final_phase(self) -> Phase:
        """The phase that the method ends with, at no particular sparsity."""
        return self.phases_at(0.0)[-1]

    @validated(RecipeError)
    def is_final(self, phase: Phase) -> bool:
        """Tell whether a phase, at whatever sparsity, is the one that the method ends with."""
        final = self.final_phase
        return (phase.kind, phase.round) == (final.kind, final.round)

    @validated(RecipeError)
    def is_beside_final(self, phase: Phase) -> bool:
        """Tell whether a phase is a control's that ends after as many epochs as the method."""
        final = self.final_phase
        return (phase.beside, phase.round) == (final.kind, final.round)

    def lineages(self) -> list[Phases]:
        """List the phases of every lineage, in the table's order: the method at each sparsity, then its controls."""
        at_no_sparsity = self.phases_at(0.0)
        fitting = [CONTROLS[name] for name in self.controls if CONTROLS[name].fits(at_no_sparsity)]
        controls = [control.phases(at_no_sparsity) for control in fitting]
        return [*map(self.phases_at, self.sparsities), *map(self._kept, controls)]

    def left_out(self) -> list[str]:
        """Say which of the controls are left out, and why: those that do not fit the method's phases.

        >>> Recipe(controls=("longer", "llr"), rates=(1.0, 1.0, 1.0)).left_out()
        ['controls: llr is left out, as no rate falls, so that llr would be longer in one phase']
        """
        unfit = (
            control for control in map(CONTROLS.__getitem__, self.controls) if not control.fits(self.phases_at(0.0))
        )
        return [f"controls: {control.name} is left out, as {control.needs}" for control in unfit]

    def _kept(self, phases: Phases) -> Phases:
        if self.keep == "last":
            return phases
        return tuple(dataclasses.replace(phase, keeps="best") for phase in phases)

    @property
    def _stopped(self) -> dict[str, str]:
        """The controls that are stopped at their best epoch, and the controls whose epochs these are."""
        phases = self.phases_at(0.0)
        of = {name: CONTROLS[name].best_of for name in self.controls}
        return {name: best_of(phases) for name, best_of in of.items() if best_of is not None}

    def _with_sources(self) -> tuple[str, ...]:
        """Return the controls, last those that are the best epoch of another, after these others."""
        stopped = self._stopped
        sources = tuple(dict.fromkeys(stopped.values()))
        return (*(name for name in self.controls if name not in (*stopped, *sources)), *sources, *stopped)

    def _check_values(self) -> None:
        _require_some("sparsities", self.sparsities)
        for sparsity in self.sparsities:
            check_sparsity("sparsities", sparsity)
        _require_distinct("sparsities", self.sparsities)
        _require_told_apart(self.sparsities)
        _require_known("method", self.method, METHODS)
        phases = self.phases_at(0.0)  # raises for epochs, rates, rounds and lists that make none
        if min(self.epochs) < 1:
            raise RecipeError(f"epochs: got {self.epochs}; expected at least 1 in each phase")
        _require_some("seeds", self.seeds)
        _require_distinct("seeds", self.seeds)
        if min(self.seeds) < 0:
            raise RecipeError(f"seeds: got {min(self.seeds)}; expected integers of 0 or more")
        _require_some("protocols", self.protocols)
        for name in SETS:
            _require_distinct(name, getattr(self, name))
        _require_known("controls", self.controls, CONTROLS)
        if self.controls and not any(CONTROLS[name].fits(phases) for name in self.controls):
            control = CONTROLS[self.controls[0]]
            raise RecipeError(f"controls: got {control.name} alone, and {control.needs}; expected another")
        if self.keep == "best" and self._stopped:
            (stopped, source), *_ = self._stopped.items()
            raise RecipeError(
                f"controls: got {stopped} with keep best, under which {source} is the same, kept at its best epoch; "
                f"expected {source} instead"
            )
        _require_known("audit", self.audit, FURTHER_FAMILIES)
        _require_known("protocols", self.protocols, protocols.OF_RUNS)
        if self.references < 2 or self.references % 2:
            raise RecipeError(
                f"references: got {self.references}; expected an even number of 2 or more, so that every example "
                "is in the training data of half of them"
            )

    @classmethod
    @validated(RecipeError)
    def from_mapping(cls, settings: Mapping[str, Any], source: str) -> Recipe:
        """Build a recipe from plain values, as TOML or JSON give them; `source` is named in errors."""
        names = [field.name for field in dataclasses.fields(cls)]
        for key in settings:
            if key not in names:
                raise RecipeError(
                    f"{source}: unknown setting {key!r}{did_you_mean(key, names)}; expected one of {', '.join(names)} "
                    "(where and with what a run is carried out, flags of `redense run` say)"
                )
        try:
            plain: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
            }
            if isinstance(plain.get("phases"), tuple):
                plain["phases"] = tuple(map(of_table, plain["phases"]))
            return cls(**plain)
        except RecipeError as error:
            raise RecipeError(f"{source}: {error}") from None

    @classmethod
    def from_written(cls, settings: Any) -> Recipe:
        """Undo `to_mapping`; raise `Unread` unless every setting is there, `RecipeError` for wrong ones.

        A setting that comes to be after folders were written without it must be let off here.
        """
        for each in dataclasses.fields(cls):
            if each.name not in LATER:
                setting_of(mapping(settings), each.name)
        once = {name: _once(value) if name in SETS else value for name, value in settings.items()}
        return cls.from_mapping(once, source="recipe")

    @property
    def takes_momentum(self) -> bool:
        """Whether the optimizer heeds `momentum`."""
        return OPTIMIZERS[self.optimizer].takes_momentum

    def heeded(self) -> dict[str, Any]:
        """Return of `to_mapping` what results depend on: without settings that the method or the optimizer ignores.

        >>> settings = Recipe(method="phases", phases=(Phase("sparse", 5, 1.0, None, 1),)).heeded()
        >>> settings["phases"], "epochs" in settings, "momentum" in settings
        ([{'kind': 'sparse', 'epochs': 5}], False, False)
        """
        ignored = {name for name in LENGTHS if name not in self.chosen_method.takes}
        if not self.takes_momentum:
            ignored.add("momentum")
        return {name: value for name, value in self.to_mapping().items() if name not in ignored}

    def to_mapping(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        values = {**dataclasses.asdict(self), "phases": tuple(map(to_table, self.phases))}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def shipped_recipes() -> list[str]:
    """Name the recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in files("redense.experiment.recipes").iterdir()
        if entry.name.endswith(".toml")
    )


def load_recipe(source: str) -> Recipe:
    """Load a recipe by its shipped name or from a TOML file.

    >>> load_recipe("fashion-mnist").epochs
    (10, 10, 10)
    """
    source = FORMER_RECIPES.get(source, source)
    if source in shipped_recipes():
        text = files("redense.experiment.recipes").joinpath(f"{source}.toml").read_text(encoding="utf-8")
    elif source.endswith(".toml"):
        try:
            text = plain_bytes(Path(source), TOML_LIMIT).decode()
        except (OSError, ValueError) as error:
            raise RecipeError(f"recipe {source}: cannot be read ({error}); expected a TOML file") from None
    else:
        raise RecipeError(
            f"unknown recipe {source!r}{did_you_mean(source, shipped_recipes())}; expected a file ending in .toml or "
            f"one of {', '.join(shipped_recipes())}"
        )
    try:
        settings = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the former also of integers with thousands of digits
        raise RecipeError(f"recipe {source}: not valid TOML: {error}") from None
    recipe = Recipe.from_mapping(settings, source=f"recipe {source}")
    try:
        recipe.chosen_method.refuse_unheeded(settings)
    except RecipeError as error:
        raise RecipeError(f"recipe {source}: {error}") from None
    return recipe


def _require_some(name: str, values: tuple[Any, ...]) -> None:
    if not values:
        raise RecipeError(f"{name}: got none; expected at least one")


def _require_distinct(name: str, values: tuple[Any, ...]) -> None:
    known: set[Any] = set()
    for value in values:
        if value in known:
            raise RecipeError(f"{name}: got {value} twice; expected each value once")
        known.add(value)


def _require_told_apart(sparsities: tuple[float, ...]) -> None:
    """Raise `RecipeError` for sparsities that tables, charts and names of files would call the same."""
    written: dict[str, float] = {}
    for sparsity in sparsities:
        other = written.setdefault(percent(sparsity), sparsity)
        if other != sparsity:
            raise RecipeError(
                f"sparsities: got {other!r} and {sparsity!r}, both {percent(sparsity)} in every table; expected "
                "values that differ in their first ten digits"
            )


def _once(values: Any) -> Any:
    """Drop what is in a list of names again; anything else is for the recipe to judge."""
    named = isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)
    return tuple(dict.fromkeys(values)) if named else values


def _require_known(name: str, value: str | tuple[str, ...], known: Collection[str]) -> None:
    how_many, values = ("one of", (value,)) if isinstance(value, str) else ("some of", value)
    for each in values:
        if each not in known:
            raise RecipeError(
                f"{name}: got {each!r}{did_you_mean(each, known)}; expected {how_many} {', '.join(known)}"
            )
