"""Are members and non-members alike? What tells them apart without the model under audit is no sign of membership."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import chi2_contingency
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from redense.attacks.references import Array, mean_of_chosen
from redense.auditing.evidence import Evidence
from redense.auditing.protocols import PROTOCOLS, ProtocolName
from redense.auditing.result import SURE, Alike
from redense.auditing.sample import Described, Sample
from redense.auditing.table import figure
from redense.auditing.verdict import FEWEST, Verdict
from redense.metrics.intervals import auc_error
from redense.metrics.paired import SHARE, normal_interval, within
from redense.metrics.roc import Members, Roc, roc

REMEDY = (
    "Check that both sides are prepared in the same way (scaled, normalised, resized, encoded). Take both sides from "
    "one random split of the same examples (protocol half), or add reference models that were trained on random parts "
    "of both sides."
)
COMPONENTS = 100
LEADING = 10
CLASSES = 50
BEHIND = 0.4
"""Weight of the components behind the leading ones: differences mostly show in what varies most."""
FOLDS = 5
ROUNDING = 1e-5
CORRECTION = math.sqrt(2)
"""Of the standard error of a mean over folds: each two of them judge one another, so what they find by chance counts
twice (cf. Nadeau & Bengio, "Inference for the generalization error", Machine Learning 2003, who have 1.5 here)."""
EXPECTED = 5
"""Examples of a class on the smaller side that a chi-squared test needs; rarer classes count as one."""
FAR = 2
"""An attack's area exceeds 0.5 so many times as much as that of inputs alone, and is far above it."""
Fit = Callable[[Array, Members], Callable[[Array], Array]]
"""(features [n, f], members [n]) -> what scores features [k, f], higher = member."""
INPUTS = "inputs and labels alone"
LABELS = "labels alone"
DRAWN = "members were drawn at random from all examples"
NO_INPUTS = "only signals were given, no inputs"
OF_TWO_KINDS = "the inputs of the two sides are of different kinds"


