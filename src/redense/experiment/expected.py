"""What a checkpoint must be besides whole: what its job says, and the form that all checkpoints of a run share.

Checksums are no signature: a folder of somebody else's may hold anything under sound ones. What does not fit is taken
for damaged where it is read, so that nobody after that meets a tensor that is missing or an example too few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from redense.experiment.optimizers import OPTIMIZERS, moments_of
from redense.experiment.plan import Job
from redense.experiment.trained import Checkpoint
from redense.experiment.whole_folders import Damaged, Tensors
from redense.sparsity.select import prunable

Kind = tuple[tuple[int, ...], torch.dtype]
"""The shape and the type of a tensor."""
Kinds = Mapping[str, Kind]


@dataclass(frozen=True)
class Form:
    """The form of a run's checkpoints: the `tensors` of the network, and so many `train` and `test` examples.

    `prunable` names the tensors that may have masks, `trained` has the shapes and types of the parameters in the
    optimizer's order; None where the network itself is not known.
    """

    tensors: Kinds
    train: int
    test: int
    prunable: frozenset[str] | None = None
    trained: tuple[Kind, ...] | None = None

    @classmethod
    def of_network(cls, model: nn.Module, train: int, test: int) -> Form:
        """Return the form of the checkpoints of a network, trained on data with so many examples."""
        trained = tuple((tuple(one.shape), one.dtype) for one in model.parameters() if one.requires_grad)
        return cls(_kinds(model.state_dict()), train, test, frozenset(prunable(model)), trained)

    @classmethod
    def of_checkpoint(cls, one: Checkpoint) -> Form:
        """Return the form of a checkpoint that is believed: all others of its run have the same."""
        return cls(_kinds(one.model), len(one.train.phi), len(one.test.phi))


@dataclass(frozen=True)
class Expected:
    """What is known beforehand of a checkpoint that is read: its `job`, the `form` of its run; None if it is not."""

    job: Job | None = None
    form: Form | None = None

    def check_tensors(self, tensors: Tensors, where: object) -> None:
        """Raise `Damaged` for a state_dict of another network, or of other types."""
        if self.form is None or _kinds(tensors) == self.form.tensors:
            return
        found, expected = _kinds(tensors), self.form.tensors
        name = next(name for name in {**expected, **found} if found.get(name) != expected.get(name))
        raise Damaged(f"{where} has {_said(found, name)}; expected {_said(expected, name)}")

    def check_masks(self, masks: Tensors, where: object) -> None:
        """Raise `Damaged` for masks of a phase that is not sparse, for none of one that is, and for those of others."""
        if self.job is not None and bool(masks) != (self.job.pruning is not None):
            raise Damaged(f"{where} has {len(masks)} masks, in the phase {self.job.phase.label}")
        if self.form is not None and self.form.prunable is not None and not self.form.prunable.issuperset(masks):
            raise Damaged(f"{where} has a mask of what is not pruned")

    def check_epochs(self, epochs: int, where: object) -> None:
        """Raise `Damaged` unless a finished job has as many epochs as it trains; one that picks takes some of them."""
        if self.job is None:
            return
        most = self.job.phase.epochs
        if not (1 if self.job.picks else most) <= epochs <= most:
            raise Damaged(f"{where} has a history of {epochs} epochs; expected {most}")

    def check_examples(self, train: int, test: int, where: object) -> None:
        """Raise `Damaged` for signals of other numbers of examples."""
        if self.form is not None and (train, test) != (self.form.train, self.form.test):
            expected = f"{self.form.train} and {self.form.test}"
            raise Damaged(f"{where} has signals of {train} training and {test} test examples; expected {expected}")

    def check_moments(self, moments: Tensors, where: object) -> None:
        """Raise `Damaged` for what is not the state of the job's optimizer: of a parameter all that it keeps, or none.

        Values that no step can follow, such as NaN and a count of 0 steps, are none of its state either.
        """
        if self.job is None or self.form is None or self.form.trained is None:
            return
        counters, kept = OPTIMIZERS[self.job.training.optimizer].counters, moments_of(self.job.training)
        numbers: dict[str, Kind] = dict.fromkeys(counters, ((), torch.float32))
        found: dict[str, Tensors] = {}
        for name, value in moments.items():
            index, _, of = name.partition(".")
            found.setdefault(index, {})[of] = value
        trained = {str(index): each for index, each in enumerate(self.form.trained)}
        for index, state in found.items():
            if index not in trained or _kinds(state) != {**dict.fromkeys(kept, trained[index]), **numbers}:
                raise Damaged(f"{where} has moments that do not fit parameter {index!r:.20}")
            if not all(bool(value.isfinite().all()) for value in state.values()):
                raise Damaged(f"{where} has moments of parameter {index} that are not finite")
            if not all(float(state[name]) > 0 for name in numbers):
                raise Damaged(f"{where} has moments of parameter {index} after no step")
        if kept and not found:
            raise Damaged(f"{where} has no moments")


def _kinds(tensors: Tensors) -> Kinds:
    return {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}


def _said(kinds: Kinds, name: str) -> str:
    return f"{name} {kinds[name][0]} {kinds[name][1]}" if name in kinds else f"no {name}"
