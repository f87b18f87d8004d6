"""What the audits of a run found: a row a phase and target, and the files they are written to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from redense.arguments import Rate, validated
from redense.auditing.attack_result import AttackResult
from redense.auditing.attacks import ATTACKS
from redense.auditing.protocols import ProtocolName
from redense.auditing.result import AuditResult, flat_attack
from redense.errors import FolderError
from redense.experiment.equal_accuracy import Trace
from redense.experiment.grouping import gathered
from redense.files.reading import Written, build, check, field, fields, mapping
from redense.files.writing import write_whole
from redense.methods.controls import check_control
from redense.metrics.roc import Array, Members
from redense.phases import Phase
from redense.text import csv_lines, csv_text

FILE = "audit.json"
Places = npt.NDArray[np.int64]
NOT_FLAT = ("beside_row", "held_out", "history", "result")
"""What of a row is not in the CSV files."""
FORMAT = 5
"""Of audit.json. Format 1 did not record rates and epochs of phases, and called the protocol `all` otherwise; format 2
held results of format 1; in format 3 `test_accuracy` was of all non-members, of training data too; format 4 held
results of format 2."""


@validated(FolderError)
@dataclass(frozen=True)
class AuditRow:
    """The audit of one phase of one target.

    `checkpoint` is the target's key, `beside_row` that of the table's row of the same phase and seed: in the protocol
    `all` the same. `test_accuracy` in [0, 1] is that on the `trace.held_out` test examples which the target was not
    trained on; in the protocol `half` they are some of its non-members. `trace` tells how accurate the target was on
    these, and what it gave away, after each epoch.
    `risks` [n] are the examples' risks by the primary attack, NaN of those that were left out, `members` [n] tells
    whose they are; examples are the training, then the test data. In rows that were read back both are empty: they
    stand in ``risks.csv``.
    """

    protocol: ProtocolName
    phase: Phase
    seed: int
    checkpoint: str
    test_accuracy: Rate
    trace: Trace
    result: AuditResult
    risks: Array = dataclasses.field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    members: Members = dataclasses.field(default_factory=lambda: np.empty(0, dtype=bool), compare=False, repr=False)
    beside_row: str = ""

    @property
    def name(self) -> str:
        """Which target and phase it is about, in a person's words."""
        return f"{self.phase.label}, {self.protocol}, seed {self.seed}"

    def found(self, name: str) -> AttackResult | None:
        """Return one attack's figures; None where it was not made, as where reference models are not finished."""
        return next((one for one in self.result.attacks if one.attack == name), None)

    def to_mapping(self) -> dict[str, Any]:
        """Return all but the examples' risks as plain JSON values."""
        return {
            "protocol": self.protocol,
            **self.phase.to_columns(),
            "seed": self.seed,
            "checkpoint": self.checkpoint,
            "beside_row": self.beside_row,
            "test_accuracy": self.test_accuracy,
            "held_out": self.trace.held_out,
            "history": [list(epoch) for epoch in self.trace.points],
            "result": self.result.to_mapping(),
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> AuditRow:
        """Undo `to_mapping`, also after a passage through JSON; raise `Unread` for anything else."""
        trace = fields(Trace, {"points": field(mapping(values), "history"), "held_out": field(values, "held_out")})
        phase, others = Phase.from_columns(values)
        check_control(phase)
        own = {name: value for name, value in others.items() if name not in ("history", "held_out")}
        unwritten = {"risks": np.empty(0), "members": np.empty(0, dtype=bool)}
        row = fields(cls, own, phase=phase, trace=trace, **unwritten)
        protocol = row.result.protocol
        check(protocol == row.protocol, protocol, "result: protocol", f"{row.protocol}, as its row says")
        return row


def by_protocol(rows: Iterable[AuditRow]) -> dict[ProtocolName, list[AuditRow]]:
    """Gather rows by protocol, in the order in which protocols come."""
    return gathered((row.protocol, row) for row in rows)


def by_phase(rows: Iterable[AuditRow]) -> dict[Phase, list[AuditRow]]:
    """Gather rows by phase, in the order in which phases come."""
    return gathered((row.phase, row) for row in rows)


def attack_names(rows: Iterable[AuditRow]) -> list[str]:
    """Name the attacks that any row has, in the order of tables: phases differ where reference models are missing."""
    made = {one.attack for row in rows for one in row.result.attacks}
    return [attack.name for attack in ATTACKS if attack.name in made] + sorted(made - {each.name for each in ATTACKS})


def write_rows(rows: Sequence[AuditRow], train_places: Places, folder: Path) -> list[str]:
    """Write ``audit.json``, ``audit.csv`` (a line an attack) and ``risks.csv`` (a line an example); return their names.

    `train_places` [n] says where each training example stands in its data, validation examples included.
    """
    flat = [
        {
            **{name: value for name, value in row.to_mapping().items() if name not in NOT_FLAT},
            "references": row.result.references,
            **flat_attack(attack),
        }
        for row in rows
        for attack in row.result.attacks
    ]
    texts = {
        FILE: json.dumps({"format": FORMAT, "rows": [row.to_mapping() for row in rows]}) + "\n",
        "audit.csv": csv_text(flat),
        "risks.csv": _risks_csv(rows, train_places),
    }
    for name, text in texts.items():
        write_whole(folder / name, text, inside=folder)
    return list(texts)


def written(folder: Path) -> Written:
    """Say what a folder's ``audit.json`` is, and what to do about one that cannot be read."""
    return Written("the audits of a run", FORMAT, f"run `redense audit {folder}` anew")


def read_rows(folder: Path) -> list[AuditRow]:
    """Read the rows of a run's audit back, without the examples' risks.

    Raises `FolderError` where there is no audit, or one of another format.
    """
    return written(folder).read(folder / FILE, _of_values)


def _of_values(values: Mapping[str, Any]) -> list[AuditRow]:
    rows: list[AuditRow] = build(list[AuditRow], field(values, "rows"), "rows")
    for names in gathered(((row.protocol, row.phase, row.seed), row.name) for row in rows).values():
        check(len(names) == 1, names[0], "rows", "each target and phase once")
    return rows


def _risks_csv(rows: Sequence[AuditRow], train_places: Places) -> str:
    """Follow every example through the phases: its risk in each, and of which targets it was a member.

    The risk of one that was left out is empty.
    """
    targets = {f"{row.protocol} seed {row.seed}": row.members for row in rows}
    head = ["split", "index", *(f"member of {name}" for name in targets), *(f"risk {row.name}" for row in rows)]
    examples = len(rows[0].members)
    columns: list[Any] = [
        np.where(np.arange(examples) < len(train_places), "train", "test"),
        np.concatenate([train_places, np.arange(examples - len(train_places))]),
        *(members.astype(int) for members in targets.values()),
        *(np.where(np.isnan(row.risks), "", np.char.mod("%.6f", row.risks)) for row in rows),
    ]
    return csv_lines(head, zip(*columns, strict=True))