@dataclass(frozen=True)
class Told:
    """One way to tell the sides apart: its area under the ROC curve and the standard error of that.

    The chance of a false alarm is shared out among all that is tried, in proportion to `weight`.
    """

    by: str
    auc: float
    error: float
    p_value: float
    weight: int = 1

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the normal interval, inside [0, 1]."""
        return within(normal_interval(self.auc, self.error, confidence) or (self.auc, self.auc), SHARE)


def compare_sides(members: Described, nonmembers: Described) -> list[Told]:
    """Let classifiers that know inputs and labels alone tell the sides apart (Lopez-Paz & Oquab, "Revisiting classifier
    two-sample tests", ICLR 2017).

    Inputs are summarised and reduced to their `COMPONENTS` principal components, which a linear classifier and boosted
    trees see, with the labels. Among so many columns labels are easily lost, and are looked at alone, too. All areas
    are of examples that were not learnt from, in `FOLDS` folds. Equal inputs of one side count once, those of both
    sides fall into one fold. The linear classifier, which notices most, has as much weight as both others.
    """
    members, nonmembers = members.distinct(), nonmembers.distinct()
    features, weights = _features(members, nonmembers)
    labels = np.concatenate([members.labels, nonmembers.labels])
    is_member = np.arange(len(features)) < len(members)
    fold = (np.concatenate([members.groups, nonmembers.groups]) % FOLDS).astype(np.int64)
    with threadpool_limits(1):
        return [
            replace(_told(INPUTS, _areas(_linear, features * weights, is_member, fold)), weight=2),
            _told(INPUTS, _areas(_trees, features, is_member, fold)),
            _told_by_labels(labels, is_member, fold),
        ]


def compare_answers(evidence: Evidence) -> list[Told]:
    """Compare what reference models that were not trained on an example say about it: on both sides alike, if they are.

    The score is the mean scaled logit of the OUT models; it may be higher on either side.
    """
    references = evidence.references
    if references is None:
        return []
    asked = (~references.included).any(0)
    is_member = evidence.members[asked]
    if not is_member.any() or is_member.all():
        return []
    scores = mean_of_chosen(references.signals.phi[:, asked], ~references.included[:, asked])
    area = _area(scores, is_member)
    told = _told("the answers of reference models that saw neither", [replace(area, auc=max(area.auc, 1 - area.auc))])
    return [replace(told, p_value=min(1.0, 2 * told.p_value), weight=2)]


Compare = Callable[[], Sequence[Told] | str]
"""Tells the sides apart by inputs and labels alone, or says why not: it takes time, and is called where it matters."""


def without_inputs() -> str:
    """Say that there are no inputs to compare."""
    return NO_INPUTS


def how_alike(evidence: Evidence, protocol: ProtocolName, compare: Compare) -> Alike:
    """Put together what tells the sides apart; a random half needs no check, and few examples allow none."""
    if PROTOCOLS[protocol].drawn:
        return Alike(unchecked=DRAWN)
    if min(evidence.members.sum(), (~evidence.members).sum()) < FEWEST:
        return Alike(unchecked=f"there are fewer than {FEWEST} examples on a side")
    told = compare()
    of_inputs, unchecked = ([], told) if isinstance(told, str) else (list(told), "")
    return surest([*of_inputs, *compare_answers(evidence)], unchecked)


def surest(tried: list[Told], unchecked: str = "", confidence: float = 0.95) -> Alike:
    """Take the largest area of those that tell the sides apart, or else the surest, corrected for all tried."""
    if not tried:
        return Alike(unchecked=unchecked)
    total = sum(told.weight for told in tried)

    def corrected(told: Told) -> float:
        return min(1.0, told.p_value * total / told.weight)

    sure = [told for told in tried if corrected(told) < SURE]
    best = max(sure, key=lambda told: told.auc) if sure else min(tried, key=lambda told: (corrected(told), -told.auc))
    return Alike(
        auc=best.auc,
        interval=best.interval(1 - (1 - confidence) * best.weight / total),
        p_value=corrected(best),
        by=best.by,
        unchecked=unchecked,
    )


def sides_alike(*samples: Sample) -> list[Told] | str:
    """Compare the members' sample with the non-members'; return why not where inputs are of different kinds."""
    members, nonmembers = (sample.described() for sample in samples)
    if members.features.shape[1] != nonmembers.features.shape[1]:
        return OF_TWO_KINDS
    return compare_sides(members, nonmembers)


def not_comparable(alike: Alike, lower_ends: Iterable[float]) -> Verdict | None:
    """Decide whether the sides differ too much for any word about membership; None where they do not.

    They are not comparable where they are told apart without the model beyond chance (p below `SURE`, over all that was
    tried), unless an attack does far better: the lower end of its AUC, simultaneous over all attacks, exceeds 0.5
    by at least `FAR` times what the upper end of `alike.interval` does. So size and significance count together: a
    faint difference matters only where the attack is faint, too.
    """
    if not alike.told_apart or _far_above(alike, lower_ends):
        return None
    return Verdict(
        "not comparable",
        f"Not comparable: members and non-members are told apart by {alike.by}, with an AUC of {figure(alike)} where "
        "alike sides give 0.5. What the attacks find may be this difference rather than membership, or hidden by it. "
        f"{REMEDY}",
    )


def warned(alike: Alike, lower_ends: Iterable[float]) -> list[str]:
    """Warn where the sides differ and the verdict stands all the same."""
    if alike.unchecked == OF_TWO_KINDS:
        return [
            f"{OF_TWO_KINDS}, so that what the attacks find may be this difference; expected the same fields, types "
            "and numbers of columns on both sides"
        ]
    if not alike.told_apart or not _far_above(alike, lower_ends):
        return []
    return [
        f"members and non-members are told apart by {alike.by}, with an AUC of {figure(alike)}; an attack does far "
        f"better than that, but part of what it finds may be this difference. {REMEDY.rstrip('.')}"
    ]


def _far_above(alike: Alike, lower_ends: Iterable[float]) -> bool:
    reached = alike.interval[1] if alike.interval else 0.5
    return max(lower_ends, default=0.5) - 0.5 >= FAR * (reached - 0.5)


@dataclass(frozen=True)
class _Area:
    """An area, its standard error (DeLong), and the one that it has where the sides are alike."""

    auc: float
    error: float
    chance: float


def _area(scores: Array, is_member: Members) -> _Area:
    curve = roc(scores, is_member)
    area, error, _ = auc_error(curve)
    return _Area(area, error, _chance_error(curve))


def _chance_error(curve: Roc) -> float:
    """Return the standard error of the area of alike sides (Mann & Whitney 1947; ties counted).

    DeLong's shrinks where the area comes out large, which with few examples is called sure too often.
    """
    n = curve.members + curve.nonmembers
    equal = np.diff(curve.tpr) * curve.members + np.diff(curve.fpr) * curve.nonmembers
    tied = float((equal**3 - equal).sum()) / (n * (n - 1))
    return math.sqrt(max(0.0, n + 1 - tied) / (12 * curve.members * curve.nonmembers))


def _told(by: str, areas: list[_Area]) -> Told:
    """Average the areas of folds with their standard errors."""
    area = sum(one.auc for one in areas) / len(areas)
    correction = CORRECTION if len(areas) > 1 else 1
    error, chance = (
        correction * math.sqrt(sum(one**2 for one in errors)) / len(areas)
        for errors in ([one.error for one in areas], [one.chance for one in areas])
    )
    p_value = float(ndtr((0.5 - area) / chance)) if chance > 0 else float(area <= 0.5)
    return Told(by, area, error, p_value)


def _told_by_labels(labels: npt.NDArray[np.int64], is_member: Members, fold: npt.NDArray[np.int64]) -> Told:
    """Say how far labels alone tell the sides apart, by held-out areas, and whether beyond chance, by their counts.

    Nothing is learnt for a test of the counts, which finds smaller differences of few classes than held-out areas do.
    """
    told = _told(LABELS, _areas(_linear, _classes(labels), is_member, fold))
    return replace(told, p_value=_chi_squared(labels, is_member))


def _chi_squared(labels: npt.NDArray[np.int64], is_member: Members) -> float:
    """Return Pearson's p of "the classes have the same shares on both sides"; rare ones count as one, or not at all."""
    _, place = np.unique(labels, return_inverse=True)
    counts = np.stack([np.bincount(place[side], minlength=place.max() + 1) for side in (is_member, ~is_member)])
    needed = EXPECTED * len(labels) / counts.sum(1).min()
    rare = counts.sum(0) < needed
    table = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
    table = table[:, table.sum(0) >= needed]
    return float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else 1.0


def _areas(fit: Fit, features: Array, is_member: Members, fold: npt.NDArray[np.int64]) -> list[_Area]:
    """Return the area of each fold; folds that lack a side to learn from or to judge are left out."""
    found = [_Area(0.5, math.inf, math.inf)]
    for number in np.unique(fold):
        judged = fold == number
        sides = [is_member[part] for part in (judged, ~judged)]
        if all(side.any() and not side.all() for side in sides):
            score = fit(features[~judged], sides[1])
            found.append(_area(score(features[judged]), sides[0]))
    return found[1:] or found


def _linear(features: Array, members: Members) -> Callable[[Array], Array]:
    fitted: Callable[[Array], Array] = (
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=300).fit(features, members).decision_function
    )
    return fitted


