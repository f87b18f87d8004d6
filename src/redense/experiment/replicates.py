"""Does a phase give away more than another? Over a run's reference models, each the target in turn.

They have gone through the same phases as the targets and are many, so they say what one trained target cannot: whether
the next training would find the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from redense.attacks.threshold import Labels
from redense.auditing.attacks import PRIMARY
from redense.auditing.evidence import References
from redense.auditing.protocols import AS_REFERENCES
from redense.auditing.replicates import Figures, replicable, replicate, replicate_without_pairs
from redense.experiment.auditor import FORMAT as FIGURES
from redense.experiment.auditor import RunAuditor
from redense.experiment.comparison import Comparison, PValue
from redense.experiment.phase_means import FILE as MEANS_FILE
from redense.experiment.phase_means import RATES, PhaseMean, compared_figures, write_means
from redense.files.kept import key_of, read_kept, write_kept
from redense.files.reading import Unread, fields
from redense.files.writing import make_folder, write_whole
from redense.methods import Method
from redense.metrics.jackknife import DESCRIBED_FROM, ReplicatedMean, pair_jackknife
from redense.metrics.paired import OF_SHARES, SHARE
from redense.phases import Phase
from redense.text import csv_text


@dataclass(frozen=True)
class PhaseReplicates:
    """What is found on R reference models of a phase, each attacked by all others but its complement.

    `models` are the numbers of their halves, pair by pair. `figures` has each attack's figures, float [R] by name;
    `left_out` those of `primary`, the attack that decides, chosen beforehand, without each pair: float [R, R/2].
    """

    phase: Phase
    models: tuple[int, ...]
    figures: Mapping[str, Figures]
    primary: str
    left_out: Figures

    @property
    def compared(self) -> tuple[str, ...]:
        """The figures that phases are compared by: ``auc``, and the true-positive rate at the lowest rate shown."""
        return compared_figures([*self.left_out])

    def mean(self, figure: str) -> ReplicatedMean:
        """Return the mean of a figure of the attack that decides."""
        return pair_jackknife(self.left_out[figure], possible=SHARE)


@dataclass(frozen=True)
class _Kept:
    """What is kept of a phase: `PhaseReplicates` without the phase, as plain JSON values; no `primary` without any."""

    figures: dict[str, dict[str, list[float]]]
    primary: str | None
    left_out: dict[str, list[list[float]]]

    def fits(self, models: int, attacks: Sequence[str]) -> bool:
        """Tell whether it has the form of what is made of so many reference models by some of these attacks."""
        of_primary = self.figures.get(self.primary or "", {})
        rows = [values for each in self.figures.values() for values in each.values()]
        without = [values for each in self.left_out.values() for values in each]
        return (
            self.primary == next((name for name in PRIMARY if name in self.figures), None)
            and {*self.figures} <= {*attacks}
            and all({"auc", "accuracy"} <= {*each} <= {"auc", "accuracy", *RATES} for each in self.figures.values())
            and {*self.left_out} == {*of_primary}
            and {*map(len, rows), *map(len, self.left_out.values())} <= {models}
            and {*map(len, without)} <= {models // 2}
            and all(0 <= value <= 1 for values in (*rows, *without) for value in values)
        )


def replicate_phases(auditor: RunAuditor) -> Iterator[PhaseReplicates]:
    """Make the reference models of each phase targets in turn; what was made is kept in the folder's ``audit``.

    Phases with fewer than `DESCRIBED_FROM` finished reference models are left out, and so are runs without an attack
    that can be repeated, or whose every example is given more than once.
    """
    for phase in auditor.phases:
        shared = auditor.of_phase(phase)
        if len(shared.references) < DESCRIBED_FROM:
            continue
        determinants = ["replicates", FIGURES, [job.key for job in shared.references], auditor.attack_names]
        key = key_of(determinants)
        path = auditor.store.root / "audit" / f"replicates-{key}.json"
        found = _found(path, key, len(shared.references), auditor.attack_names)
        if found is None:
            references, labels = shared.halved
            if not len(labels):
                continue
            found = _made(references, labels, auditor.attacks)
            make_folder(path.parent, inside=auditor.store.root)
            write_kept(path, key, dataclasses.asdict(found), inside=auditor.store.root)
        if found.primary is not None:
            models = tuple(job.member_set.index for job in shared.references if job.member_set)
            figures = {attack: _arrays(each) for attack, each in found.figures.items()}
            yield PhaseReplicates(phase, models, figures, found.primary, _arrays(found.left_out))


def compare_replicates(replicates: Sequence[PhaseReplicates], method: Method) -> list[Comparison]:
    """Compare the phases that the method compares, paired by model, where the same models have gone through both.

    One test decides, fixed beforehand: the jackknife over complementary pairs. p-values are not corrected yet.
    """
    known = {one.phase: one for one in replicates}
    found = []
    for first, second in method.compared(known):
        one, other = known[first], known[second]
        if (one.models, one.primary, one.compared) != (other.models, other.primary, other.compared):
            continue
        found += [over_replicates(figure, one, other) for figure in one.compared]
    return found


def over_replicates(figure: str, one: PhaseReplicates, other: PhaseReplicates) -> Comparison:
    """Compare a figure of the same models and attack, paired by model; the p-value is not corrected yet."""
    mean = pair_jackknife(other.left_out[figure] - one.left_out[figure], possible=OF_SHARES)
    return Comparison(
        "auc" if figure == "auc" else "tpr",
        one.phase,
        other.phase,
        seeds=0,
        difference=mean.mean,
        interval=mean.interval,
        t=PValue.of(mean.p),
        protocol=AS_REFERENCES,
        attack=one.primary,
        fpr=RATES.get(figure),
        replicates=mean.replicates,
        prediction=mean.prediction,
    )


def write_replicates(replicates: Sequence[PhaseReplicates], folder: Path) -> list[str]:
    """Write ``replicates.json``, means over models, and ``replicates.csv``, a line a phase, attack and model.

    Returns the files' names.
    """
    lines = [
        {
            **one.phase.to_columns(),
            "attack": attack,
            "reference": model,
            **{name: float(values[place]) for name, values in figures.items()},
        }
        for one in replicates
        for attack, figures in one.figures.items()
        for place, model in enumerate(one.models)
    ]
    write_means(means_of(replicates), folder)
    write_whole(folder / "replicates.csv", csv_text(lines), inside=folder)
    return [MEANS_FILE, "replicates.csv"]


def means_of(replicates: Sequence[PhaseReplicates]) -> list[PhaseMean]:
    """Return the means over models of every figure of the attack that decides, phase by phase."""
    means = [(one, figure, one.mean(figure)) for one in replicates for figure in one.left_out]
    return [
        PhaseMean(one.phase, one.primary, figure, mean.replicates, mean.mean, mean.interval, mean.prediction)
        for one, figure, mean in means
    ]


def _found(path: Path, key: str, models: int, attacks: Sequence[str]) -> _Kept | None:
    """Return what is kept under a key; None where nothing is, or what has another form: it is made again."""
    kept = read_kept(path, key)
    if kept is None:
        return None
    try:
        found = fields(_Kept, {name: value for name, value in kept.items() if name != "key"})
    except Unread:
        return None
    return found if found.fits(models, attacks) else None


def _made(references: References, labels: Labels, families: Sequence[str]) -> _Kept:
    """Make every attack that can be repeated, the one that decides without each pair, too."""
    attacks = replicable(references, labels, families)
    figures = replicate(references, labels, attacks)
    primary = next((name for name in PRIMARY if name in figures), None)
    left_out: Figures = {}
    for attack in attacks:
        if attack.name == primary:
            left_out = replicate_without_pairs(references, labels, attack)
    return _Kept({attack: _lists(each) for attack, each in figures.items()}, primary, _lists(left_out))


def _lists(figures: Figures) -> dict[str, Any]:
    return {name: values.tolist() for name, values in figures.items()}


def _arrays(lists: Mapping[str, Any]) -> Figures:
    return {name: np.array(values) for name, values in lists.items()}
