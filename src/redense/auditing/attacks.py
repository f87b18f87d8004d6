"""The table of attacks: what each needs, how it scores, what it learns once for all targets, and its ranks.

Command-line help reads it, so it is light to import: what scores and learns is imported where that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from redense.attacks.lira import Variance
    from redense.attacks.references import Array, Mode
    from redense.attacks.samia import FittedSAMIA
    from redense.attacks.shadow_classifier import FittedClassifier
    from redense.attacks.threshold import Labels
    from redense.auditing.evidence import Evidence, Kind, References
    from redense.auditing.settings import AuditSettings
    from redense.signals import Signals

Query = Literal["augmented", "noisy"]
Need = Literal["signals", "classes", "references", "several", "taught", "IN", "OUT", "augmented", "noisy"]
"""What an attack may need beyond the probability of the true class: all signals of a plain answer, examples of several
classes, reference models, several of them, their answers about examples both IN and OUT, an IN or an OUT model for
every example, the target's answers to augmented queries, or every model's answers to noisy queries."""
Score = Callable[..., "Array"]
"""(evidence, what was learnt, settings by name) -> float64 [n], higher = member."""
Decides = Callable[["Evidence"], bool]


@dataclass(frozen=True)
class Attack:
    """One attack of an audit.

    `family` is the name by which it is asked for, with others like it; `name` stands in results. `score` is given the
    evidence, what the attack has learnt, and those of the audit's settings that `settings` names. `learn` is given
    reference models and the classes of the examples [n]; what it returns serves all targets. Where it `decides`, 0 is
    the attack's own threshold: at 0 and above it guesses "member". `calibrated` ones compare a score with what
    reference models say of that very example, so that what is merely easy does not stand out. `primary` ranks it among
    those that risks rest on, `pictured` among those whose curves are drawn; 1 comes first, None never.
    """

    family: str
    name: str
    score: Score
    needs: tuple[Need, ...] = ()
    learn: Callable[[References, Labels], Any] | None = None
    decides: Decides = lambda _: False
    settings: tuple[str, ...] = ()
    calibrated: bool = False
    primary: int | None = None
    pictured: int | None = None

    def possible(self, evidence: Evidence) -> bool:
        """Tell whether the evidence has all that the attack needs."""
        return all(_HAS[need](evidence) for need in self.needs)

    def scores(self, evidence: Evidence, learnt: Any, settings: AuditSettings) -> Array:
        """Attack, with what was learnt beforehand: float64 [n], higher = member."""
        scores: Array = self.score(evidence, learnt, **{name: getattr(settings, name) for name in self.settings})
        return scores

    @property
    def on_stored_signals(self) -> bool:
        """Whether plain answers that were kept are enough, and nothing is learnt from reference models beforehand."""
        return self.learn is None and not {*self.needs} & {"augmented", "noisy"}


class Learnt:
    """What attacks have learnt from reference models (None: there are none) that were asked about examples of classes
    `labels` [n]: each when it is first needed, and once for all targets."""

    def __init__(self, references: References | None, labels: Labels) -> None:
        self.references = references
        self._labels = labels
        self._by_attack: dict[str, Any] = {}

    def of(self, attack: Attack) -> Any:
        """Return what an attack has learnt, None for one that learns nothing."""
        if attack.learn is None or self.references is None:
            return None
        if attack.name not in self._by_attack:
            self._by_attack[attack.name] = attack.learn(self.references, self._labels)
        return self._by_attack[attack.name]


def _always(_: Evidence) -> bool:
    return True


def _with_references(evidence: Evidence) -> bool:
    return evidence.references is not None


def _taught(evidence: Evidence) -> bool:
    return evidence.references is not None and evidence.references.teach


def _every(kind: Kind) -> Callable[[Evidence], bool]:
    return lambda evidence: evidence.references is not None and not len(evidence.references.lacking(kind))


_HAS: dict[Need, Callable[[Evidence], bool]] = {
    "signals": lambda evidence: not evidence.phi_only,
    "classes": lambda evidence: bool(evidence.labels.min() < evidence.labels.max()),
    "references": _with_references,
    "several": lambda evidence: evidence.references is not None and len(evidence.references.included) > 1,
    "taught": _taught,
    "IN": _every("IN"),
    "OUT": _every("OUT"),
    "augmented": lambda evidence: evidence.augmented is not None,
    "noisy": lambda evidence: (
        evidence.noisy is not None and (evidence.references is None or evidence.references.noisy is not None)
    ),
}


def _gap(evidence: Evidence, _: None) -> Array:
    scores: Array = evidence.target.correct.astype("float64") - 0.5
    return scores


def _phi(signals: Signals) -> Array:
    return signals.phi  # grows with the confidence, and does not round to 1


def _loss(signals: Signals) -> Array:
    return -signals.loss


def _entropy(signals: Signals) -> Array:
    return -signals.entropy


def _modified_entropy(signals: Signals) -> Array:
    return -signals.modified_entropy


def _threshold(signal: Callable[[Signals], Array]) -> Score:
    """Score by a signal, less the threshold that reference models teach where there are any."""

    def score(evidence: Evidence, _: None) -> Array:
        from redense.attacks.threshold import score_by_references

        own, references = signal(evidence.target), evidence.references
        if references is None or not references.teach:
            return own
        return score_by_references(own, signal(references.signals), references.included, evidence.labels)

    return score


def _class_thresholds(signal: Callable[[Signals], Array]) -> Score:
    """Score by a signal, less its class's threshold: of reference models, or else of the other half of the examples."""

    def score(evidence: Evidence, _: None) -> Array:
        from redense.attacks.threshold import score_by_other_half, score_by_references

        own, references, labels = signal(evidence.target), evidence.references, evidence.labels
        if references is None or not references.teach:
            return score_by_other_half(own, evidence.members, labels, per_class=True)
        return score_by_references(own, signal(references.signals), references.included, labels, per_class=True)

    return score


