"""Audit a model: signals, attacks, metrics, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from redense.attacks.lira import Variance
from redense.attacks.references import Array
from redense.auditing.answers import Examples, noisy_pairs, read_examples
from redense.auditing.attack_result import AttackResult, evaluate, thinned
from redense.auditing.attacks import FAMILIES, PLAIN_FAMILIES, PRIMARY, Learnt, possible_attacks, queried
from redense.auditing.evidence import Evidence, NoisyAnswers, References, SampledAnswers
from redense.auditing.protocols import Protocol
from redense.auditing.result import AuditResult, ClassRisk, Exposed
from redense.auditing.verdict import judge
from redense.data.examples import sides
from redense.errors import DataError, RecipeError
from redense.metrics.epsilon import one_run_epsilon_of_scores
from redense.metrics.intervals import auc_interval_of, split_halves
from redense.metrics.paired import shares_below
from redense.metrics.roc import Roc, roc
from redense.signals import Query, Signals
from redense.text import did_you_mean

MOST_EXPOSED = 20
FEWEST_IN_CLASS = 20
MOST_OVERLAP = 0.01


def audit(
    model: nn.Module,
    *,
    members: Any,
    nonmembers: Any,
    references: Sequence[nn.Module] = (),
    included: npt.ArrayLike | None = None,
    attacks: Sequence[str] = FAMILIES,
    variance: Variance = "shrunk",
    queries: Sequence[Query] = (),
    batch_size: int = 500,
    device: str | None = None,
    confidence: float = 0.95,
    delta: float = 0.0,
) -> AuditResult:
    """Attack a model with all that is at hand and say what it gives away about its training data.

    Args:
        model: any module that gives logits [batch, classes], as a tensor or as ``.logits``. It is evaluated in
            evaluation mode; the mode of each of its modules comes back.
        members: examples it was trained on: a data set of (x, y), a loader of batches (x, y), arrays (x [n, ...],
            y [n]), or any of these with mappings that hold ``labels``; or the name of FILE.npz, of a folder of class
            folders, or of a function ``package.module:function`` that returns such. Pixels stored as uint8 are scaled
            to [0, 1].
        nonmembers: examples like these that it was not trained on. Of a file or folder with a training and a test part,
            these are the test part, members the training part.
        references: models trained like it, each on some of all these examples and not on others; with two or more,
            the attacks that need them are made, too.
        included: which reference model was trained on which example, bool [m, members + nonmembers].
        attacks: which families to make, of ``threshold``, ``label-only``, ``shadow``, ``samia``, ``rmia``, ``lira``;
            those that lack what they need are left out.
        variance: how LiRA estimates variances: ``example``, ``shared`` or ``shrunk``.
        queries: changes of the input for attacks with augmented queries, such as `redense.signals.image_queries()`.
        batch_size: examples evaluated at once where a data set or arrays are given.
        device: where to evaluate, by default where the model's parameters are.
        confidence: of all intervals.
        delta: of the differential privacy that the epsilons are about.

    Raises `DataError` when examples, logits or references are unusable, `RecipeError` for unknown attacks.

    >>> import torch
    >>> x, y = torch.randn(200, 4), torch.randint(0, 2, (200,))
    >>> result = audit(torch.nn.Linear(4, 2), members=(x[:100], y[:100]), nonmembers=(x[100:], y[100:]))
    >>> result.members, result.nonmembers, result.attacks[0].attack
    (100, 100, 'gap')
    """
    check_settings(attacks, delta)
    members, nonmembers = sides(members, nonmembers)
    ask = partial(
        read_examples,
        (model, *references),
        queries=queries if queried(attacks, "augmented", references=bool(references)) else (),
        noisy=queried(attacks, "noisy", references=bool(references)),
        batch_size=batch_size,
        device=device,
    )
    read = [ask(members, "members"), ask(nonmembers, "nonmembers")]
    examples = Examples.join(read)
    is_member = np.arange(len(examples.labels)) < len(read[0].labels)
    warnings = repeated(examples.digests, is_member)
    evidence = Evidence(
        target=examples.signals[0],
        labels=examples.labels,
        members=is_member,
        references=_references(examples, included),
        augmented=examples.augmented,
        noisy=examples.noisy[0] if examples.noisy else None,
    )
    return audit_evidence(
        evidence, attacks=attacks, variance=variance, confidence=confidence, delta=delta, warnings=warnings
    )


def audit_evidence(
    evidence: Evidence,
    *,
    attacks: Sequence[str] = FAMILIES,
    variance: Variance = "shrunk",
    confidence: float = 0.95,
    delta: float = 0.0,
    protocol: Protocol = "given",
    warnings: Sequence[str] = (),
    learnt: Learnt | None = None,
) -> AuditResult:
    """Audit from signals alone: no model is needed. Arguments are as in `audit`.

    `learnt` keeps what attacks learn from the reference models, for audits of other targets with the same ones.

    Raises `RecipeError` for unknown attacks or when none can be made, `DataError` when `learnt` is of other models.

    >>> phi = np.random.default_rng(0).normal(size=400) + np.repeat([1.0, 0.0], 200)
    >>> signals = Signals.of_phi(phi)
    >>> evidence = Evidence(signals, np.zeros(400, dtype=int), members=np.arange(400) < 200, phi_only=True)
    >>> audit_evidence(evidence).verdict.kind
    'leak'
    """
    check_settings(attacks, delta)
    members = evidence.members
    learnt = learnt or Learnt(evidence.references, evidence.labels)
    if learnt.references is not evidence.references:
        raise DataError("learnt: got what was learnt from other reference models; expected those of the evidence")
    settings = {"variance": variance}
    found: list[AttackResult] = []
    curves: dict[str, Roc] = {}
    scores: dict[str, Array] = {}
    first = split_halves(members)
    for attack in possible_attacks(attacks, evidence):
        own = attack.score(evidence, learnt.of(attack), **{name: settings[name] for name in attack.settings})
        result, curves[attack.name] = evaluate(
            attack.name,
            own,
            members,
            decides=attack.decides(evidence),
            first=first,
            delta=delta,
            confidence=confidence,
        )
        found.append(result)
        scores[attack.name] = own
    if not found:
        raise RecipeError(
            f"attacks: none of {', '.join(attacks)} can be made with what is given; add "
            f"{' or '.join(PLAIN_FAMILIES)}, or reference models"
        )
    primary = next((name for name in PRIMARY if name in scores), found[-1].attack)
    risks = shares_below(scores[primary], members)
    one_run = None
    if protocol == "half":
        one_run = one_run_epsilon_of_scores(scores[primary], members, delta=delta, confidence=confidence)
    return AuditResult(
        protocol=protocol,
        members=int(members.sum()),
        nonmembers=int((~members).sum()),
        references=len(evidence.references.included) if evidence.references else 0,
        confidence=confidence,
        delta=delta,
        attacks=tuple(found),
        primary=primary,
        verdict=judge(found, members.sum(), (~members).sum(), confidence),
        one_run_epsilon=one_run,
        exposed=_exposed(risks, evidence),
        classes=_classes(scores[primary], evidence, confidence),
        warnings=(*warnings, *_telling_counts(evidence)),
        curves={name: thinned(curve) for name, curve in curves.items()},
        risks=risks,
    )


def check_settings(attacks: Sequence[str], delta: float = 0.0) -> None:
    """Raise `RecipeError` for attacks that do not exist and a delta that is no probability below 1."""
    if not 0 <= delta < 1:
        raise RecipeError(f"delta: got {delta:g}; expected a probability from 0 to below 1")
    for name in attacks:
        if name not in FAMILIES:
            raise RecipeError(
                f"attacks: got {name!r}{did_you_mean(name, FAMILIES)}; expected some of {', '.join(FAMILIES)}"
            )


def repeated(digests: npt.NDArray[np.bytes_], is_member: npt.NDArray[np.bool_]) -> list[str]:
    """Find examples that are members and non-members at once, or members twice, by the digests of their contents.

    Returns warnings with the counts; raises `DataError` when more than 1% of the smaller side overlap.
    """
    warnings = []
    mine, times = np.unique(digests[is_member], return_counts=True)
    theirs = np.unique(digests[~is_member])
    overlap = len(np.intersect1d(mine, theirs, assume_unique=True))
    smaller = min(is_member.sum(), (~is_member).sum())
    if overlap > MOST_OVERLAP * smaller:
        raise DataError(
            f"{overlap} examples are among the members and among the non-members, more than 1% of {smaller}; expected "
            "two separate sets: take the common ones out"
        )
    if overlap:
        warnings.append(f"{overlap} examples are among the members and among the non-members")
    again = int((times - 1).sum())
    if again:
        warnings.append(f"{again} of {int(is_member.sum())} members are repetitions of others")
    return warnings


def _telling_counts(evidence: Evidence) -> list[str]:
    """Warn when the numbers of IN models alone tell members from non-members: attacks would read them, not the model.

    That happens when reference sets are balanced with the target counted in.
    """
    if evidence.references is None:
        return []
    counts = evidence.references.included.sum(0).astype(np.float64)
    low, high = auc_interval_of(roc(counts, evidence.members), 0.999)
    if low <= 0.5 <= high:
        return []
    means = [counts[side].mean() for side in (evidence.members, ~evidence.members)]
    return [
        f"members are in the training data of {means[0]:.2f} reference models on average, non-members of "
        f"{means[1]:.2f}: these counts give membership away; draw reference sets independently of the target"
    ]


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


def _exposed(risks: Array, evidence: Evidence) -> tuple[Exposed, ...]:
    places = np.flatnonzero(evidence.members)
    highest = places[np.argsort(-risks[places], kind="stable")[:MOST_EXPOSED]]
    return tuple(Exposed(int(place), int(evidence.labels[place]), float(risks[place])) for place in highest)


def _classes(scores: Array, evidence: Evidence, confidence: float) -> tuple[ClassRisk, ...]:
    """Measure each class; the intervals hold all at once, so that the highest class's does too (Bonferroni)."""
    by_class = np.argsort(evidence.labels, kind="stable")
    bounds = np.flatnonzero(np.diff(evidence.labels[by_class])) + 1
    classes = [(of_class, evidence.members[of_class]) for of_class in np.split(by_class, bounds)]
    enough = [min(inside.sum(), (~inside).sum()) >= FEWEST_IN_CLASS for _, inside in classes]
    each = 1 - (1 - confidence) / max(1, sum(enough))
    risks = []
    for (of_class, inside), measured in zip(classes, enough, strict=True):
        auc = interval = None
        if measured:
            curve = roc(scores[of_class], inside)
            auc, interval = curve.auc, auc_interval_of(curve, each)
        label, members = int(evidence.labels[of_class[0]]), int(inside.sum())
        risks.append(ClassRisk(label, members, len(inside) - members, auc, interval))
    return tuple(risks)
