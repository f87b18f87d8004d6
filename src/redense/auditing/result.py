"""The result of an audit: frozen figures, a verdict, and the forms in which they are written."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from redense.auditing.attack_result import AttackResult, RateAt
from redense.auditing.protocols import FORMER, Protocol
from redense.errors import DataError
from redense.metrics.intervals import OperatingPoint
from redense.text import csv_text

FORMAT = 1
FEWEST = 50
"""Members and non-members that a verdict needs."""


@dataclass(frozen=True)
class Verdict:
    """`kind`: whether a leak was shown; `sentence`: the same for somebody who has never heard of an ROC curve."""

    kind: Literal["leak", "none shown", "too few"]
    sentence: str


@dataclass(frozen=True)
class Exposed:
    """A member that stands out: its place among the audited examples, its class, and its `risk`.

    `risk` in [0, 1] is the share of non-members with a lower score: at 0.999 an attacker who picks this example
    accuses at most 1 in 1,000 non-members with it.
    """

    example: int
    label: int
    risk: float


@dataclass(frozen=True)
class ClassRisk:
    """How much the members of one class stand out among its examples: AUC with its interval, None with too few.

    The intervals hold together: none of them misses in 95% of audits, so that the highest class's holds too.
    """

    label: int
    members: int
    nonmembers: int
    auc: float | None
    auc_interval: tuple[float, float] | None


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    `protocol` is ``all`` (trained on all training data, test data as non-members), ``half`` (trained on a random
    half, the other half being non-members) or ``given`` (the user's own members and non-members). `primary` names the
    attack, chosen beforehand, that `exposed`, `classes` and per-example risks rest on. `one_run_epsilon` is what the
    run proves when every example was a member with probability 1/2, independently (``half`` only, else None).
    `curves` holds (FPR, TPR) points of every attack. `risks` [n] is the risk of every example, members or not, in the
    order in which they were given; it is not written to JSON.
    """

    protocol: Protocol
    members: int
    nonmembers: int
    references: int
    confidence: float
    delta: float
    attacks: tuple[AttackResult, ...]
    primary: str
    verdict: Verdict
    one_run_epsilon: float | None
    exposed: tuple[Exposed, ...]
    classes: tuple[ClassRisk, ...]
    warnings: tuple[str, ...]
    curves: dict[str, tuple[list[float], list[float]]]
    risks: npt.NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def attack(self, name: str) -> AttackResult:
        """Return one attack's figures.

        Raises KeyError for an attack that was not made.
        """
        for result in self.attacks:
            if result.attack == name:
                return result
        raise KeyError(f"{name!r}: not in this audit, which has {', '.join(one.attack for one in self.attacks)}")

    def __str__(self) -> str:
        from redense.auditing.table import plain_audit

        return plain_audit(self)

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

    def to_json(self) -> str:
        """Write everything as JSON."""
        return json.dumps(self.to_mapping(), indent=1) + "\n"

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> AuditResult:
        """Undo `to_mapping`, also after a passage through JSON; raise `DataError` for another format than this one."""
        if values.get("format") != FORMAT:
            raise DataError(
                f"audit result: got format {values.get('format')!r}; expected {FORMAT}; audit again with this version "
                "of redense, or read it with the version that wrote it"
            )
        plain = {name: value for name, value in values.items() if name != "format"}
        return cls(
            **{
                **plain,
                "protocol": FORMER.get(plain["protocol"], plain["protocol"]),
                "attacks": tuple(_attack_result(attack) for attack in plain["attacks"]),
                "verdict": Verdict(**plain["verdict"]),
                "exposed": tuple(Exposed(**example) for example in plain["exposed"]),
                "classes": tuple(ClassRisk(**_pairs(risk, "auc_interval")) for risk in plain["classes"]),
                "warnings": tuple(plain["warnings"]),
                "curves": {name: (curve[0], curve[1]) for name, curve in plain["curves"].items()},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> AuditResult:
        """Undo `to_json`; raise `DataError` for another format than this one."""
        return cls.from_mapping(json.loads(text))

    def to_csv(self) -> str:
        """Write one line an attack; each interval takes two columns, a refused rate is empty."""
        return csv_text([flat_attack(attack) for attack in self.attacks])

    def to_html(self, path: str | Path) -> None:
        """Write a page that needs nothing beside it: verdict, table, ROC picture, classes and exposed examples."""
        from redense.auditing.page import audit_html
        from redense.files import write_whole

        write_whole(Path(path), audit_html([("", self)], "Privacy audit"))

    def save_figure(self, path: str | Path) -> None:
        """Draw the ROC curves on logarithmic axes as a PNG."""
        from redense.auditing.figure import save_roc_figure

        save_roc_figure([("", self)], Path(path))


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


def _attack_result(values: dict[str, Any]) -> AttackResult:
    intervals = _pairs(values, "auc_interval", "accuracy_interval", "oracle_interval")
    rates = tuple(RateAt(**{**rate, "point": _point(rate["point"])}) for rate in values["rates"])
    return AttackResult(**{**intervals, "rates": rates})


def _point(values: dict[str, Any] | None) -> OperatingPoint | None:
    if values is None:
        return None
    threshold = values["threshold"] if values["threshold"] is not None else math.inf
    return OperatingPoint(**{**_pairs(values, "tpr_interval", "fpr_interval"), "threshold": threshold})


def _pairs(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Make pairs of the named lists, which JSON has for tuples."""
    return {**values, **{name: tuple(values[name]) if values[name] is not None else None for name in names}}