def _label_only(evidence: Evidence, _: None) -> Array:
    from redense.attacks.label_only import label_only

    assert evidence.augmented is not None
    return label_only(evidence.augmented)


def _shadow(evidence: Evidence, learnt: FittedClassifier) -> Array:
    return learnt.score(_side_by_side(evidence.target), evidence.labels)


def _learn_shadow(references: References, labels: Labels) -> FittedClassifier:
    from redense.attacks.shadow_classifier import ShadowClassifier

    return ShadowClassifier().fit(_side_by_side(references.signals), references.included, labels)


def _side_by_side(signals: Signals) -> Array:
    """Put all signals of an example side by side, [..., 5]."""
    import numpy as np

    return np.stack([values.astype(np.float64) for values in signals.arrays().values()], axis=-1)


def _samia(evidence: Evidence, learnt: FittedSAMIA) -> Array:
    from redense.attacks.samia import tokens

    own = evidence.noisy
    assert own is not None
    return learnt.score(tokens(own.probabilities, own.sensitivities, evidence.labels))


def _learn_samia(references: References, labels: Labels) -> FittedSAMIA:
    from redense.attacks.samia import SAMIA, tokens

    asked = references.noisy
    assert asked is not None
    answers = tokens(asked.answers.probabilities, asked.answers.sensitivities, labels[asked.example])
    return SAMIA().fit(answers, references.included[asked.model, asked.example])


def _rmia(mode: Mode) -> Score:
    def score(evidence: Evidence, _: None) -> Array:
        from redense.attacks.rmia import RMIA

        references = evidence.references
        assert references is not None
        return RMIA(mode=mode).score(evidence.target.confidence, references.signals.confidence, references.included)

    return score


def _lira(mode: Mode) -> Score:
    def score(evidence: Evidence, _: None, *, variance: Variance) -> Array:
        from redense.attacks.lira import LiRA

        references = evidence.references
        assert references is not None
        lira = LiRA(mode=mode, variance=variance)
        return lira.score(evidence.target.phi, references.signals.phi, references.included)

    return score


