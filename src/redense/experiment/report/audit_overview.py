"""What a run's audits found, as a person reads it at once: a line a phase, with its strongest attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table

from redense.auditing.verdict import JUDGED
from redense.auditing.wording import ATTACK_RIGHT, MODEL_RIGHT, MODEL_RIGHT_IS, ROWS, STRONGEST_IS
from redense.experiment.audit_rows import AuditRow, by_phase, by_protocol
from redense.experiment.report.audits import audit_heading, audit_warnings
from redense.experiment.report.protocols import lowest_rate
from redense.experiment.report.seeds import spread_text
from redense.metrics.spread import Spread
from redense.terminal import ByWidth, Fitting, below, prose, table_of
from redense.text import interval_text, percent

_STRONGEST = f"The strongest attack is the one that the verdict on a model names: {STRONGEST_IS}. {ROWS}"
_OF_ACCURACY = "The accuracy's interval is the verdict's, which holds for all attacks together"
_OF_RATE = "; that of the TPR is for it alone"
TEXTS = ("audited", "strongest attack", "leak")
_OVER_SEEDS = "Over seeds: mean ± standard deviation, each model attacked by its own strongest attack."


def audit_overview(rows: Sequence[AuditRow], more: str) -> RenderableType:
    """Draw a table a protocol, then every warning once; `more` says where all attacks are."""
    parts: list[RenderableType] = []
    tables = []
    for of_protocol in by_protocol(rows).values():
        tables.append(_Lines.of(of_protocol))
        parts += [prose(audit_heading(of_protocol)), "", tables[-1].fitting, ""]
    several = any(len(group) > 1 for each in by_protocol(rows).values() for group in _groups(each))
    after = " ".join([_OVER_SEEDS] * several + [more])
    how = ByWidth(lambda width: f"{_how_to_read(tables, width)} {after}")
    return Group(*parts, *map(prose, audit_warnings(rows)), how)


@dataclass(frozen=True)
class _Line:
    """What stands in a phase's line; intervals are empty where there are none."""

    phase: str
    attack: str
    accuracy: str
    interval: str
    rate: str
    rate_interval: str
    members: str
    others: str
    leak: str

    @classmethod
    def of(cls, group: Sequence[AuditRow], fpr: float | None) -> _Line:
        judged = [row for row in group if row.result.verdict.kind in JUDGED]
        strongest = [row.result.attack(str(row.result.verdict.attack)) for row in judged]
        named = [f"{name} ({count})" for name, count in Counter(one.attack for one in strongest).most_common()]
        if len(group) == 1:
            named = [one.attack for one in strongest]
        ends = [row.result.verdict.interval for row in judged]
        accuracies = _spread([one.accuracy for one in strongest])
        points = [one.shown_rates[fpr] for one in strongest] if fpr is not None else []
        alone = len(strongest) == 1
        return cls(
            group[0].phase.label,
            ", ".join(named) or "-",
            accuracies,
            interval_text(ends[0], 100, 2) if alone and ends[0] is not None else "",
            _spread([point.tpr for point in points]),
            interval_text(points[0].tpr_interval, 100, 2) if alone and points else "",
            _spread_where_known([row.result.members_accuracy for row in group]),
            _spread_where_known([row.result.nonmembers_accuracy for row in group]),
            _leak(group),
        )


@dataclass(frozen=True)
class _Lines:
    """A protocol's lines; `rate` heads the true-positive rates, empty where there are none."""

    lines: Sequence[_Line]
    rate: str

    @classmethod
    def of(cls, rows: Sequence[AuditRow]) -> _Lines:
        fpr = lowest_rate(rows)
        lines = [_Line.of(group, fpr) for group in _groups(rows)]
        return cls(lines, "" if fpr is None else f"TPR % at {percent(fpr)} FPR")

    @property
    def fitting(self) -> Fitting:
        """The table; narrow, intervals go below their figures, then the true-positive rate is left out."""
        layouts: list[tuple[Table, str]] = [(_wide(self.lines, self.rate), "")]
        layouts += [(_narrow(self.lines, self.rate), "")] if self.rate else []
        return Fitting([*layouts, (_narrow(self.lines, ""), self.rate)])

    def has_intervals(self) -> bool:
        """Whether any accuracy has one: that of a single model, which has a verdict."""
        return any(line.interval for line in self.lines)

    def has_rate_intervals(self, width: int) -> bool:
        """Whether any true-positive rate that is drawn at that width has one."""
        return self.fitting.at(width)[1] == "" and any(line.rate_interval for line in self.lines)


def _how_to_read(tables: Sequence[_Lines], width: int) -> str:
    """Explain what tables show at a width, and nothing else."""
    rates = any(one.has_rate_intervals(width) for one in tables)
    intervals = any(one.has_intervals() for one in tables)  # without one of the accuracy a rate has none
    return " ".join([_STRONGEST, *([f"{_OF_ACCURACY}{_OF_RATE * rates}."] if intervals else []), MODEL_RIGHT_IS])


def _wide(lines: Sequence[_Line], rate: str) -> Table:
    table = table_of(
        "audited", "strongest attack", ATTACK_RIGHT, "", *([rate, " "] if rate else []), MODEL_RIGHT, "leak", text=TEXTS
    )
    for line in lines:
        rates = [line.rate, line.rate_interval] if rate else []
        right = line.members if line.members == line.others == "-" else f"{line.members} / {line.others}"
        table.add_row(line.phase, line.attack, line.accuracy, line.interval, *rates, right, line.leak)
    return table


def _narrow(lines: Sequence[_Line], rate: str) -> Table:
    of_attack, of_model = (
        name.replace(" right", "\nright").replace(", ", ",\n").replace(" / ", "\n/ ")
        for name in (ATTACK_RIGHT, MODEL_RIGHT)
    )
    names = ("audited", "strongest attack", of_attack, *([rate] if rate else []), of_model, "leak")
    table = table_of(*names, text=TEXTS, broken=TEXTS[:2])
    for line in lines:
        rates = [below(line.rate, line.rate_interval)] if rate else []
        accuracy, stacked = below(line.accuracy, line.interval), below(line.members, line.others)
        table.add_row(line.phase, line.attack, accuracy, *rates, stacked, line.leak)
    return table


def _leak(group: Sequence[AuditRow]) -> str:
    """Say how clear a leak is, or of how many models with a verdict one is shown."""
    verdicts = [row.result.verdict for row in group]
    if len(verdicts) == 1:
        return verdicts[0].grade or verdicts[0].kind
    kinds = [verdict.kind for verdict in verdicts]
    judged = [kind for kind in kinds if kind in JUDGED]
    if not judged:
        return ", ".join(dict.fromkeys(kinds))
    without = len(kinds) - len(judged)
    return f"{judged.count('leak')} of {len(judged)}{f' ({without} no verdict)' * bool(without)}"


def _spread(fractions: Sequence[float]) -> str:
    return spread_text(Spread.of(100 * each for each in fractions), 2) if fractions else "-"


def _spread_where_known(fractions: Sequence[float | None]) -> str:
    known = [each for each in fractions if each is not None]
    return _spread(known) if len(known) == len(fractions) else "-"


def _groups(rows: Sequence[AuditRow]) -> list[list[AuditRow]]:
    return [*by_phase(rows).values()]
