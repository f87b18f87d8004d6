"""Audit a model: signals, attacks, metrics, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from redense.arguments import SOME, validated
from redense.attacks.references import Array, WasIncluded
from redense.auditing.alike import Compare, how_alike, not_comparable, sides_alike, warned, without_inputs
from redense.auditing.answers import Examples, noisy_pairs, read_examples, refuse_disorder
from redense.auditing.attack_result import AttackResult, evaluate, thinned_curve
from redense.auditing.attacks import PLAIN_FAMILIES, PRIMARY, Learnt, possible_attacks, queried
from redense.auditing.checks import (
    SURE,
    accuracies,
    check_coins,
    of_accuracy,
    of_references,
    of_signs,
    telling_references,
)
from redense.auditing.distinct import Distinct
from redense.auditing.evidence import Evidence, NoisyAnswers, References, SampledAnswers
from redense.auditing.left_out import left_out
from redense.auditing.loaders import read_twice
from redense.auditing.protocols import PROTOCOLS, ProtocolName
from redense.auditing.result import AuditResult
from redense.auditing.seen import SideSeen, first_norm
from redense.auditing.settings import AuditSettings
from redense.auditing.standing_out import by_class, exposed
from redense.auditing.verdict import LEAST_CONFIDENCE, judge, why_unnamed, wrong_way
from redense.data.layout import Layout
from redense.data.loading import sides
from redense.data.names import classes_of, names_of
from redense.errors import DataError, RecipeError
from redense.metrics.epsilon import one_run_epsilon_of_scores
from redense.metrics.intervals import auc_interval_of, split_halves
from redense.metrics.paired import shares_below
from redense.metrics.roc import Members, Roc
from redense.signals import Query, Signals


@validated(DataError)
def audit(
    model: nn.Module,
    *,
    members: Any,
    nonmembers: Any,
    references: Sequence[nn.Module] = (),
    included: WasIncluded | None = None,
    queries: Sequence[Query] = (),
    batch_size: Annotated[int, SOME] = 500,
    device: str | None = None,
    names: Sequence[str] | None = None,
    layout: Layout = "auto",
    **settings: Any,
) -> AuditResult:
    """Attack a model with all that is at hand and say what it gives away about its training data.

    Args:
        model: any module that gives logits [batch, classes], as a tensor or as ``.logits``; one logit z an example,
            [batch, 1] or [batch], is that of the second of two classes: (0, z). It is evaluated in evaluation mode; the
            mode of each of its modules comes back.
        members: examples it was trained on: a data set of (x, y), a loader of batches (x, y), arrays (x [n, ...],
            y [n]), or any of these with mappings that hold ``labels``; or the name of FILE.npz, of a folder of class
            folders, of a function ``package.module:function`` that returns such, or of a data set of redense. Inputs
            reach the model as in training with redense: numbers in its own floating type (integers stay what they are
            where its first layer is an embedding), pixels stored as uint8 scaled to [0, 1], images as [n, channels,
            height, width], also where they are stored as [n, height, width] or [n, height, width, channels]. Mappings
            go by keyword where the model's forward takes their names; any other array beside the labels stands for
            itself.
        nonmembers: examples like these that it was not trained on. Of what has a training and a test part (files,
            folders, functions, data sets of redense), these are the test part, members the training part.
        references: models trained like it, each on some of all these examples and not on others; with two or more,
            the attacks that need them are made, too. Loaders must give their data
            sets in order then, and streams are refused.
        included: which reference model was trained on which example, bool [m, members + nonmembers].
        queries: changes of the input for attacks with augmented queries, such as `redense.signals.image_queries()`.
        batch_size: examples evaluated at once where a data set or arrays are given.
        device: where to evaluate, by default where the model's parameters are.
        names: what reports call the examples, members first; by default the files' names where examples are images in
            folders, else their places.
        layout: ``channels-first`` or ``channels-last``, of images in NPZ files whose shape does not tell.
        settings: attacks (families of them), confidence, delta, randomized and what else `redense.AuditSettings` has.

    Raises `DataError` when examples, logits or references are unusable, or when the numbers of members and non-members
    contradict `randomized`; `ModelError` when the model refuses the inputs; `RecipeError` for settings that make no
    sense.

    >>> import torch
    >>> x, y = torch.randn(200, 4), torch.randint(0, 2, (200,))
    >>> result = audit(torch.nn.Linear(4, 2), members=(x[:100], y[:100]), nonmembers=(x[100:], y[100:]))
    >>> result.members, result.nonmembers, result.attacks[0].attack
    (100, 100, 'gap')
    """
    families = AuditSettings(**settings).families
    _check_device(device)
    both = sides(members, nonmembers, layout=layout)
    named = tuple(zip(both, ("members", "nonmembers"), strict=True))
    if references:
        for side, what in named:
            refuse_disorder(side, what)
    warnings = [warning for side, what in named for warning in read_twice(side, what)]
    ask = partial(
        read_examples,
        (model, *references),
        queries=queries if queried(families, "augmented", references=bool(references)) else (),
        noisy=queried(families, "noisy", references=bool(references)),
        batch_size=batch_size,
        device=device,
    )
    seen = [first := SideSeen("members"), SideSeen("nonmembers", first)]
    with first_norm(model) as norms:  # members alone: it has learnt from them
        read = [ask(both[0], "members", watch=seen[0])]
    read.append(ask(both[1], "nonmembers", watch=seen[1]))
    examples = Examples.join(read)
    is_member = np.arange(len(examples.labels)) < len(read[0].labels)
    distinct = Distinct.of(examples.digests, is_member)
    warnings += distinct.warnings(is_member)
    for side, own in zip(seen, (is_member, ~is_member), strict=True):
        warnings += side.logits.warnings(distinct.counts[own])
    warnings += [warning for norm in norms for warning in norm.warnings()]
    evidence = Evidence(
        target=examples.signals[0],
        labels=examples.labels,
        members=is_member,
        references=_references(examples, included),
        augmented=examples.augmented,
        noisy=examples.noisy[0] if examples.noisy else None,
        names=names if names is not None else names_of(both, [len(one.labels) for one in read]),
        classes=classes_of(both[0]),
    )
    compare = partial(sides_alike, *(side.sample for side in seen))
    result = audit_evidence(distinct.evidence(evidence), warnings=warnings, compare=compare, **settings)
    return distinct.result(result, is_member)


@validated(DataError)
def audit_evidence(
    evidence: Evidence,
    *,
    protocol: ProtocolName = "given",
    warnings: Sequence[str] = (),
    learnt: Learnt | None = None,
    compare: Compare = without_inputs,
    **settings: Any,
) -> AuditResult:
    """Audit from signals alone: no model is needed. `settings` are as in `audit`.

    `protocol` says how members were chosen, `warnings` are sentences that the result repeats.

    `learnt` keeps what attacks learn from the reference models, for audits of other targets with the same ones.
    `compare` is called for how well inputs and labels alone tell members from non-members, or why that is not known.

    Raises `RecipeError` for unknown attacks or when none can be made, `DataError` when `learnt` is of other models,
    when the numbers of members and non-members contradict `randomized`, and when only attacks with reference models
    are asked for whose training data tell members.

    >>> phi = np.random.default_rng(0).normal(size=400) + np.repeat([1.0, 0.0], 200)
    >>> signals = Signals.of_phi(phi)
    >>> evidence = Evidence(signals, np.zeros(400, dtype=int), members=np.arange(400) < 200, phi_only=True)
    >>> audit_evidence(evidence).verdict.kind
    'leak'
    """
    chosen, members = AuditSettings(**settings), evidence.members
    counts = int(members.sum()), int((~members).sum())
    if chosen.randomized:
        check_coins(*counts)
    # a run draws its own without regard to targets, and trains them
    own_references = PROTOCOLS[protocol].of_runs
    telling = [] if own_references else telling_references(evidence)
    strange = [] if own_references or telling else of_references(evidence)
    if telling:
        evidence, learnt = _without_references(evidence, chosen.families, telling), None
    made = _make(evidence, learnt or Learnt(evidence.references, evidence.labels), chosen)
    alike = how_alike(evidence, protocol, compare)
    lower_ends = _lower_ends(made, max(chosen.confidence, LEAST_CONFIDENCE)) if alike.told_apart else []
    unlike = not_comparable(alike, lower_ends)
    # sides that are told apart without the model contradict fair coins
    proves = chosen.randomized and not telling and not alike.told_apart
    attacks = _with_epsilon(made, members, chosen) if proves else made.attacks
    verdict = unlike or judge(attacks, *counts, chosen.confidence)
    signs = of_signs(made.curves)
    if signs and not PROTOCOLS[protocol].drawn and of_signs(made.curves, SURE):  # a fair coin needs no check
        verdict = wrong_way(verdict)
    primary = next(one for one in attacks if one.attack == made.primary)
    unnamed = why_unnamed(verdict, primary, chosen.confidence)
    scores = made.scores[made.primary]
    risks = shares_below(scores, members)
    inside, outside = accuracies(evidence)
    return AuditResult(
        protocol=protocol,
        members=counts[0],
        nonmembers=counts[1],
        members_left_out=0,  # by whoever saw the inputs
        nonmembers_left_out=0,
        references=len(evidence.references.included) if evidence.references else 0,
        confidence=chosen.confidence,
        delta=chosen.delta,
        attacks=attacks,
        primary=made.primary,
        verdict=verdict,
        exposed=() if unnamed else exposed(scores, risks, evidence),
        classes=by_class(scores, evidence, chosen.confidence),
        warnings=(
            *warnings,
            *of_accuracy(evidence),
            *signs,
            *warned(alike, lower_ends),
            *telling,
            *strange,
            *left_out(chosen.families, evidence),
        ),
        members_accuracy=inside,
        nonmembers_accuracy=outside,
        alike=alike,
        curves={name: thinned_curve(curve) for name, curve in made.curves.items()},
        risks=risks,
        class_names=evidence.classes,
    )


def _without_references(evidence: Evidence, families: Sequence[str], telling: Sequence[str]) -> Evidence:
    """Leave reference models out that tell members; raise `DataError` where nothing asked for does without them."""
    without = replace(evidence, references=None)
    if not possible_attacks(families, without):
        raise DataError(f"included: {'; '.join(telling)}")
    return without


def _check_device(device: str | None) -> None:
    """Raise `RecipeError` for a device that PyTorch does not have here."""
    try:
        torch.zeros(1, device=device or "cpu").cpu()
    except Exception as error:  # of PyTorch, a kind a device
        reason = str(error).partition("\n")[0]
        raise RecipeError(
            f"device: got {device!r} ({reason}); expected one that PyTorch has here, such as cpu"
        ) from None


@dataclass(frozen=True)
class _Made:
    """All attacks that could be made: their figures, in the table's order, and by name their ROC curves and scores
    [n]."""

    attacks: tuple[AttackResult, ...]
    curves: Mapping[str, Roc]
    scores: Mapping[str, Array]

    @property
    def primary(self) -> str:
        """The attack that decides who is exposed: the first of those chosen beforehand, else the last made."""
        return next((name for name in PRIMARY if name in self.scores), self.attacks[-1].attack)


def _make(evidence: Evidence, learnt: Learnt, settings: AuditSettings) -> _Made:
    """Make all attacks that can be made; refuse what was learnt from others, and settings by which there are none."""
    if learnt.references is not evidence.references:
        raise DataError("learnt: got what was learnt from other reference models; expected those of the evidence")
    found: list[AttackResult] = []
    curves: dict[str, Roc] = {}
    scores: dict[str, Array] = {}
    first = split_halves(evidence.members)
    for attack in possible_attacks(settings.families, evidence):
        own = attack.scores(evidence, learnt.of(attack), settings)
        scores[attack.name] = own
        result, curves[attack.name] = evaluate(
            attack.name,
            own,
            evidence.members,
            decides=attack.decides(evidence),
            first=first,
            confidence=settings.confidence,
        )
        found.append(result)
    if not found:
        raise RecipeError(
            f"attacks: none of {', '.join(settings.families)} can be made with what is given; add "
            f"{' or '.join(PLAIN_FAMILIES)}, or reference models"
        )
    return _Made(tuple(found), curves, scores)


def _lower_ends(made: _Made, confidence: float) -> list[float]:
    """Return the lower ends of the attacks' AUCs, which hold together.

    They only say whether an attack does far better than inputs alone, where these tell the sides apart.
    """
    together = 1 - (1 - confidence) / len(made.curves)
    return [auc_interval_of(curve, together)[0] for curve in made.curves.values()]


def _with_epsilon(made: _Made, members: Members, settings: AuditSettings) -> tuple[AttackResult, ...]:
    """Add what the primary attack proves, and no other: it was chosen beforehand, and does not know who is a member."""
    proven = one_run_epsilon_of_scores(
        made.scores[made.primary], members, delta=settings.delta, confidence=settings.confidence
    )
    return tuple(replace(one, epsilon=proven) if one.attack == made.primary else one for one in made.attacks)


def _references(examples: Examples, included: npt.ArrayLike | None) -> References | None:
    """Put what the models after the target say together with what they were trained on."""
    if included is None:
        if len(examples.signals) > 1:
            raise DataError("included: got none; expected bool [models, members + nonmembers] for the references")
        return None
    if len(examples.signals) == 1:
        raise DataError("included: got some, but no references; expected both or neither")
    references = References(Signals.stack(examples.signals[1:]), np.asarray(included))
    return replace(references, noisy=_sampled(references, examples)) if examples.noisy else references


def _sampled(references: References, examples: Examples) -> SampledAnswers:
    """Keep of the reference models' answers to noisy queries those to a sample; the target is the first model."""
    model, example = noisy_pairs(references.included)
    of_models = [
        NoisyAnswers(asked.probabilities[example[model == number]], asked.sensitivities[example[model == number]])
        for number, asked in enumerate(examples.noisy[1:])
    ]
    return SampledAnswers(model, example, NoisyAnswers.join(of_models))
