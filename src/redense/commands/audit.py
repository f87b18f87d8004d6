"""``redense audit``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from redense.auditing.attacks import FAMILIES
from redense.commands.console import console
from redense.errors import RecipeError
from redense.experiment.resources import Device

if TYPE_CHECKING:
    from rich.console import Console

    from redense.auditing.result import AuditResult


@dataclass(frozen=True)
class Source:
    """A finished run, a saved model with examples, or a file of signals."""

    run: tyro.conf.Positional[Path | None] = None
    """The folder of a finished run; with `redense run --audit` its reference models are used."""
    model: str | None = None
    """package.module:factory (runs your code), or fmnist-cnn, mlp, resnet18; beside a run, its own named again."""
    weights: Path | None = None
    """The model's state_dict, safetensors."""
    members: str | None = None
    """Examples it was trained on: FILE.npz with x and y, a folder of class folders of images, a name that
    `redense data` lists, or package.module:function (runs your code)."""
    nonmembers: str | None = None
    """Examples like these that it was not trained on, likewise. Of what has a training and a test part, members are the
    training part, non-members the test part."""
    references: tuple[Path, ...] = ()
    """State_dicts of reference models, each trained on some of the examples."""
    included: Path | None = None
    """NPZ with included, bool [references, members + nonmembers]."""
    classes: int | None = None
    """Number of classes, by default one more than the largest label."""
    data: str | None = None
    """Beside a run: its data named again, package.module:function, which lets its code be run."""
    trust: bool = False
    """Beside a run: run whatever code its folder names, where --model and --data do not name it again."""
    signals: Path | None = None
    """NPZ with members (bool) and logits and labels, or phi, or loss; no model is needed then."""


@dataclass(frozen=True)
class Audit:
    """Say what a model gives away about its training data: a run's phases, a saved model, or a file of signals."""

    source: Annotated[Source, tyro.conf.arg(name="")] = field(default_factory=Source)
    attacks: Annotated[
        tuple[str, ...],
        tyro.conf.arg(help=f"Of {', '.join(FAMILIES)}; by default a run's own, else all that can be made."),
    ] = ()
    delta: float = 0.0
    """Delta of the differential privacy that an epsilon is about."""
    randomized: bool = False
    """An independent fair coin put each of these examples into the training data or not: then this one training proves
    an epsilon. Of a run, the halves of the protocol `half` are known to be drawn so."""
    device: Device = "auto"
    """Where to evaluate the model."""
    out: Path | None = None
    """A folder for audit.json, audit.csv, audit.png and audit.html; a run's audit is written into the run."""
    fail_above: float | None = None
    """Exit with 1 when an attack's accuracy is above this, 0.5 to 1, by an interval that holds for all attacks made
    together; with 2 when there is no verdict."""
    data_root: Path | None = None
    """Where named data lie; else $REDENSE_DATA, else the user's cache folder."""

    def execute(self) -> None:
        """Audit, print, write and judge."""
        from redense.auditing.audit import check_settings
        from redense.auditing.verdict import check_limit, refuse_leak

        check_settings(self.attacks, self.delta)
        check_limit(self.fail_above)
        results = self._audit(console())
        if self.fail_above is not None:
            refuse_leak(results, self.fail_above)

    def _audit(self, console: Console) -> list[tuple[str, AuditResult]]:
        """Return titled results."""
        source = self.source
        ways = ("run", "signals") if source.run is not None else ("model", "signals")
        given = [name for name in ways if getattr(source, name) is not None]
        if len(given) != 1:
            raise RecipeError(
                f"audit: got {' and '.join(given) or 'nothing'}; expected one of a run's folder, --model with "
                "--weights, --members and --nonmembers, or --signals"
            )
        if source.run is not None:
            for name, given_with_a_run, why in (
                ("randomized", self.randomized, "a run knows which of its targets are"),
                ("delta", self.delta != 0, "the epsilons of a run are about delta 0"),
                ("out", self.out is not None, "the audit of a run is written into the run"),
            ):
                if given_with_a_run:
                    raise RecipeError(f"{name}: {why}; leave it out")
            from redense.experiment.audit import audit_run
            from redense.experiment.folder import Trust

            trust = Trust(source.model, source.data, source.trust)
            where: dict[str, Any] = {"data_root": self.data_root, "device": self.device, "console": console}
            rows = audit_run(source.run, self.attacks, trust=trust, **where)
            return [(row.name, row.result) for row in rows]
        from redense.auditing.table import audit_table

        result = self._audit_saved()
        console.print(audit_table(result), highlight=False)
        if self.out is not None:
            from redense.auditing.saved import write_audit

            written = write_audit(result, self.out)
            console.print(f"Written: {', '.join(map(str, written))}", highlight=False)
        return [("", result)]

    def _audit_saved(self) -> AuditResult:
        from redense.auditing.saved import audit_files, audit_signals_file

        source = self.source
        options: dict[str, Any] = {"delta": self.delta, "randomized": self.randomized}
        if self.attacks:
            options["attacks"] = self.attacks
        if source.signals is not None:
            return audit_signals_file(source.signals, **options)
        missing = [name for name in ("weights", "members", "nonmembers") if getattr(source, name) is None]
        if source.model is None or source.weights is None or source.members is None or source.nonmembers is None:
            raise RecipeError(f"audit: --model also needs {', '.join('--' + name for name in missing)}")
        return audit_files(
            source.model,
            source.weights,
            source.members,
            source.nonmembers,
            references=source.references,
            included=source.included,
            classes=source.classes,
            data_root=self.data_root,
            device=None if self.device == "auto" else self.device,
            **options,
        )
