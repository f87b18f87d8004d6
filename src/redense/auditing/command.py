"""What `redense audit` does: find out what is audited, audit it, write and judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from redense.auditing.audit import check_families
from redense.auditing.files import audit_files, audit_signals_file
from redense.auditing.result import AuditResult
from redense.auditing.source import Source
from redense.auditing.suite import FAMILIES
from redense.checkpoints import Store, write_text
from redense.config import Recipe
from redense.errors import FolderError, LeakFound, RecipeError
from redense.folder import RECIPE_FILE
from redense.report.audit_table import audit_table
from redense.resources import EngineName, Resources
from redense.runs import Prepared, audit_folder, prepare


def audit_source(
    source: Source,
    *,
    attacks: tuple[str, ...],
    delta: float,
    device: str,
    out: Path | None,
    fail_above: float | None,
    data_root: Path | None,
    console: Console,
) -> list[AuditResult]:
    """Audit, print, and write into the folder `out` (for a run, its own); return the results.

    Raises `LeakFound` when, with `fail_above`, an attack's accuracy is above it for certain: the lower end of its
    interval is.
    """
    check_families(attacks)
    if not 0 <= delta < 1:
        raise RecipeError(f"delta: got {delta:g}; expected a probability from 0 to below 1")
    if fail_above is not None and not 0.5 <= fail_above <= 1:
        raise RecipeError(f"fail_above: got {fail_above:g}; expected a balanced accuracy from 0.5 to 1")
    given = [name for name in ("run", "model", "signals") if getattr(source, name) is not None]
    if len(given) != 1:
        raise RecipeError(
            f"audit: got {' and '.join(given) or 'nothing'}; expected one of a run's folder, --model with --weights, "
            "--members and --nonmembers, or --signals"
        )
    if source.run is not None:
        results = _audit_run(source.run, attacks, data_root, device, console)
    else:
        result = _audit_one(source, attacks or FAMILIES, delta, device)
        console.print(audit_table(result), highlight=False)
        if out is not None:
            _write(result, out, console)
        results = [result]
    if fail_above is not None:
        _judge(results, fail_above)
    return results


def _audit_one(source: Source, attacks: tuple[str, ...], delta: float, device: str) -> AuditResult:
    if source.signals is not None:
        return audit_signals_file(source.signals, attacks=attacks, delta=delta)
    if source.model is None or source.weights is None or source.members is None or source.nonmembers is None:
        missing = [name for name in ("weights", "members", "nonmembers") if getattr(source, name) is None]
        raise RecipeError(f"audit: --model also needs {', '.join('--' + name for name in missing)}")
    options: dict[str, Any] = {"attacks": attacks, "delta": delta, "device": None if device == "auto" else device}
    return audit_files(
        source.model,
        source.weights,
        source.members,
        source.nonmembers,
        references=source.references,
        included=source.included,
        classes=source.classes,
        **options,
    )


def _audit_run(
    run: Path, attacks: tuple[str, ...], data_root: Path | None, device: Any, console: Console
) -> list[AuditResult]:
    try:
        recipe = Recipe.from_mapping(json.loads((run / RECIPE_FILE).read_text()), source=str(run / RECIPE_FILE))
    except (OSError, ValueError) as error:
        raise FolderError(f"{run}: no {RECIPE_FILE} that can be read ({error}); expected a run's folder") from None
    store = Store(run)
    ready = _prepared_as_trained(recipe, data_root, device, store)
    own = ("threshold", *recipe.audit)
    return [row.result for row in audit_folder(ready, store, attacks or own, console)]


def _prepared_as_trained(recipe: Recipe, data_root: Path | None, device: Any, store: Store) -> Prepared:
    """Prepare a recipe for the engine that trained it: keys name the arithmetic, and the folder does not tell which."""
    engines: tuple[EngineName, ...] = ("inline", "vectorized")
    for engine in engines:
        ready = prepare(recipe, data_root, Resources(device, engine))
        if len(ready.left(store)) < len(ready.jobs):
            return ready
    raise FolderError(f"{store.root}: no phase is finished; run the recipe first")


def _write(result: AuditResult, out: Path, console: Console) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "audit.json", result.to_json())
        write_text(out / "audit.csv", result.to_csv())
        result.save_figure(out / "audit.png")
        result.to_html(out / "audit.html")
    except OSError as error:
        raise FolderError(f"--out {out}: cannot be written ({error.strerror}); choose another folder") from None
    console.print(f"Written: {out / 'audit.json'}, audit.csv, audit.png, audit.html", highlight=False)


def _judge(results: list[AuditResult], fail_above: float) -> None:
    """Raise `LeakFound` for the attack that exceeds the limit most surely."""
    made = [measured for result in results for measured in result.attacks]
    worst = max(made, key=lambda measured: measured.accuracy_interval[0])
    if worst.accuracy_interval[0] > fail_above:
        raise LeakFound(
            f"{worst.attack} is right {100 * worst.accuracy:.2f}% of the time, at least "
            f"{100 * worst.accuracy_interval[0]:.2f}% for certain: more than --fail-above {fail_above:g}"
        )
