"""Mistakes that would end in a confident wrong answer: each check gives warnings with cause and remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binomtest, hypergeom

from redense.attacks.references import Included
from redense.attacks.threshold import Labels
from redense.auditing.evidence import Evidence
from redense.auditing.verdict import FEWEST
from redense.errors import DataError
from redense.metrics.intervals import auc_error, auc_interval_of
from redense.metrics.roc import Members, Roc, roc
from redense.text import interval_text

Correct = npt.NDArray[np.bool_]

ERRORS = 3
"""Standard errors from which an accuracy differs."""
UNLIKELY = 1e-4
"""Of fair coins: numbers of members and non-members so uneven are taken for a mistake."""
LEAST_SURE = 0.99
"""Confidence, over all attacks, from which one is called worse than guessing."""
SURE = 0.999
"""That from which this leaves no verdict of no leak: one of a thousand audits of noise is refused so."""
TELLING = 0.001
"""How seldom fair draws of reference sets may be taken for such that tell members."""
REMEDY = "check that inputs are preprocessed as in training, that the classes have the same order, and the weights"


def accuracies(evidence: Evidence) -> tuple[float, float] | tuple[None, None]:
    """Return the target's accuracy on members and on non-members; None where only phi is known."""
    if evidence.phi_only:
        return None, None
    right = evidence.target.correct
    return float(right[evidence.members].mean()), float(right[~evidence.members].mean())


def of_accuracy(evidence: Evidence) -> list[str]:
    """Warn where a side is classified hardly better than by guessing, or members worse than non-members."""
    inside, outside = accuracies(evidence)
    members, nonmembers = int(evidence.members.sum()), int((~evidence.members).sum())
    if inside is None or outside is None or min(members, nonmembers) < FEWEST:
        return []
    found = []
    right, labels = evidence.target.correct, evidence.labels
    guess = float(np.bincount(labels[evidence.members]).max() / members)
    if _guesses(right[evidence.members], labels[evidence.members]):
        found.append(
            f"the model is right about {100 * inside:.1f}% of the members, and guessing the largest class about "
            f"{100 * guess:.1f}%: it hardly knows what it was trained on; {REMEDY}"
        )
    elif _guesses(right[~evidence.members], labels[~evidence.members], recall_errors=2):
        found.append(
            f"the model is right about {100 * inside:.1f}% of the members and {100 * outside:.1f}% of the non-members, "
            "not shown to be more than by guessing: it has learnt nothing but its members, or the non-members are not "
            f"what it was trained for; check that their labels belong to their inputs, and {REMEDY}"
        )
    # one right and one wrong answer more on each side, for an accuracy of 1 is not sure (Agresti & Caffo 2000)
    low, high = (inside * members + 1) / (members + 2), (outside * nonmembers + 1) / (nonmembers + 2)
    if low < high - ERRORS * math.sqrt(low * (1 - low) / (members + 2) + high * (1 - high) / (nonmembers + 2)):
        found.append(
            f"the model is right about {100 * inside:.1f}% of the members and {100 * outside:.1f}% of the non-members: "
            f"it should know its members better; check that the sides are not exchanged, and {REMEDY}"
        )
    return found


def _guesses(right: Correct, labels: Labels, recall_errors: float = ERRORS) -> bool:
    """Tell whether answers [n] to examples of classes [n] may be guesses that do not know the example.

    Neither the accuracy is above that of guessing the largest class nor the mean recall of the classes present above
    one over their number, which is what every guess gives: with uneven classes a sound model may show in the latter
    alone.
    """
    numbers = np.bincount(labels)
    n, largest = len(labels), float(numbers.max() / len(labels))
    error = ERRORS * math.sqrt(largest * (1 - largest) / n)
    # where no accuracy could be so much above guessing, it may at least not be as much below
    if right.mean() >= (largest + error if largest + error <= 1 else largest - error):
        return False
    present = numbers > 0
    found, of_class = np.bincount(labels, weights=right)[present], numbers[present]
    smoothed = (found + 1) / (of_class + 2)
    error = recall_errors * math.sqrt((smoothed * (1 - smoothed) / (of_class + 2)).sum()) / len(of_class)
    return float((found / of_class).mean()) < 1 / len(of_class) + error


def of_references(evidence: Evidence) -> list[str]:
    """Warn where reference models answer no surer about what `included` says they were trained on, unlike the target.

    Models trained like it give as much away, and the mean of several is surer than one. The order of examples or models
    is another then, or outputs were changed.
    """
    if evidence.references is None:
        return []
    areas = [
        auc_error(roc(phi, included))[:2]
        for phi, included in zip(evidence.references.signals.phi, evidence.references.included, strict=True)
        if min(included.sum(), (~included).sum()) >= FEWEST
    ]
    if not areas:
        return []
    mean, error = float(np.mean([area for area, _ in areas])), math.hypot(*(e for _, e in areas)) / len(areas)
    own, own_error, _ = auc_error(roc(evidence.target.phi, evidence.members))
    if mean >= 0.5 - ERRORS * error and not (
        mean < 0.5 + ERRORS * error and own - mean > ERRORS * math.hypot(error, own_error)
    ):
        return []
    return [
        f"reference models answer no surer about what they were trained on than about the rest (AUC {mean:.3f}, mean "
        f"of {len(areas)} models), where the model under audit has {own:.3f}: included seems to belong to other models "
        "or examples; give a row a model, in their order, members before non-members, each in the order of the examples"
    ]


