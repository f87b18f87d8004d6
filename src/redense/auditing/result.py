"""The result of an audit: frozen figures, a verdict, and the forms in which they are written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt

from redense.arguments import SOME, Count, Delta, Must, Rate, SharedConfidence, Shares, validated
from redense.auditing.attack_result import AttackResult
from redense.auditing.protocols import FORMER, ProtocolName
from redense.auditing.verdict import GRADES, JUDGED, Verdict
from redense.errors import DataError, UnknownName
from redense.files.reading import Written, check, field, fields
from redense.text import csv_text, data_frame, html_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 3
"""Format 1 had an epsilon for every attack that no proof covers, verdicts without size, and no check of the sides; in
format 2 repeated examples were taken for independent cases."""
SOURCE = "audit result"
_WRITTEN = Written("the result of an audit", FORMAT, "audit again with this version of redense", DataError)
Curve = Annotated[
    tuple[list[float], list[float]],
    Must(
        lambda ends: len(ends[0]) == len(ends[1]) > 0 and all(_climbs(one) for one in ends),
        "false- and true-positive rates that climb from 0 to 1, as many of each",
    ),
]
"""The points of an ROC curve."""
SURE = 0.01
"""Sides that are alike are told apart so often at most."""


def _climbs(rates: Sequence[float]) -> bool:
    return (rates[0], rates[-1]) == (0, 1) and sorted(rates) == list(rates)


@validated(DataError)
@dataclass(frozen=True)
class Alike:
    """How well members and non-members are told apart without the model under audit.

    `auc` is the largest area that tells them apart, or else the surest, reached by `by`: classifiers on inputs and
    labels, or on labels alone, or the answers of reference models that saw neither. 0.5 means alike. `interval` holds
    in 95%, over all that was tried; `p_value` is of "the two sides are alike", over all that was tried. All three are
    None where nothing was tried.
    `unchecked` says why inputs and labels were not looked at; it is empty where they were.
    """

    auc: Rate | None = None
    interval: Shares | None = None
    p_value: Rate | None = None
    by: str = ""
    unchecked: str = ""

    @property
    def told_apart(self) -> bool:
        """Whether the two sides differ beyond chance."""
        return self.p_value is not None and self.p_value < SURE


@validated(DataError)
@dataclass(frozen=True)
class Exposed:
    """A member that stands out: its place among the audited examples, its name, its class, and its `risk`.

    `name` is the file's or the user's own, else the place, from 0 in the order in which examples were given.
    `risk` in [0, 1] is the share of non-members with a lower score: at 0.999 an attacker who picks this example
    accuses at most 1 in 1,000 non-members with it.
    """

    example: Count
    name: str
    label: int
    risk: Rate


@validated(DataError)
@dataclass(frozen=True)
class ClassRisk:
    """How much the members of one class stand out among its examples: AUC with its interval, None with too few.

    The intervals hold together: none of them misses in `confidence` of audits, so that the highest class's holds too.
    """

    label: int
    members: Count
    nonmembers: Count
    auc: Rate | None
    auc_interval: Shares | None


@validated(DataError)
@dataclass(frozen=True, repr=False)
class AuditResult:
    """What an audit found, of `members` and `nonmembers` examples, with `references` reference models.

    `attacks` are the attacks' figures in the order of the table of attacks, whatever each reaches here, `verdict` what
    they amount to: its `attack` is the strongest here. `confidence` is that of all
    intervals, 0.95 unless another was asked for, `delta` that of the differential privacy which an epsilon is about.
    `protocol` is ``all`` (trained on all training data, test data as non-members), ``half`` (trained on a random
    half, the other half being non-members) or ``given`` (the user's own members and non-members). `primary` names the
    attack, chosen beforehand, that `exposed`, `classes`, per-example risks and an epsilon rest on. `exposed` is empty
    unless a leak was shown, by a primary attack that compares every example with reference models trained without it.
    `members_accuracy` and `nonmembers_accuracy` in [0, 1] are those of the audited model, None where only the
    probability of the true class is known. `alike` says how well the two sides are told apart without the model.
    `warnings` is what should be known before any of it is believed.
    Equal inputs of one side count once, the first of them, and those of both sides not at all: `members_left_out` and
    `nonmembers_left_out` say how many examples are not among `members` and `nonmembers`, 0 where no inputs were seen.
    `curves` holds (FPR, TPR) points of every attack. `risks` [n] is the risk of every example, members or not, in the
    order in which they were given, NaN of those left out; it is not written to JSON.
    `class_names` is what the data set calls its classes, by label, empty where it does not say.

    >>> import redense, torch
    >>> x, y = torch.randn(200, 4), torch.randint(0, 2, (200,))
    >>> result = redense.audit(torch.nn.Linear(4, 2), members=(x[:100], y[:100]), nonmembers=(x[100:], y[100:]))
    >>> low, high = result.attack("confidence").auc_interval
    >>> low <= result.attack("confidence").auc <= high, result.members
    (True, 100)
    """

    protocol: ProtocolName
    members: Annotated[int, SOME]
    nonmembers: Annotated[int, SOME]
    members_left_out: Count
    nonmembers_left_out: Count
    references: Count
    confidence: SharedConfidence
    delta: Delta
    attacks: tuple[AttackResult, ...]
    primary: str
    verdict: Verdict
    exposed: tuple[Exposed, ...]
    classes: tuple[ClassRisk, ...]
    warnings: tuple[str, ...]
    curves: dict[str, Curve]
    members_accuracy: Rate | None
    nonmembers_accuracy: Rate | None
    alike: Alike
    risks: npt.NDArray[np.float64] | None = dataclasses.field(default=None, compare=False, repr=False)
    class_names: tuple[str, ...] = ()

    @validated(DataError)
    def class_name(self, label: int) -> str:
        """Return what a class is called: its name, else its label."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)

    @validated(DataError)
    def attack(self, name: str) -> AttackResult:
        """Return one attack's figures.

        Raises `UnknownName`, a KeyError, for an attack that was not made.
        """
        for result in self.attacks:
            if result.attack == name:
                return result
        known = ", ".join(one.attack for one in self.attacks)
        raise UnknownName(f"name: got {name!r}, which is not in this audit; expected one of {known}")

    def __str__(self) -> str:
        from redense.auditing.table import plain_audit

        return plain_audit(self)

    def __repr__(self) -> str:
        sides = f"{self.members:,} members, {self.nonmembers:,} non-members"
        return f"<AuditResult: {self.verdict.kind}; {len(self.attacks)} attacks, {sides}>"

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def to_mapping(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        values = dataclasses.asdict(dataclasses.replace(self, risks=None))
        del values["risks"]
        for attack in values["attacks"]:
            for rate in attack["rates"]:
                point = rate["point"]
                if point and point["threshold"] == math.inf:  # which JSON cannot say
                    point["threshold"] = None
        return {"format": FORMAT, **values}

    @validated(DataError)
    def to_json(self, path: str | Path | None = None) -> str:
        """Return everything as JSON, and write it to `path` where one is given."""
        return _written(json.dumps(self.to_mapping(), indent=1) + "\n", path)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> AuditResult:
        """Undo `to_mapping`, also after a passage through JSON.

        Raises `DataError` for what is no audit's result and for one of another format.
        """
        if isinstance(values, Mapping) and "rows" in values:
            raise DataError(
                f"{SOURCE}: got the audits of a run, a row a phase; expected one audit: the result of "
                "one of its rows; `redense audit RUN` prints them all"
            )
        return _WRITTEN.take(values, SOURCE, cls._from_values)

    @classmethod
    @validated(DataError)
    def from_json(cls, text: str) -> AuditResult:
        """Undo `to_json`; raises what `from_mapping` does."""
        return cls.from_mapping(_WRITTEN.values(text, SOURCE))

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> AuditResult:
        given = field(values, "protocol")
        protocol = FORMER.get(given, given) if isinstance(given, str) else given
        result = fields(cls, {**values, "protocol": protocol}, risks=None)
        result._check_attacks()
        result._check_verdict()
        result._check_examples()
        return result

    def _check_attacks(self) -> None:
        """Raise `Unread` unless every attack has its curve and the same rates, and the primary one is among them."""
        names = [one.attack for one in self.attacks]
        check(0 < len(names) == len(set(names)), names, "attacks", "some, each once")
        check(self.curves.keys() == set(names), [*self.curves], "curves", "those of attacks")
        check(self.primary in names, self.primary, "primary", "an attack made")
        shown = {tuple((rate.fpr, rate.point is not None) for rate in one.rates) for one in self.attacks}
        check(len(shown) == 1, len(shown), "kinds of rates", "one for all")
        rates = [fpr for fpr, _ in shown.pop()]
        check(len(rates) == len(set(rates)), rates, "rates", "each once")

    def _check_verdict(self) -> None:
        """Raise `Unread` unless the verdict says what its kind says, and nothing else."""
        verdict, grades = self.verdict, dict(GRADES)
        for name in ("attack", "accuracy", "interval", "p", "grade"):
            wanted = verdict.kind == "leak" if name == "grade" else verdict.kind in JUDGED
            value, expected = getattr(verdict, name), f"{'one' if wanted else 'none'} where it is {verdict.kind}"
            check((value is not None) == wanted, value, f"verdict: {name}", expected)
        check(verdict.attack in {None, *self.curves}, verdict.attack, "verdict: attack", "an attack made")
        check(verdict.grade in {None, *grades}, verdict.grade, "verdict: grade", f"one of {', '.join(grades)}")

    def _check_examples(self) -> None:
        """Raise `Unread` for figures without how sure they are, and for exposed examples beyond the last."""
        for risk in self.classes:
            _check_together("classes: auc_interval", risk.auc, risk.auc_interval)
        _check_together("alike: interval", self.alike.auc, self.alike.interval, self.alike.p_value)
        examples = self.members + self.nonmembers + self.members_left_out + self.nonmembers_left_out
        for one in self.exposed:
            check(one.example < examples, one.example, "exposed: example", f"one of {examples:,} from 0")

    @validated(DataError)
    def to_csv(self, path: str | Path | None = None) -> str:
        """Return one line an attack, and write them to `path` where one is given.

        Each interval takes two columns, a refused rate is empty.
        """
        return _written(csv_text([flat_attack(attack) for attack in self.attacks]), path)

    def to_pandas(self) -> Any:
        """Return a row an attack as a pandas DataFrame, as `to_csv` has them.

        Raises `RedenseError` where pandas is not installed, which the extra ``redense[pandas]`` brings.
        """
        return data_frame([flat_attack(attack) for attack in self.attacks])

    @validated(DataError)
    def to_html(self, path: str | Path, title: str = "Privacy audit") -> None:
        """Write a page that needs nothing beside it: verdict, table, ROC picture, classes and exposed examples.

        The result does not know which model it is about; a `title` that says so tells several pages apart.
        """
        from redense.auditing.page import audit_html
        from redense.files.writing import write_whole

        write_whole(Path(path), audit_html([("", self)], title))

    def figure(self) -> Figure:
        """Draw the ROC curves on logarithmic axes; a figure of matplotlib."""
        from redense.auditing.figure import roc_figure

        return roc_figure([("", self)])

    @validated(DataError)
    def save_figure(self, path: str | Path) -> None:
        """Draw the ROC curves on logarithmic axes as a PNG."""
        from redense.auditing.figure import save_roc_figure

        save_roc_figure([("", self)], Path(path))


def _check_together(where: str, *values: object) -> None:
    """Raise `Unread` for values of which some are None and others are not."""
    check(len({value is None for value in values}) == 1, values, where, "all or none")


def _written(text: str, path: str | Path | None) -> str:
    """Return a text, written whole to `path` where there is one."""
    if path is not None:
        from redense.files.writing import write_whole

        write_whole(Path(path), text)
    return text


def flat_attack(result: AttackResult) -> dict[str, Any]:
    """Return an attack's figures as one flat row."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(result).items():
        if name.endswith("_interval"):
            low, high = value
            stem = name.removesuffix("_interval")
            flat |= {f"{stem}_low": low, f"{stem}_high": high}
        elif name != "rates":
            flat[name] = value
    for rate in result.rates:
        point = rate.point
        tpr = (point.tpr, *point.tpr_interval) if point else ("", "", "")
        flat |= dict(zip((f"tpr_at_{rate.fpr:g}{end}" for end in ("", "_low", "_high")), tpr, strict=True))
    return flat
