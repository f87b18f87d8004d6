"""What does bfloat16 do to accuracy, and to what a network gives away? Paired with float32, seed by seed.

    python benchmarks/precision.py --out runs/precision      # trains, resumable; then prints the tables
    python benchmarks/precision.py --out runs/precision --data fashion-mnist --seeds 0 1 2 --publish
    python benchmarks/precision.py --out runs/precision --data digits --seeds 0 1 --epochs 2 2 2

In both precisions a seed has the same initial weights and the same order of batches, so that differences are paired;
what is measured is float32 in both. Where there are reference models, these are of the audited precision, and each is
the target in turn: LiRA's AUC is compared over complementary pairs of them. All claims about a data set are one family.
Writes docs/results/precision/DATA.json with --publish.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import redense
from redense.auditing.attacks import PLAIN_FAMILIES
from redense.experiment.auditor import RunAuditor
from redense.experiment.checkpoints import Store
from redense.experiment.comparison import TESTED, Comparison, over_seeds
from redense.experiment.determinism import kernels
from redense.experiment.family import corrected
from redense.experiment.phase_means import figure_name
from redense.experiment.prepare import prepare
from redense.experiment.recipe import Precision
from redense.experiment.replicates import PhaseReplicates, over_replicates, replicate_phases
from redense.experiment.report.seeds import spread_text
from redense.experiment.results import Results, Row
from redense.metrics.spread import Spread
from redense.phases import Phase
from redense.text import interval_text, p_figure

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "precision"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
RECIPES = {
    "location30": redense.Recipe("location30", sparsities=(0.5,), seeds=tuple(range(10)), audit=("lira",)),
    "digits": redense.Recipe("digits", sparsities=(0.5,), seeds=tuple(range(10))),
    "fashion-mnist": redense.Recipe("fashion-mnist", sparsities=(0.5,), seeds=(0, 1, 2), epochs=(10, 10, 10)),
}
NAMES = {"test_accuracy": "test accuracy", "inference_accuracy": "inference accuracy"}
Runs = Mapping[Precision, Results]
Replicates = Mapping[Precision, Sequence[PhaseReplicates]]


def main() -> None:
    """Train what is not there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="+", choices=list(RECIPES), default=["location30"])
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--epochs", nargs=3, type=int)
    parser.add_argument("--references", type=int)
    parser.add_argument("--publish", action="store_true")
    given = parser.parse_args()
    changes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name in ("seeds", "epochs", "references")
        if (value := getattr(given, name)) is not None
    }
    for data in given.data:
        recipe = dataclasses.replace(RECIPES[data], **changes)
        recipes = {each: dataclasses.replace(recipe, precision=each) for each in PRECISIONS}
        runs = {each: trained(recipes[each], given.out / f"{data}-{each}") for each in PRECISIONS}
        replicates = {each: replicated(recipes[each], given.out / f"{data}-{each}") for each in PRECISIONS}
        claims = corrected([*over_pairs(runs), *over_references(replicates)])
        print(f"\n**{data}**, {len(recipe.seeds)} seeds, {' + '.join(map(str, recipe.epochs))} epochs\n")
        print_table(claims, runs, replicates)
        if given.publish:
            publish(data, claims, runs)


def trained(recipe: redense.Recipe, folder: Path) -> Results:
    """Train and audit a recipe, or read what is trained already."""
    return redense.run(recipe, folder, console=Console(stderr=True))


def replicated(recipe: redense.Recipe, folder: Path) -> list[PhaseReplicates]:
    """Make each reference model of a run the target in turn; what its audit has made of them is read."""
    if not recipe.audit:
        return []
    prepared, attacks = prepare(recipe), (*PLAIN_FAMILIES, *recipe.audit)
    store, device = Store(folder, reads_only=True), prepared.choice.device
    auditor = RunAuditor(prepared.model_name, prepared.dataset, store, prepared.jobs, attacks, device)
    return list(replicate_phases(auditor))


def over_pairs(runs: Runs) -> Iterator[Comparison]:
    """Compare every phase of one precision with that of the other, over seeds: bf16 - fp32."""
    first, second = (by_phase(runs[each]) for each in PRECISIONS)
    for phase in first:
        seeds = sorted(first[phase].keys() & second[phase].keys())
        for quantity in TESTED:
            found = [getattr(second[phase][seed], quantity) - getattr(first[phase][seed], quantity) for seed in seeds]
            yield over_seeds(quantity, phase, phase, found)


def over_references(replicates: Replicates) -> Iterator[Comparison]:
    """Compare what reference models give away to each other, paired by the half that they were trained on."""
    for first, second in zip(*(replicates[each] for each in PRECISIONS), strict=True):
        if (first.phase, first.models) != (second.phase, second.models):
            raise redense.RedenseError(f"{first.phase.label}: the runs have other reference models; finish both")
        yield over_replicates("auc", first, second)


def by_phase(results: Results) -> dict[Phase, dict[int, Row]]:
    """Sort rows by phase and seed."""
    return {group[0].phase: {row.seed: row for row in group} for group in results.groups()}


def print_table(claims: Sequence[Comparison], runs: Runs, replicates: Replicates) -> None:
    """Print a line a claim: the mean of either precision (± standard deviation), and their difference."""
    found = {each: by_phase(runs[each]) for each in PRECISIONS}
    means = {each: {one.phase: one.mean("auc").mean for one in replicates[each]} for each in PRECISIONS}
    print(f"| phase | figure | fp32 | bf16 | bf16 - fp32 | p over {claims[0].claims} claims |\n{'| --- ' * 6}|")
    for one in claims:
        if one.quantity == "auc":
            values = [f"{means[each][one.first]:.4f}" for each in PRECISIONS]
            figure, factor, digits = f"{figure_name('auc')}, {one.attack}, {one.replicates} models", 1, 4
        else:
            of_seeds = [[getattr(row, one.quantity) for row in found[each][one.first].values()] for each in PRECISIONS]
            values = [spread_text(Spread.of(100 * value for value in each), 2) for each in of_seeds]
            figure, factor, digits = f"{NAMES[one.quantity]}, %", 100, 2
        interval = "" if one.interval is None else f" {interval_text(one.interval, factor, digits)}"
        difference = f"{factor * (one.difference or 0.0):+.{digits}f}{interval}"
        p = "-" if one.p is None else p_figure(one.p)
        print(f"| {one.first.label} | {figure} | {values[0]} | {values[1]} | {difference} | {p} |")


def publish(data: str, claims: Sequence[Comparison], runs: Runs) -> None:
    """Write recipe, rows and claims of both precisions, and the machine; not the seconds, which say nothing here."""
    rows = {each: [row.to_mapping() for row in runs[each].rows] for each in PRECISIONS}
    for row in (row for of_precision in rows.values() for row in of_precision):
        del row["seconds"]
    values = {
        "recipe": runs["fp32"].recipe.to_mapping(),
        "machine": kernels("cpu"),
        "rows": rows,
        "difference": "bf16 - fp32",
        "claims": [dataclasses.asdict(one) for one in claims],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{data}.json").write_text(json.dumps(values).replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    main()