def of_signs(curves: Mapping[str, Roc], confidence: float = LEAST_SURE) -> list[str]:
    """Warn where attacks are surely worse than guessing, over all of them."""
    intervals = {name: auc_interval_of(curve, 1 - (1 - confidence) / len(curves)) for name, curve in curves.items()}
    worse = [name for name, (_, high) in intervals.items() if high < 0.5]
    if not worse:
        return []
    worst = min(worse, key=lambda name: intervals[name][1])
    area = f"AUC {curves[worst].auc:.3f} {interval_text(intervals[worst], 1, 3)}"
    return [
        f"members score lower than non-members in {', '.join(worse)} ({worst}: {area}): a wrong sign, exchanged sides, "
        "or members that are harder; scores have to be higher for likely members (a scaled logit, not a loss)"
    ]


def check_coins(members: int, nonmembers: int) -> None:
    """Raise `DataError` when fair coins would hardly give such numbers (two-sided binomial test, `UNLIKELY`)."""
    if binomtest(members, members + nonmembers).pvalue < UNLIKELY:
        raise DataError(
            f"randomized: got {members:,} members and {nonmembers:,} non-members; fair coins give numbers so uneven in "
            f"fewer than 1 of {1 / UNLIKELY:,.0f} cases; give all examples for which a coin was thrown, or leave "
            "randomized out: then no epsilon can be proven"
        )


def telling_references(evidence: Evidence) -> list[str]:
    """Warn when what reference models were trained on tells members from non-members, by itself.

    Attacks would read it, not the model. Three things may tell: how many models were trained on an example (as where
    reference sets are balanced with the target counted in), what one model was trained on (such as the members), and
    all of it together. Where sets are drawn without regard to the target, one of `TELLING` is warned of at most.
    """
    if evidence.references is None:
        return []
    included, members = evidence.references.included, evidence.members
    counts = included.sum(0).astype(np.float64)
    low, high = auc_interval_of(roc(counts, members), 1 - TELLING / 3)
    if not low <= 0.5 <= high:
        means = [counts[side].mean() for side in (members, ~members)]
        found = (
            f"members are in the training data of {means[0]:.2f} reference models on average, non-members of "
            f"{means[1]:.2f}: these counts give membership away"
        )
    elif min(of_models := _of_one_model(included, members)) < TELLING / 3 / len(included):
        model = int(np.argmin(of_models))
        shares = [100 * included[model, side].mean() for side in (members, ~members)]
        found = (
            f"reference model {model} was trained on {shares[0]:.1f}% of the members and {shares[1]:.1f}% of the "
            "non-members, which gives membership away"
        )
    elif _together(included, members) < TELLING / 3:
        found = "what all reference models were trained on, taken together, gives membership away"
    else:
        return []
    return [
        f"{found}; attacks that need reference models were left out: they would read this, not the model; draw "
        "reference sets independently of the target"
    ]


def _of_one_model(included: Included, members: Members) -> list[float]:
    """Return, for each model [m], Fisher's exact p-value that it was trained on members as often as on others."""
    found, trained = (included & members).sum(1), included.sum(1)
    drawn = hypergeom(len(members), int(members.sum()), trained)
    values: list[float] = np.minimum(1.0, 2 * np.minimum(drawn.cdf(found), drawn.sf(found - 1))).tolist()
    return values


def _together(included: Included, members: Members) -> float:
    """Return the p-value of the multiple correlation of membership with what m models were trained on.

    Of so many independent numbers its square has a Beta distribution; 1.0 where they fit any membership.
    """
    m, n = included.shape
    numbers = np.concatenate([included, members[None]]).astype(np.float32)  # sums of ones: exact up to 2^24
    sums = numbers.sum(1, dtype=np.float64)
    products = (numbers @ numbers.T).astype(np.float64) - np.outer(sums, sums) / n
    own, shared, total = products[:m, :m], products[:m, m], products[m, m]
    rank = int(np.linalg.matrix_rank(own, tol=1e-6 * n, hermitian=True))
    if not 0 < rank < n - 1:
        return 1.0
    explained = float(shared @ np.linalg.pinv(own, rcond=1e-6, hermitian=True) @ shared / total)
    return float(beta.sf(explained, rank / 2, (n - 1 - rank) / 2))
