"""Make what `docs/results/` holds of a run's audit: a table of figures, thinned curves, and tables in Markdown.

    python benchmarks/audit_results.py RUN NAME

Writes docs/results/audit-NAME.csv and audit-NAME-curves.json, and prints the tables.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from redense.auditing.attack_result import AttackResult
from redense.auditing.protocols import PROTOCOLS
from redense.experiment.audit_rows import AuditRow, by_protocol, read_rows
from redense.experiment.report.seeds import spread_text
from redense.metrics.spread import Spread
from redense.text import from_to, interval_text

RESULTS = Path(__file__).parents[1] / "docs" / "results"
FEWEST = 20
"""Of false positives that the rate in the table allows."""
DIGITS = 6
"""Of the rates of curves; a millionth is less than one of 70,000 examples."""
Figure = tuple[float, tuple[float, float]]
"""With its interval."""


def main() -> None:
    """Read a run's audit, write the two files, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    given = parser.parse_args()
    rows = read_rows(given.run)
    (RESULTS / f"audit-{given.name}.csv").write_text((given.run / "audit.csv").read_text())
    curves = json.dumps([curves_of(row) for row in rows], separators=(",", ":")).replace("},{", "},\n{")
    (RESULTS / f"audit-{given.name}-curves.json").write_text(curves + "\n")
    for protocol, of_protocol in by_protocol(rows).items():
        members, nonmembers, references = (
            from_to(getattr(row.result, what) for row in of_protocol)
            for what in ("members", "nonmembers", "references")
        )
        print(
            f"**Protocol `{protocol}`**: {PROTOCOLS[protocol].says}; {members} members, {nonmembers} non-members, "
            f"{references} reference models.\n",
            *table(of_protocol),
            sep="\n",
            end="\n\n",
        )


def curves_of(row: AuditRow) -> dict[str, object]:
    """Return an audit's thinned ROC curves, by attack false- and true-positive rates, and what their picture needs."""
    curves = {
        attack: [[round(rate, DIGITS) for rate in rates] for rates in curve]
        for attack, curve in row.result.curves.items()
    }
    result = row.result
    about = {"seed": row.seed, "nonmembers": result.nonmembers, "strongest": result.verdict.attack}
    return {"protocol": row.protocol, **row.phase.to_columns(), **about, "curves": curves}


def table(rows: Sequence[AuditRow]) -> Iterator[str]:
    """Give the lines of a protocol's table: attacks down, phases across, AUC and TPR at a low rate.

    Of the controls only what ends with the method's last phase.
    """
    last = [row.phase.kind for row in rows if row.phase.beside is None][-1]
    phases = list(dict.fromkeys(row.phase for row in rows if row.phase.beside in (None, last)))
    groups = [[row for row in rows if row.phase == phase] for phase in phases]
    first = rows[0].result
    fpr = min(fpr for fpr in first.attacks[0].shown_rates if fpr * first.nonmembers >= FEWEST)

    def tpr(attack: AttackResult) -> Figure:
        point = attack.shown_rates[fpr]
        return point.tpr, point.tpr_interval

    heads = [f"{phase.label}: {what}" for phase in phases for what in ("AUC", f"TPR at {100 * fpr:g}%")]
    yield f"| attack | {' | '.join(heads)} |"
    yield "| --- " * (1 + len(heads)) + "|"
    for attack in (one.attack for one in rows[0].result.attacks):
        cells = [
            cell([read(row.result.attack(attack)) for row in group], factor, digits)
            for group in groups
            for read, factor, digits in ((attrgetter("auc", "auc_interval"), 1, 4), (tpr, 100, 2))
        ]
        yield f"| {attack} | {' | '.join(cells)} |"
    for side in ("members", "nonmembers"):
        found = [Spread.of(100 * getattr(row.result, f"{side}_accuracy") for row in group) for group in groups]
        title = f"accuracy on {side}".replace("nonm", "non-m")
        yield f"| *{title}* | {' | '.join(f'{spread_text(values, 2)}% | ' for values in found)} |"
    epsilons = [row.result.attack(row.result.primary).epsilon for row in rows]
    if None not in epsilons:
        of_phases = [[row.result.attack(row.result.primary).epsilon or 0.0 for row in group] for group in groups]
        cells = [f"{spread_text(Spread.of(values), 2)} | " for values in of_phases]
        yield f"| *ε of the one run ({rows[0].result.primary})* | {' | '.join(cells)} |"


def cell(values: Sequence[Figure], factor: float, digits: int) -> str:
    """Return a figure with its interval; of several seeds their mean and standard deviation."""
    said = spread_text(Spread.of(factor * value for value, _ in values), digits)
    return said if len(values) > 1 else f"{said} {interval_text(values[0][1], factor, digits)}"


if __name__ == "__main__":
    main()
