"""Replicates at no further training: every reference model is the target in turn, attacked by the others.

Reference models are trained on random halves in complementary pairs. A target's complement is left out with it:
otherwise each of its members is in the training data of one reference model fewer than each non-member, and attacks
would read these numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from redense.attacks.references import Array, complementary_pairs
from redense.attacks.threshold import Labels
from redense.auditing.attack_result import FPRS, judged_accuracy, nonmembers_needed
from redense.auditing.attacks import Attack, possible_attacks
from redense.auditing.evidence import Evidence, References
from redense.auditing.settings import AuditSettings
from redense.errors import DataError
from redense.metrics.intervals import halves_of
from redense.metrics.jackknife import FEWEST_PAIRS

SETTINGS = AuditSettings()
Figures = Mapping[str, Array]
"""Arrays by name: ``auc``, ``accuracy``, and ``tpr_at_...`` for each false-positive rate with enough non-members."""


def replicable(references: References, labels: Labels, families: Iterable[str]) -> list[Attack]:
    """Return the attacks of these families that work on signals as they are stored, weakest first.

    Those that query models again, or learn from the reference models at length, are left out.
    """
    evidence = _evidence(references, labels, 0, references)
    return [attack for attack in possible_attacks(families, evidence) if attack.on_stored_signals]


def replicate(references: References, labels: Labels, attacks: Sequence[Attack]) -> dict[str, Figures]:
    """Return each attack's figures on each of R reference models, float [R], attacked by the R - 2 others.

    `labels` [n] are the true classes; models come in the order of `ordered`. Raises `DataError` unless they come in
    complementary pairs, three at least.
    """
    references = ordered(references)
    rates = _rates(references)
    found: dict[str, list[dict[str, float]]] = {attack.name: [] for attack in attacks}
    for pair in range(len(references.included) // 2):
        for _, evidence in _attacked(references, labels, {pair}):
            for attack in attacks:
                found[attack.name].append(_figures(attack, evidence, rates))
    return {name: _by_name(cells) for name, cells in found.items()}


def replicate_without_pairs(references: References, labels: Labels, attack: Attack) -> Figures:
    """Return an attack's figures on each of R reference models without each pair, float [R, R/2].

    At [r, k] stands what is found on model r by all models but its own pair and pair k, as
    `redense.metrics.jackknife.pair_jackknife` wants it: R^2 / 2 attacks. `labels` and errors as in `replicate`.
    """
    references = ordered(references)
    models, rates = len(references.included), _rates(references)
    found: dict[tuple[int, int], dict[str, float]] = {}
    for first, second in combinations_with_replacement(range(models // 2), 2):
        # what is left without two pairs serves the models of both
        for target, evidence in _attacked(references, labels, {first, second}):
            other = first + second - target // 2
            found[target, other] = _figures(attack, evidence, rates)
    cells = [found[target, pair] for target in range(models) for pair in range(models // 2)]
    return {name: values.reshape(models, models // 2) for name, values in _by_name(cells).items()}


def ordered(references: References) -> References:
    """Return the reference models pair by pair: 2k and 2k + 1 were trained on complementary halves.

    Raises `DataError` where a complement is missing or there are fewer than three pairs.
    """
    try:
        pairs = complementary_pairs(references.included)
    except ValueError as error:
        raise DataError(f"replicates: {error}") from None
    if len(pairs) < FEWEST_PAIRS:
        raise DataError(f"replicates: got {len(pairs)} pairs of reference models; expected {FEWEST_PAIRS} at least")
    return _chosen(references, pairs.ravel())


def _attacked(references: References, labels: Labels, pairs: set[int]) -> Iterator[tuple[int, Evidence]]:
    """Yield each model of one or two pairs as the target, with all models of other pairs as its reference models."""
    pair_of = np.arange(len(references.included)) // 2
    inside = np.isin(pair_of, list(pairs))
    others = _chosen(references, np.flatnonzero(~inside))
    for target in np.flatnonzero(inside).tolist():
        yield target, _evidence(references, labels, target, others)


def _evidence(references: References, labels: Labels, target: int, others: References) -> Evidence:
    return Evidence(references.signals[target], labels, references.included[target], others)


def _chosen(references: References, models: npt.NDArray[np.int64]) -> References:
    return References(references.signals[models], references.included[models])


def _rates(references: References) -> list[float]:
    """Return the false-positive rates for which every target has enough non-members."""
    fewest = int((~references.included).sum(1).min())
    return [fpr for fpr in FPRS if fewest >= nonmembers_needed(fpr)]


def _figures(attack: Attack, evidence: Evidence, rates: Sequence[float]) -> dict[str, float]:
    """Make an attack that learns nothing beforehand; read its figures off one sort of its scores."""
    scores = attack.scores(evidence, None, SETTINGS)
    halves = halves_of(scores, evidence.members)
    curve = halves.whole
    accuracy = judged_accuracy(halves, evidence.members, scores >= 0 if attack.decides(evidence) else None)
    found = {f"tpr_at_{fpr:g}": float(curve.tpr[curve.index_at_fpr(fpr)]) for fpr in rates}
    return {"auc": curve.auc, "accuracy": accuracy, **found}


def _by_name(cells: list[dict[str, float]]) -> dict[str, Array]:
    return {name: np.array([figures[name] for figures in cells]) for name in cells[0]}
