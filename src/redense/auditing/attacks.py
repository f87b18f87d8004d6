"""The table of attacks: what each needs, how it scores, what it learns once for all targets, and its ranks.

Command-line help reads it, so it is light to import: what scores and learns is imported where that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redense.auditing.needs import HAS, Need, QueryKind, taught
from redense.page.words import Word

if TYPE_CHECKING:
    from redense.attacks.lira import Variance
    from redense.attacks.references import Array, Mode
    from redense.attacks.samia import FittedSAMIA
    from redense.attacks.shadow_classifier import FittedClassifier
    from redense.attacks.threshold import Labels
    from redense.auditing.evidence import Evidence, References
    from redense.auditing.settings import AuditSettings
    from redense.signals import Signals

Score = Callable[..., "Array"]
"""(evidence, what was learnt, settings by name) -> float64 [n], higher = member."""
Decides = Callable[["Evidence"], bool]


@dataclass(frozen=True)
class Attack:
    """One attack of an audit.

    `family` is the name by which it is asked for, with others like it; `name` stands in results, and `says` beside it
    on pages, for readers who know no attack: which examples it takes for members. `score` is given the evidence, what
    the attack has learnt, and those of the audit's settings that `settings` names. `learn` is given reference models
    and the classes of the examples [n]; what it returns serves all targets. Where it `decides`, 0 is the attack's own
    threshold: at 0 and above it guesses "member". `calibrated` ones compare a score with what reference models say of
    that very example, so that what is merely easy does not stand out. `primary` ranks it among those that risks rest
    on, `pictured` among those whose curves are drawn; 1 comes first, None never.
    """

    family: str
    name: str
    says: str
    score: Score
    needs: tuple[Need, ...] = ()
    learn: Callable[[References, Labels], Any] | None = None
    decides: Decides = lambda _: False
    settings: tuple[str, ...] = ()
    calibrated: bool = False
    primary: int | None = None
    pictured: int | None = None

    def lacks(self, evidence: Evidence) -> list[Need]:
        """List what the attack needs and the evidence has not."""
        return [need for need in self.needs if not HAS[need](evidence)]

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
_PER_CLASS = "the same, against a threshold for every class"
ATTACKS = (
    Attack("threshold", "gap", "those that the model gets right", _gap, ("signals",), decides=_always, pictured=7),
    Attack(
        family="threshold",
        name="confidence",
        says="those whose true class it is sure of",
        score=_threshold(_phi),
        decides=taught,
        primary=3,
        pictured=6,
    ),
    Attack("threshold", "loss", "those on which it errs little", _threshold(_loss), decides=taught),
    Attack(
        family="threshold",
        name="entropy",
        says="those about which it hesitates little, whatever their class",
        score=_threshold(_entropy),
        needs=("signals",),
        decides=taught,
    ),
    Attack(
        family="threshold",
        name="modified entropy",
        says="those about which it hesitates little and is right",
        score=_threshold(_modified_entropy),
        needs=("signals",),
        decides=taught,
    ),
    Attack(
        family="threshold",
        name="confidence, per class",
        says=_PER_CLASS,
        score=_class_thresholds(_phi),
        needs=("classes",),
        decides=_always,
        pictured=5,
    ),
    Attack("threshold", "loss, per class", _PER_CLASS, _class_thresholds(_loss), ("classes",), decides=_always),
    Attack(
        family="threshold",
        name="entropy, per class",
        says=_PER_CLASS,
        score=_class_thresholds(_entropy),
        needs=("signals", "classes"),
        decides=_always,
    ),
    Attack(
        family="threshold",
        name="modified entropy, per class",
        says=_PER_CLASS,
        score=_class_thresholds(_modified_entropy),
        needs=("signals", "classes"),
        decides=_always,
    ),
    Attack(
        family="label-only",
        name="label-only",
        says="those that it also gets right when they are mirrored and shifted",
        score=_label_only,
        needs=("augmented",),
    ),
    Attack(
        family="shadow",
        name="shadow classifier",
        says="those whose answers look like a member's to a classifier taught by reference models",
        score=_shadow,
        needs=("signals", "references", "taught"),
        learn=_learn_shadow,
        decides=_always,
        pictured=3,
    ),
    Attack(
        family="samia",
        name="SAMIA",
        says="those whose answers, also under noise, look like a member's to a network taught by reference models",
        score=_samia,
        needs=("references", "taught", "noisy"),
        learn=_learn_samia,
        decides=_always,
        pictured=4,
    ),
    Attack(
        family="rmia",
        name="RMIA offline",
        says="those of which it is surer than reference models trained without them, by more than of most others",
        score=_rmia("offline"),
        needs=("references", "OUT"),
        calibrated=True,
    ),
    Attack(
        family="rmia",
        name="RMIA online",
        says="those of which it is surer than all reference models together, by more than of most others",
        score=_rmia("online"),
        needs=("references", *_BOTH),
        calibrated=True,
        primary=2,
        pictured=2,
    ),
    Attack(
        family="lira",
        name="LiRA offline",
        says="those of which it is surer than the spread of reference models trained without them explains",
        score=_lira("offline"),
        needs=("references", "several", "OUT"),
        settings=("variance",),
        calibrated=True,
    ),
    Attack(
        family="lira",
        name="LiRA online",
        says="those about which it answers more like reference models trained with them than like those without",
        score=_lira("online"),
        needs=("references", *_BOTH),
        settings=("variance",),
        calibrated=True,
        primary=1,
        pictured=1,
    ),
)
"""All attacks, weakest first: results list them in this order."""
ATTACK_WORDS = (
    Word(
        "LiRA",
        "An attack that compares how sure the model is of an example with how sure reference models are of the very "
        "same one, as a bell curve; *online* with models trained with and without it, *offline* without it only.",
    ),
    Word(
        "RMIA",
        "An attack that compares by how much the model is surer of an example than reference models are with the same "
        "of other examples; *online* and *offline* as for LiRA.",
    ),
)
"""Attacks of which pages say more than what they take for members."""
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
    return [attack for attack in ATTACKS if attack.family in chosen and not attack.lacks(evidence)]


def queried(families: Iterable[str], query: QueryKind, *, references: bool) -> bool:
    """Tell whether an attack of these families needs such queries and lacks nothing else, reference models included.

    >>> queried(["samia", "lira"], "noisy", references=True), queried(["samia", "lira"], "noisy", references=False)
    (True, False)
    """
    chosen = set(families)
    return any(
        attack.family in chosen and query in attack.needs and (references or "references" not in attack.needs)
        for attack in ATTACKS
    )
