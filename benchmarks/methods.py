"""Which schedule of phases earns its epochs, and which gives least away? All methods beside all controls.

    python benchmarks/methods.py --out runs/methods                      # trains, resumable; then prints the tables
    python benchmarks/methods.py --out runs/methods --data digits --seeds 0 1 --epochs 7 7 7
    python benchmarks/methods.py --out runs/methods --keep-best          # with DSD at each phase's best epoch, too
    python benchmarks/methods.py --out runs/methods --share-controls     # with the controls of DSD alone

Every method has the same total of epochs, the same networks to begin with and the same order of batches in every seed,
so that differences are paired. All claims of one call are one family. Writes docs/results/methods/DATA.json with
--publish.

Of the control `early` the epoch is kept that is best on validation examples. With --keep-best DSD chooses the same way
in each of its phases, and so do its controls `longer` and `llr`; it is compared with these, `early`, and DSD
kept last. With --share-controls nothing is trained beside the other methods: as all totals are the same, they are
compared with DSD's controls, whose first dense phase alone is of another length.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

import redense
from redense.experiment.comparison import TESTED, Comparison, about_leaks, over_seeds
from redense.experiment.equal_accuracy import Trace, compare_traces
from redense.experiment.family import corrected
from redense.experiment.results import Results, Row, p_without_leak
from redense.experiment.wording import difference_interval, difference_text
from redense.methods import control_of
from redense.phases import Phase
from redense.text import p_text

RESULTS = Path(__file__).parents[1] / "docs" / "results"
COMPARED = ("dsd", "acdc", "spdf", "prune")
CONTROLS = ("longer", "llr", "early")
KEPT_BEST = "dsd, kept best"
By = dict[Phase, dict[int, Row]]
Rows = tuple[Phase, dict[int, Row]]


def main() -> None:
    """Train what is not there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="+", default=["digits", "location30"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--sparsities", nargs="+", type=float, default=[0.5, 0.9])
    parser.add_argument("--epochs", nargs=3, type=int, default=[20, 20, 20])
    parser.add_argument("--keep-best", action="store_true")
    parser.add_argument("--share-controls", action="store_true")
    parser.add_argument("--publish", action="store_true")
    given = parser.parse_args()
    methods = (*COMPARED, *([KEPT_BEST] if given.keep_best else []))
    found = {data: {method: trained(given, data, method) for method in methods} for data in given.data}
    compared = {data: list(comparisons(list(of_data.values()))) for data, of_data in found.items()}
    family = iter(corrected([one for of_data in compared.values() for one in of_data]))
    for data, of_data in found.items():
        claims = [next(family) for _ in compared[data]]
        print(f"\n**{data}**, {len(given.seeds)} seeds, {sum(given.epochs)} epochs in all\n")
        print_figures(list(of_data.values()))
        for quantity in dict.fromkeys(one.quantity for one in claims):
            print_against_controls([one for one in claims if one.quantity == quantity and one.first.kind == "control"])
        print_claims([one for one in claims if one.first.kind != "control"])
        if given.publish:
            publish(data, of_data, claims)


def trained(given: argparse.Namespace, data: str, method: str) -> Results:
    """Train a method and its controls, or read them where they are trained."""
    best = method == KEPT_BEST
    controls = () if given.share_controls and method != "dsd" else CONTROLS
    recipe = redense.Recipe(
        data=data,
        method="dsd" if best else method,
        sparsities=tuple(given.sparsities),
        epochs=tuple(given.epochs),
        seeds=tuple(given.seeds),
        controls=CONTROLS[:2] if best else controls,  # llr at its best epoch is what early would be
        validation=0.1,  # which early implies
        keep="best" if best else "last",
    )
    return redense.run(recipe, given.out / f"{data}-{'dsd-best' if best else method}", console=Console(stderr=True))


def by_phase(results: Results) -> By:
    """Sort rows by phase and seed; only those that a method yields, and the controls beside its end."""
    found: By = {}
    for group in results.shown():
        phase = group[0].phase
        if phase.kind != "control" or results.recipe.is_beside_final(phase):
            found[phase] = {row.seed: row for row in group}
    return found


def comparisons(runs: Sequence[Results]) -> Iterator[Comparison]:
    """Compare each method's last phase with its controls, or DSD's, and with the other methods' that are as sparse.

    DSD kept best is compared with DSD instead of other methods, and with DSD's control that is kept best, too.
    """
    known = [by_phase(results) for results in runs]
    held_out = runs[0].nonmembers
    dsd = known[0]
    for results, by in zip(runs, known, strict=True):
        beside = by if results.recipe.controls else dsd
        for last in (phase for phase in by if results.recipe.is_final(phase)):
            for control in (phase for phase in beside if phase.kind == "control"):
                yield from pair((control, beside[control]), (last, by[last]), held_out)
    early = next(phase for phase in dsd if phase.kind == "control" and control_of(phase).name == "early")
    for best, rows in ((one, by[one]) for by in known for one in by if one.kind == "redense" and one.keeps):
        for first in (early, replace(best, keeps=None)):
            yield from pair((first, dsd[first]), (best, rows), held_out)
    yielded = [one for by in known for one in by.items() if one[0].kind in ("sparse", "redense") and not one[0].keeps]
    for place, one in enumerate(yielded):
        for other in yielded[place + 1 :]:
            same = (one[0].kind, one[0].sparsity) == (other[0].kind, other[0].sparsity)
            if same and one[0].lineage != other[0].lineage:
                yield from pair(one, other, held_out)


def pair(one: Rows, other: Rows, held_out: int) -> Iterator[Comparison]:
    """Compare two phases over their seeds: both accuracies, and inference accuracy at equal test accuracy."""
    (first, first_rows), (second, second_rows) = one, other
    both = [(first_rows[seed], second_rows[seed]) for seed in sorted(first_rows.keys() & second_rows.keys())]
    without_leak = p_without_leak([a for a, _ in both]), p_without_leak([b for _, b in both])
    for quantity in TESTED:
        compared = over_seeds(quantity, first, second, [getattr(b, quantity) - getattr(a, quantity) for a, b in both])
        yield about_leaks(compared, without_leak) if quantity == "inference_accuracy" else compared
    traces = [(Trace(a.history, held_out), Trace(b.history, held_out)) for a, b in both]
    yield compare_traces(first, second, traces, without_leak=without_leak)


def print_figures(runs: Sequence[Results]) -> None:
    """Print a line a phase: mean test and inference accuracy over seeds."""
    print("| method | phase | test % | inference % |\n| --- | --- | --- | --- |")
    for results in runs:
        for phase, rows in by_phase(results).items():
            means = [100 * sum(getattr(row, name) for row in rows.values()) / len(rows) for name in TESTED]
            method = KEPT_BEST if results.recipe.keep == "best" else results.recipe.method
            print(f"| {method} | {phase.label} | {means[0]:.2f} | {means[1]:.2f} |")


def print_against_controls(claims: Sequence[Comparison]) -> None:
    """Print a line a last phase and a column a control: how far the phase is above it; what is shown, in bold."""
    names = list(dict.fromkeys(control_of(one.first).name for one in claims))
    what = claims[0].quantity.replace("_", " ")
    print(f"\n| {what}, points above | {' | '.join(names)} |\n| --- {'| --- ' * len(names)}|")
    for last in dict.fromkeys(one.second for one in claims):
        cells = {control_of(one.first).name: cell(one) for one in claims if one.second == last}
        print(f"| {named(last)} | {' | '.join(cells.get(name, '-') for name in names)} |")


def cell(one: Comparison) -> str:
    """Write a difference, its interval and p; in bold where it is shown."""
    if one.difference is None:
        return "too far apart"
    mark = "**" if one.shown else ""
    p = "" if one.p is None else f", {p_text(one.p)}"
    return f"{mark}{difference_text(one)}{mark} {difference_interval(one)}{p}"


def publish(data: str, of_data: Mapping[str, Results], claims: Sequence[Comparison]) -> None:
    """Write the rows of what methods yield and of their controls, and all claims, one a line."""
    rows = [
        {"method": method, **row.to_mapping()}
        for method, results in of_data.items()
        for rows in by_phase(results).values()
        for row in rows.values()
    ]
    for row in rows:
        del row["seconds"]  # which say nothing of a machine that did other work
    parts = {"rows": rows, "claims": [one.to_mapping() for one in claims]}
    texts = [f'"{name}": [\n' + ",\n".join(map(json.dumps, part)) + "\n]" for name, part in parts.items()]
    (RESULTS / "methods" / f"{data}.json").write_text("{" + ",\n".join(texts) + "}\n")


def print_claims(claims: Sequence[Comparison]) -> None:
    """Print a line a comparison of two methods, what is shown first."""
    print(f"\n| A - B | in | points | p over {claims[0].claims} claims |\n| --- | --- | --- | --- |")
    for one in sorted(claims, key=lambda one: one.p if one.p is not None else 2.0):
        if one.difference is None:
            continue
        p = "-" if one.p is None else p_text(one.p)
        names, figure = (
            f"{named(one.second)} - {named(one.first)}",
            f"{difference_text(one)} {difference_interval(one)}",
        )
        print(f"| {names} | {one.quantity.replace('_', ' ')} | {figure} | {p} |")


def named(phase: Phase) -> str:
    """Call a phase by its method too, which its label leaves out."""
    if phase.kind == "control":
        return phase.label
    return f"{phase.lineage} {phase.label}{', kept best' if phase.keeps else ''}"


if __name__ == "__main__":
    main()