_BOTH: tuple[Need, ...] = ("several", "IN", "OUT")
ATTACKS = (
    Attack("threshold", "gap", _gap, ("signals",), decides=_always, pictured=7),
    Attack("threshold", "confidence", _threshold(_phi), decides=_taught, primary=3, pictured=6),
    Attack("threshold", "loss", _threshold(_loss), decides=_taught),
    Attack("threshold", "entropy", _threshold(_entropy), ("signals",), decides=_taught),
    Attack("threshold", "modified entropy", _threshold(_modified_entropy), ("signals",), decides=_taught),
    Attack("threshold", "confidence, per class", _class_thresholds(_phi), ("classes",), decides=_always, pictured=5),
    Attack("threshold", "loss, per class", _class_thresholds(_loss), ("classes",), decides=_always),
    Attack("threshold", "entropy, per class", _class_thresholds(_entropy), ("signals", "classes"), decides=_always),
    Attack(
        family="threshold",
        name="modified entropy, per class",
        score=_class_thresholds(_modified_entropy),
        needs=("signals", "classes"),
        decides=_always,
    ),
    Attack("label-only", "label-only", _label_only, ("augmented",)),
    Attack(
        family="shadow",
        name="shadow classifier",
        score=_shadow,
        needs=("signals", "references", "taught"),
        learn=_learn_shadow,
        decides=_always,
        pictured=3,
    ),
    Attack(
        family="samia",
        name="SAMIA",
        score=_samia,
        needs=("references", "taught", "noisy"),
        learn=_learn_samia,
        decides=_always,
        pictured=4,
    ),
    Attack("rmia", "RMIA offline", _rmia("offline"), ("references", "OUT"), calibrated=True),
    Attack("rmia", "RMIA online", _rmia("online"), ("references", *_BOTH), calibrated=True, primary=2, pictured=2),
    Attack(
        family="lira",
        name="LiRA offline",
        score=_lira("offline"),
        needs=("references", "several", "OUT"),
        settings=("variance",),
        calibrated=True,
    ),
    Attack(
        family="lira",
        name="LiRA online",
        score=_lira("online"),
        needs=("references", *_BOTH),
        settings=("variance",),
        calibrated=True,
        primary=1,
        pictured=1,
    ),
)
"""All attacks, weakest first: results list them in this order."""
FAMILIES = tuple(dict.fromkeys(attack.family for attack in ATTACKS))
"""Names by which attacks are asked for."""
PLAIN_FAMILIES = tuple(
    dict.fromkeys(attack.family for attack in ATTACKS if not {"references", "augmented", "noisy"} & {*attack.needs})
)
"""Families with attacks that need nothing but the target's plain answers: every audit of a run makes them."""
FURTHER_FAMILIES = tuple(family for family in FAMILIES if family not in PLAIN_FAMILIES)
"""Families that an audit of a run is asked for."""


def _by_rank(ranks: Iterable[int | None]) -> tuple[str, ...]:
    ranked = [(rank, attack.name) for rank, attack in zip(ranks, ATTACKS, strict=True) if rank is not None]
    return tuple(name for _, name in sorted(ranked))


PRIMARY = _by_rank(attack.primary for attack in ATTACKS)
"""The attack that risks rest on: the first of these that is made, chosen before anything is seen."""
CALIBRATED = tuple(attack.name for attack in ATTACKS if attack.calibrated)
"""The attacks that can tell which members are exposed."""
PICTURED = _by_rank(attack.pictured for attack in ATTACKS)
"""The attacks whose curves are drawn, the first as far as there is room."""


def possible_attacks(families: Iterable[str], evidence: Evidence) -> list[Attack]:
    """Return the attacks of the families asked for that the evidence allows, weakest first."""
    chosen = set(families)
    return [attack for attack in ATTACKS if attack.family in chosen and attack.possible(evidence)]


def left_out(families: Iterable[str], evidence: Evidence) -> list[str]:
    """Say which attacks of the families asked for the reference models do not allow, and why; nothing without any."""
    references, chosen = evidence.references, set(families)
    if references is None:
        return []
    count, n = references.included.shape
    all_or_none = "all" if references.included.any() else "none"
    reasons: dict[Need, str] = {
        "several": f"there is {count} reference model, and at least 2 are needed",
        "taught": f"the reference models were trained on {all_or_none} of the examples",
        "IN": f"{len(references.lacking('IN'))} of {n} examples are in no reference model's training data",
        "OUT": f"{len(references.lacking('OUT'))} of {n} examples are in every reference model's training data",
    }
    by_reason: dict[str, list[str]] = {}
    for attack in ATTACKS:
        lacks = next((need for need in attack.needs if need in reasons and not _HAS[need](evidence)), None)
        if attack.family in chosen and lacks is not None:
            by_reason.setdefault(reasons[lacks], []).append(attack.name)
    return [f"left out {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def not_made(families: Iterable[str], made: Iterable[str], *, references: bool) -> list[str]:
    """Say which families asked for have no attack among those made, and why; `references` says whether there are any.

    >>> not_made(["threshold", "lira"], ["gap", "confidence"], references=False)
    ['lira: asked for and left out, for there are no reference models']
    """
    present = {attack.family for attack in ATTACKS if attack.name in set(made)}
    needs = {family: {need for one in ATTACKS if one.family == family for need in one.needs} for family in families}
    return [
        f"{family}: asked for and left out, for "
        + (
            "there are no reference models"
            if "references" in wanted and not references
            else "the inputs are no images"
            if "augmented" in wanted
            else "what it needs is not there"
        )
        for family, wanted in needs.items()
        if family not in present
    ]


def queried(families: Iterable[str], query: Query, *, references: bool) -> bool:
    """Tell whether an attack of these families needs such queries and lacks nothing else, reference models included.

    >>> queried(["samia", "lira"], "noisy", references=True), queried(["samia", "lira"], "noisy", references=False)
    (True, False)
    """
    chosen = set(families)
    return any(
        attack.family in chosen and query in attack.needs and (references or "references" not in attack.needs)
        for attack in ATTACKS
    )
