"""Audit a run: every phase of every target, with reference models of the same phase."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.numpy import save

from redense.attacks.references import Array
from redense.attacks.threshold import Labels
from redense.auditing.answers import Examples, noisy_pairs, read_examples
from redense.auditing.attacks import ATTACKS, Learnt, queried
from redense.auditing.audit import audit_evidence
from redense.auditing.distinct import OVERLAP_REMEDY
from redense.auditing.evidence import (
    Evidence,
    NoisyAnswers,
    References,
    SampledAnswers,
    some_evidence,
    some_references,
)
from redense.auditing.left_out import not_made
from redense.auditing.needs import QueryKind
from redense.auditing.protocols import OF_RUNS, PROTOCOLS, ProtocolName, of_role
from redense.auditing.result import AuditResult
from redense.data.dataset import Dataset
from redense.errors import DataError, TrainingError
from redense.experiment.audit_rows import AuditRow
from redense.experiment.audited_examples import AuditedExamples
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.equal_accuracy import Trace
from redense.experiment.plan import Job
from redense.files.kept import key_of, read_kept, write_kept
from redense.files.reading import plain_bytes
from redense.files.tensors import tensors_of
from redense.files.writing import make_folder, write_whole
from redense.metrics.roc import Members
from redense.models.registry import rebuild
from redense.phases import Phase
from redense.signals import Signals, image_queries

T = TypeVar("T")
FORMAT = 5
"""Version of what is kept of an audit; a change has it made again. In format 1 intervals of a TPR were wider, those
of the best accuracy could end too low, and verdicts did not count accuracies; in format 2 repeated examples were taken
for independent cases; in format 3 ends of a TPR's interval could lie a little inside; in format 4
those of a handful of members held too seldom, and fewer mistakes were noticed."""
HALVED_COPIES = (
    "the data repeat examples, so that a random half has copies of what the other half has: give each once, or leave "
    "out the protocol half"
)
BATCH = 128
"""Examples evaluated at once: small enough for activations to stay out of freshly mapped memory."""


@dataclass(frozen=True)
class RunAuditor:
    """What the audits of a run share; results are kept in the folder's ``audit`` and made once."""

    model_name: str
    dataset: Dataset
    store: Store
    jobs: Sequence[Job]
    attacks: tuple[str, ...]
    device: str = "cpu"
    protocols: tuple[str, ...] = OF_RUNS

    @cached_property
    def examples(self) -> AuditedExamples:
        """What the audits are about."""
        return AuditedExamples(self.dataset, self.device)

    def rows(self) -> Iterator[AuditRow]:
        """Audit phase by phase, dense first; a phase's reference models are read once for all targets.

        Targets and reference models that are not finished are left out.
        """
        for phase in self.phases:
            shared = self.of_phase(phase)
            for job in self.finished:
                if job.phase == phase and self.is_audited(job):
                    yield self._row(job, shared)

    def of_phase(self, phase: Phase) -> _OfPhase:
        """Return the reference models of a phase, in complementary pairs; they are read when they are needed."""
        of_phase = [job for job in self.finished if job.phase == phase]
        references = [job for job in of_phase if job.member_set and job.member_set.role == "reference"]
        # an unpaired model would leave examples without an IN or an OUT
        return _OfPhase(self, _paired(references), self._planned(phase))

    def _planned(self, phase: Phase) -> int:
        sets = (job.member_set for job in self.jobs if job.phase == phase)
        return sum(member_set is not None and member_set.role == "reference" for member_set in sets)

    def check(self) -> None:
        """Raise `DataError` for halves without members or test examples, and targets whose sides overlap too much.

        What training would only meet at its end.
        """
        for job in {job.member_set: job for job in self.jobs if job.member_set is not None}.values():
            members, first = self.examples.members(job.member_set), len(self.dataset.y_train)
            if members[first:].all() or not members.any():
                held = "all test examples" if members[first:].all() else "no example"
                raise DataError(
                    f"{job.model_name}: got {first:,} training and {len(members) - first:,} test examples, and the "
                    f"random half that it is trained on holds {held}; expected more test examples, or no audit"
                )
        for member_set in dict.fromkeys(job.member_set for job in self.jobs if self.is_audited(job)):
            remedy = HALVED_COPIES if member_set is not None else OVERLAP_REMEDY
            self.examples.distinct.refuse_overlap(self.examples.members(member_set), remedy)

    def count(self) -> int:
        """Return how many rows there will be."""
        return sum(map(self.is_audited, self.finished))

    def is_audited(self, job: Job) -> bool:
        """Tell whether a job's model is a target of one of the protocols."""
        return protocol_of(job) in self.protocols

    @cached_property
    def table(self) -> dict[tuple[Phase, int], str]:
        """The keys of the table's rows, by phase and seed."""
        return {(job.phase, job.seed): job.key for job in self.jobs if job.member_set is None}

    @cached_property
    def finished(self) -> list[Job]:
        """The jobs that have a checkpoint."""
        return [job for job in self.jobs if self.store.is_finished(job.key)]

    @property
    def phases(self) -> list[Phase]:
        """The phases that have a finished model, in the plan's order."""
        return list(dict.fromkeys(job.phase for job in self.finished))

    @property
    def attack_names(self) -> list[str]:
        """The attacks of the families asked for: what is kept under other names lacks one, and is made again."""
        return [attack.name for attack in ATTACKS if attack.family in self.attacks]

    def ask(self, job: Job, examples: Any, *, augmented: bool = False, noisy: bool = False) -> Examples:
        """Ask a finished job's model about some of all examples (ascending indices), with queries of these kinds."""
        checkpoint = _present(job, self.store.load(job.key))
        network = self.model_name, self.dataset.input_shape, self.dataset.num_classes
        model = rebuild(*network, checkpoint.model, job.seed, self.device)
        x, y = self.examples.some(examples), torch.from_numpy(self.examples.labels[examples])
        with fixed_arithmetic(self.device):
            return read_examples(
                [model],
                (x, y),
                job.name,
                queries=image_queries() if augmented else (),
                noisy=noisy,
                batch_size=BATCH,
            )

    def queried(self, query: QueryKind, references: bool) -> bool:
        """Tell whether the attacks need such queries, given reference models or not."""
        return queried(self.attacks, query, references=references)

    def _row(self, job: Job, shared: _OfPhase) -> AuditRow:
        members = self.examples.members(job.member_set)
        protocol = protocol_of(job)
        assert protocol is not None, "a reference model is no target"
        key = self._key(job, shared.references)
        kept = self._kept(key)
        if kept is None or not self._fit(*kept, members):
            kept = self._made(key, job, shared, members, protocol)
        result, risks = kept
        result = replace(result, warnings=(*result.warnings, *shared.left_out(result)))
        checkpoint = _present(job, self.store.load(job.key))
        held_out = ~members[len(self.dataset.y_train) :]
        accuracy = float(checkpoint.test.correct[held_out].mean())
        trace = Trace.of(checkpoint.history, int(held_out.sum()))
        row = self.table[job.phase, job.seed]
        return AuditRow(protocol, job.phase, job.seed, job.key, accuracy, trace, result, risks, members, row)

    def _key(self, job: Job, references: Sequence[Job]) -> str:
        determinants = [FORMAT, job.key, [reference.key for reference in references], self.attack_names]
        return key_of(determinants)

    def _kept(self, key: str) -> tuple[AuditResult, Array] | None:
        folder = self.store.root / "audit"
        kept = read_kept(folder / f"{key}.json", key)
        try:
            content = plain_bytes(folder / f"{key}.safetensors")
            if kept is not None and kept["risks"] == hashlib.sha256(content).hexdigest():
                return AuditResult.from_mapping(kept["result"]), tensors_of(content)[f"risks {key}"].numpy()
        except (OSError, KeyError, TypeError, ValueError, DataError):
            pass  # not made yet, damaged, or of another format: made again
        return None

    def _fit(self, result: AuditResult, risks: Array, members: Members) -> bool:
        """Tell whether what is kept has the form of what is made of these examples: checksums are no signature."""
        made, sides = {attack.attack for attack in result.attacks}, (int(members.sum()), int((~members).sum()))
        inside, outside = result.members + result.members_left_out, result.nonmembers + result.nonmembers_left_out
        return (
            risks.dtype == np.float64
            and (risks.shape, (inside, outside)) == (members.shape, sides)
            and made == {*result.curves} <= {*self.attack_names}
            and {result.primary, result.verdict.attack} <= {*made, None}
            and all(one.example < len(members) for one in result.exposed)
        )

    def _made(
        self, key: str, job: Job, shared: _OfPhase, members: Members, protocol: ProtocolName
    ) -> tuple[AuditResult, Array]:
        result = audit_evidence(
            self._evidence(job, members, shared.evidence),
            attacks=self.attacks,
            protocol=protocol,
            randomized=PROTOCOLS[protocol].drawn,
            warnings=self.examples.distinct.warnings(members, "in the training and in the test data"),
            learnt=shared.learnt,
            compare=lambda: self.examples.sides,
        )
        result = self.examples.distinct.result(result, members)
        assert result.risks is not None
        folder = self.store.root / "audit"
        make_folder(folder, inside=self.store.root)
        content = save({f"risks {key}": result.risks})
        write_whole(folder / f"{key}.safetensors", content, inside=self.store.root)
        checksum = hashlib.sha256(content).hexdigest()
        values = {"result": result.to_mapping(), "risks": checksum}
        write_kept(folder / f"{key}.json", key, values, inside=self.store.root)
        return result, result.risks

    def _evidence(self, job: Job, members: Members, references: References | None) -> Evidence:
        """Gather what is known of the examples that count; the reference models' answers are of these already."""
        evidence = self._of_target(job, members, references is not None)
        distinct = self.examples.distinct
        evidence = evidence if distinct.counts.all() else some_evidence(evidence, distinct.places)
        return replace(evidence, references=references)

    def _of_target(self, job: Job, members: Members, references: bool) -> Evidence:
        signals = _present(job, self.store.load_signals(job.key))
        about = self.examples
        evidence = Evidence(signals, about.labels, members, names=about.names, classes=self.dataset.classes)
        augmented = self.queried("augmented", references) and len(self.dataset.input_shape) == 3
        noisy = self.queried("noisy", references)
        if not augmented and not noisy:
            return evidence
        asked = self.ask(job, np.arange(len(about.labels)), augmented=augmented, noisy=noisy)
        return replace(evidence, augmented=asked.augmented, noisy=asked.noisy[0] if noisy else None)