def _trees(features: Array, members: Members) -> Callable[[Array], Array]:
    trees = HistGradientBoostingClassifier(
        max_iter=30, max_leaf_nodes=8, min_samples_leaf=10, early_stopping=False, random_state=0
    )
    fitted: Callable[[Array], Array] = trees.fit(features, members).decision_function
    return fitted


def _features(first: Described, second: Described) -> tuple[Array, Array]:
    """Return features of both sides [n, f] and their weights [f].

    Those are the principal components of the values and of the summaries, whichever there are, and the classes.
    """
    blocks = []
    for name in ("values", "features"):
        sides = [getattr(side, name) for side in (first, second)]
        if sides[0].shape[1] and sides[0].shape[1] == sides[1].shape[1]:
            blocks.append(_components(_standard(np.concatenate(sides))))
    blocks.append(_classes(np.concatenate([first.labels, second.labels])))
    weights = [np.where(np.arange(block.shape[1]) < LEADING, 1.0, BEHIND) for block in blocks]
    return np.concatenate(blocks, axis=1), np.concatenate(weights)


def _components(columns: Array) -> Array:
    if columns.shape[1] <= LEADING:
        return columns
    components = min(COMPONENTS, columns.shape[1], len(columns) - 1)
    reduced = PCA(components, svd_solver="randomized", random_state=0).fit_transform(columns)
    return _standard(np.asarray(reduced))


def _classes(labels: npt.NDArray[np.int64]) -> Array:
    """Tell the commonest classes apart, a column each."""
    known, counts = np.unique(labels, return_counts=True)
    common = known[np.argsort(-counts, kind="stable")[:CLASSES]]
    told: Array = (labels[:, None] == common).astype(np.float64)
    return told


def _standard(columns: Array) -> Array:
    """Give columns the mean 0 and the standard deviation 1, bring in what lies far out, and leave out constant ones.

    What rounding makes of a constant depends on where an example stands, and so on its side.
    """
    centred = columns.astype(np.float64) - columns.mean(0, dtype=np.float64)
    spread = centred.std(0)
    varies = spread > ROUNDING * np.abs(columns).max(initial=0.0)
    standard: Array = np.clip(centred[:, varies] / spread[varies], -5, 5)
    return standard
