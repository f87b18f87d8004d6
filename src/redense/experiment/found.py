"""What a run's folder holds for its report, finished or not; read without PyTorch where everything is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from redense.errors import FolderError
from redense.experiment.audit_rows import FILE as AUDIT_FILE
from redense.experiment.audit_rows import AuditRow, read_rows, written
from redense.experiment.folder import PLAN_FILE, RECIPE_FILE, read_plan, read_recipe
from redense.experiment.plan import Fingerprints
from redense.experiment.recipe import Recipe
from redense.experiment.results import FILE, Results
from redense.experiment.shown import FILE as SHOWN_FILE
from redense.experiment.shown import WRITTEN as SHOWN
from redense.experiment.shown import Shown, is_of, read_shown, write_shown
from redense.experiment.standing import standing_audits
from redense.experiment.unmeasured import asked_for, measured, planned, unmeasured


@dataclass(frozen=True)
class Found:
    """A run's folder, read. `results` have no rows where nothing is measured yet; the others are None or empty.

    `audits` are those of the networks in the results; `audits_left_out` says why others are not among them.
    """

    folder: Path
    recipe: Recipe
    results: Results
    audits: tuple[AuditRow, ...]
    shown: Shown | None
    plan: Fingerprints | None
    audits_left_out: str = ""
    called: str = ""
    """What the run is called beside others, where the name of its folder does not tell it apart."""

    @property
    def name(self) -> str:
        """What the run is called: as its folder."""
        return self.called or self.folder.resolve().name

    @property
    def state(self) -> str:
        """Say what is missing of an unfinished run, and which audits are left out; nothing where all is there."""
        asked, measured = len(planned(self.recipe)), len(self.results.rows)
        if measured >= asked:
            return self.audits_left_out
        unfinished = (
            f"This run is not finished: {measured} of {asked} phases of the table are measured. The same `redense run` "
            "command goes on where it stopped, and writes this page anew."
        )
        return f"{unfinished} {self.audits_left_out}".rstrip()


def find(folder: Path) -> Found:
    """Read a run's folder; what is finished and has no row yet, of a run that was killed, is read off its checkpoints.

    Raises `FolderError` where there is neither a recipe nor results, and for files that cannot be read.
    """
    results = Results.load(folder) if os.path.exists(folder / FILE) else None
    recipe = results.recipe if results and not os.path.exists(folder / RECIPE_FILE) else read_recipe(folder)
    results = asked_for(results or Results(recipe, 0, 0, ()), recipe)
    if jobs := unmeasured(folder, results):
        results = measured(folder, results, jobs)
    audits, left_out = _audits(folder, results)
    return Found(
        folder,
        recipe,
        results,
        audits,
        _shown(folder, results),
        read_plan(folder) if os.path.exists(folder / PLAN_FILE) else None,
        left_out,
    )


def _audits(folder: Path, results: Results) -> tuple[tuple[AuditRow, ...], str]:
    """Read the audits that stand; say which do not, for they are of other networks or of an older format.

    Raises `FolderError` for those of a newer format.
    """
    if not os.path.exists(folder / AUDIT_FILE):
        return (), ""
    written(folder).refuse_newer(folder / AUDIT_FILE)
    try:
        found = read_rows(folder)
    except FolderError as error:
        return (), f"Its audits are left out: {error}."
    standing, others = standing_audits(found, results)
    if not others:
        return standing, ""
    return standing, (
        f"{others} of the audits in {AUDIT_FILE} are left out: they are of networks that were trained otherwise than "
        f"those of this table; run `redense audit {folder}` anew."
    )


def _shown(folder: Path, results: Results) -> Shown | None:
    """Read what the checkpoints gave, or take it from them anew; None where they are gone."""
    keys = {row.checkpoint: row for row in results.rows}
    SHOWN.refuse_newer(folder / SHOWN_FILE)
    try:
        shown = read_shown(folder)
        if is_of(shown, keys):
            return shown
    except FolderError:
        pass  # none yet, or of another format: what follows makes it
    if not keys or not any(os.path.isdir(folder / "checkpoints" / key) for key in keys):
        return None
    from redense.experiment.checkpoints import Store
    from redense.experiment.weights import shown_of

    shown = shown_of(results, Store(folder, reads_only=True))
    write_shown(shown, folder)
    return shown