def protocol_of(job: Job) -> ProtocolName | None:
    """Return the protocol that a job's model is a target of; None for a reference model."""
    return of_role(job.member_set.role if job.member_set else None)


@dataclass(frozen=True)
class _OfPhase:
    """The reference models of one phase, read when they are first needed, and what attacks have learnt from them."""

    auditor: RunAuditor
    references: Sequence[Job]
    planned: int

    def left_out(self, result: AuditResult) -> list[str]:
        """Say which reference models are missing, and which attacks asked for were not made."""
        used = len(self.references)
        lost = [
            f"{self.planned - used} of {self.planned} reference models of this phase are left out: they, or the models "
            "of their complementary halves, are not finished; run the recipe again"
        ]
        made = [attack.attack for attack in result.attacks]
        return [
            *(lost if used < self.planned else []),
            *not_made(self.auditor.attacks, made, references=bool(self.references)),
        ]

    @cached_property
    def evidence(self) -> References | None:
        """What they say of the examples that count, and on which of these they were trained."""
        if not self.references:
            return None
        distinct = self.auditor.examples.distinct
        signals = [_present(job, self.auditor.store.load_signals(job.key)) for job in self.references]
        members = np.stack([self.auditor.examples.members(job.member_set) for job in self.references])
        included = distinct.of_any_copy(members)
        noisy = self._noisy(included) if self.auditor.queried("noisy", True) else None
        references = References(Signals.stack(signals), included, noisy)
        return references if distinct.counts.all() else some_references(references, distinct.places)

    @property
    def halved(self) -> tuple[References, Labels]:
        """The same of the examples that stand once, with their classes.

        Of these one model of each complementary pair was trained on either; of repeated ones both may have seen a copy.
        """
        assert self.evidence is not None
        distinct = self.auditor.examples.distinct
        once = ~np.isin(distinct.places, distinct.repeated)
        if once.all():
            return self.evidence, self.labels
        return some_references(self.evidence, np.flatnonzero(once)), self.labels[once]

    @cached_property
    def labels(self) -> Any:
        """The classes of the examples that count."""
        return self.auditor.examples.labels[self.auditor.examples.distinct.places]

    @cached_property
    def learnt(self) -> Learnt:
        return Learnt(self.evidence, self.labels)

    def _noisy(self, included: Any) -> SampledAnswers:
        model, example = noisy_pairs(included)
        parts = [
            self.auditor.ask(job, example[model == number], noisy=True).noisy[0]
            for number, job in enumerate(self.references)
        ]
        return SampledAnswers(model, example, NoisyAnswers.join(parts))


def _present(job: Job, found: T | None) -> T:
    """Return what was read of a job's checkpoint; raise `TrainingError` when it is gone or damaged."""
    if found is None:
        raise TrainingError(f"{job.name}: its checkpoint {job.key} is gone or damaged; run the recipe again")
    return found


def _paired(references: Sequence[Job]) -> list[Job]:
    """Keep reference models whose complement is there, too."""
    indices = {job.member_set.index for job in references if job.member_set}
    return [job for job in references if job.member_set and job.member_set.index ^ 1 in indices]
