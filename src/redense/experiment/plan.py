"""From a recipe to jobs: what is trained, from what, and under which key it is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redense.auditing.protocols import OF_RUNS, PROTOCOLS, of_role
from redense.data.members import MemberSet
from redense.experiment.optimizers import OptimizerName
from redense.experiment.recipe import Precision, Recipe
from redense.files.kept import key_of
from redense.files.reading import fields
from redense.phases import Phase
from redense.seeding import derive
from redense.sparsity.checks import DistributionName, MaskChoice

FORMAT = 2
"""Version of what keys and checkpoints mean; a change makes old checkpoints unknown, never misread."""


@dataclass(frozen=True)
class Training:
    """How weights are moved in a phase; `lr` includes the factor that the phase begins with."""

    model: str
    batch_size: int
    optimizer: OptimizerName
    lr: float
    momentum: float
    weight_decay: float
    precision: Precision = "fp32"


@dataclass(frozen=True)
class Pruning:
    """How a sparse phase chooses its mask; `masks` is the phase's."""

    sparsity: float
    exclude: tuple[str, ...]
    distribution: DistributionName
    masks: MaskChoice | None = None


@dataclass(frozen=True)
class Job:
    """One phase of one lineage: the unit that is scheduled, trained and stored.

    `key` is a hash of everything that determines the result, `parent` the key of the job that it starts from (None
    for dense), `position` the number of phases before it, `member_set` the half of all examples that it is trained on
    (None for all training data). A job that `picks` trains nothing: it takes its parent's best epoch.
    """

    key: str
    parent: str | None
    seed: int
    position: int
    phase: Phase
    training: Training
    pruning: Pruning | None
    member_set: MemberSet | None = None
    picks: bool = False

    @property
    def epochs(self) -> int:
        """How many epochs it trains."""
        return 0 if self.picks else self.phase.epochs

    @property
    def keeps_best(self) -> bool:
        """Whether its best epoch by validation, if any, is kept beside the last, for a job that picks it."""
        return self.phase.kind == "control" and self.phase.keeps is None

    def lr(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 0)."""
        if self.phase.rate_end is None:
            return self.training.lr
        return self.training.lr * (self.phase.factor(epoch) / self.phase.rate)

    @property
    def name(self) -> str:
        """The job in a person's words: phase, sparsity, and which model."""
        return f"{self.phase.label}, {self.model_name}"

    @property
    def model_name(self) -> str:
        """Which model it is a phase of, in a person's words."""
        if self.member_set is None:
            return f"seed {self.seed}"
        protocol = of_role(self.member_set.role)
        return f"reference {self.member_set.index}" if protocol is None else f"{protocol}, seed {self.seed}"

    def to_mapping(self) -> dict[str, Any]:
        """Return the job as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Job:
        """Undo `to_mapping`, also after a passage through JSON; raise `redense.files.reading.Unread` for others."""
        return fields(cls, values)


@dataclass(frozen=True)
class Fingerprints:
    """What determines results besides the recipe: the data, the network's structure and the kind of arithmetic.

    `data` and `architecture` are hashes, `arithmetic` is what `redense.experiment.engines.choose.Choice` calls it.
    """

    data: str
    architecture: str
    arithmetic: str


@dataclass(frozen=True)
class ModelIdentity:
    """A model's identity through all phases: the seed of its weights and batches, and what it is trained on."""

    seed: int
    member_set: MemberSet | None = None


def identities(recipe: Recipe) -> tuple[ModelIdentity, ...]:
    """List the models that a recipe asks for: the table's, then for an audit other targets and references.

    A reference model's seed depends on its index alone, so that all targets share them and more can join later.
    """
    table = [ModelIdentity(seed) for seed in recipe.seeds]
    if not recipe.audit:
        return tuple(table)
    roles = [PROTOCOLS[name].role for name in OF_RUNS if name in recipe.protocols]
    targets = [ModelIdentity(seed, MemberSet(role, seed)) for role in roles if role for seed in recipe.seeds]
    references = [
        ModelIdentity(derive(index, "reference"), MemberSet("reference", index)) for index in range(recipe.references)
    ]
    return (*table, *targets, *references)


def plan(recipe: Recipe, model: str, fingerprints: Fingerprints) -> tuple[Job, ...]:
    """List the jobs of a recipe, each after its parent, without repetition.

    All sparsities and controls of a model share one dense job, if their method begins dense. `model` is the recipe's
    model with ``auto`` resolved.
    The order is the table's: by seed, then dense, then sparse and re-dense by sparsity, then the controls; what an
    audit needs follows.

    >>> jobs = plan(Recipe(sparsities=(0.5, 0.9)), "mlp", Fingerprints("data", "architecture", "cpu"))
    >>> [job.phase.label for job in jobs]
    ['dense', 'sparse 50%', 're-dense 50%', 'sparse 90%', 're-dense 90%']
    """
    jobs: dict[str, Job] = {}
    lineages = recipe.lineages()
    for identity in identities(recipe):
        for phases in lineages:
            parent = None
            for position, phase in enumerate(phases):
                if picks := phase.keeps == "best" and recipe.keep == "last":  # of the same training, kept last
                    trained = replace(phase, keeps=None)
                    parent = _job(recipe, model, fingerprints, identity, position, trained, parent).key
                job = _job(recipe, model, fingerprints, identity, position, phase, parent, picks)
                jobs.setdefault(job.key, job)
                parent = job.key
    return tuple(jobs.values())


def critical_path(jobs: Sequence[Job]) -> dict[str, int]:
    """Return, by key, the epochs from each job's start to the end of the longest chain that begins with it."""
    remaining: dict[str, int] = {}
    longest_child: dict[str, int] = {}
    for job in reversed(jobs):
        remaining[job.key] = job.epochs + longest_child.get(job.key, 0)
        if job.parent is not None:
            longest_child[job.parent] = max(longest_child.get(job.parent, 0), remaining[job.key])
    return remaining


def _job(
    recipe: Recipe,
    model: str,
    fingerprints: Fingerprints,
    identity: ModelIdentity,
    position: int,
    phase: Phase,
    parent: str | None,
    picks: bool = False,
) -> Job:
    training = Training(
        model=model,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        lr=recipe.lr * phase.rate,
        momentum=recipe.momentum if recipe.takes_momentum else 0.0,
        weight_decay=recipe.weight_decay,
        precision=recipe.precision,
    )
    pruning = None
    if phase.kind == "sparse" and phase.sparsity is not None:
        pruning = Pruning(phase.sparsity, recipe.exclude, recipe.distribution, phase.masks)
    determinants: dict[str, Any] = {
        "format": FORMAT,
        "parent": parent,
        "seed": identity.seed,
        "draw": dataclasses.asdict(identity.member_set) if identity.member_set else None,
        "position": position,
        "kind": phase.kind,
        "epochs": phase.epochs,
        "training": dataclasses.asdict(training),
        "pruning": dataclasses.asdict(pruning) if pruning else None,
        "substance": dataclasses.asdict(fingerprints),
    }
    # what plainer phases do not have stays out of their keys
    if training.precision == "fp32":
        del determinants["training"]["precision"]
    if pruning and pruning.masks is None:
        del determinants["pruning"]["masks"]
    if phase.rate_end is not None:
        determinants["lr_end"] = recipe.lr * phase.rate_end
    if phase.keeps is not None:
        determinants["keeps"] = phase.keeps
    key = key_of(determinants)
    return Job(key, parent, identity.seed, position, phase, training, pruning, identity.member_set, picks)
