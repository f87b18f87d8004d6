"""``redense audit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from typing_extensions import Doc

from redense.auditing.attacks import FAMILIES
from redense.auditing.settings import AuditSettings
from redense.commands.console import console, say_loading
from redense.commands.pages import Page
from redense.commands.parse import parse
from redense.data.layout import Layout
from redense.errors import RecipeError
from redense.experiment.resources import Device
from redense.models.names import OWN

if TYPE_CHECKING:
    from rich.console import Console

    from redense.auditing.result import AuditResult

PAGE = Page(
    "audit",
    "RUN [flags] | --model ... [flags] | --signals FILE [flags]",
    "Say what a model gives away about its training data: every phase of a finished run (RUN is its folder), a saved "
    "model, or a file of signals.",
    {
        "A saved model": {
            "--model MODEL": OWN,
            "--weights FILE": "its state_dict, safetensors",
            "--members EXAMPLES": "what it was trained on: FILE.npz, a folder of class folders of images, a name that "
            "`redense data` lists, or package.module:function (runs your code)",
            "--nonmembers EXAMPLES": "examples like these that it was not trained on",
            "--references FILE ...": "models trained on some of the examples, which attacks learn from",
            "--included FILE": "NPZ that says on which: included, bool [references, examples]",
        },
        "Without a model": {"--signals FILE": "NPZ with members (bool) and logits and labels, or phi, or loss"},
        "How, and where to": {
            "--attacks NAME ...": f"of {', '.join(FAMILIES)}; by default a run's own, else all that can be made",
            "--out DIR": "for the table, the figures and a page (a run's lie in the run)",
            "--fail-above ACCURACY": "exit with 1 when an attack is right more often (0.5 to 1)",
        },
    },
    {
        "redense audit runs/digits": "all phases of a run",
        "redense audit --model mine:build --weights model.safetensors --members train.npz --nonmembers test.npz": "a "
        "model of yours",
        "redense audit --signals signals.npz --fail-above 0.6": "in continuous integration",
    },
)


@dataclass(frozen=True)
class Source:
    """A finished run, a saved model with examples, or a file of signals."""

    run: tyro.conf.Positional[Path | None] = None
    """The folder of a finished run; with `redense run --audit` its reference models are used."""
    model: Annotated[str | None, Doc(f"{OWN}; beside a run, its own named again.")] = None
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
    layout: Layout = "auto"
    """channels-first or channels-last: the order of the axes of images in NPZ files whose shape does not tell."""
    classes: int | None = None
    """Number of classes, by default one more than the largest label."""
    data: str | None = None
    """Beside a run: its data named again, package.module:function, which lets its code be run."""
    trust: bool = False
    """Beside a run: run whatever code its folder names, where --model and --data do not name it again."""
    signals: Path | None = None
    """NPZ with members (bool) and logits and labels, or phi, or loss; no model is needed then."""

    def named(self) -> list[tuple[str, str]]:
        """Return (what it is, its name) of the model and the files that were given, as they were given."""
        names = [
            ("the model", self.model),
            ("with the weights", self.weights),
            ("members from", self.members),
            ("non-members from", self.nonmembers),
            ("reference models from", " ".join(map(str, self.references))),
            ("the signals", self.signals),
        ]
        return [(what, str(name)) for what, name in names if name]


@dataclass(frozen=True)
class Audit:
    """Say what a model gives away about its training data: a run's phases, a saved model, or a file of signals."""

    source: Annotated[Source, tyro.conf.arg(name="")] = field(default_factory=Source)
    settings: Annotated[AuditSettings, tyro.conf.arg(name="")] = field(default_factory=AuditSettings)
    device: Device = "auto"
    """Where to evaluate the model."""
    out: Path | None = None
    """A folder for audit.json, audit.csv, audit.png and audit.html; a run's audit is written into the run."""
    fail_above: float | None = None
    """Exit with 1 when an attack's accuracy is above this, 0.5 to 1, by an interval that holds for all attacks made
    together; with 2 when there is no verdict."""
    data_root: Path | None = None
    """Where named data lie; else $REDENSE_DATA, else the user's cache folder."""

    lock: bool = True
    """Keep a run's folder to oneself while it is audited; --no-lock where its file system has no locks."""

    def execute(self) -> None:
        """Audit, print, write and judge."""
        screen = console()
        say_loading(screen)
        from redense.auditing.verdict import check_limit, refuse_leak

        check_limit(self.fail_above)
        results = self._audit(screen)
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
            self._refuse_what_a_run_knows()
            from redense.experiment.audit import audit_run
            from redense.experiment.folder import Trust
            from redense.experiment.report.protocols import audited_name

            trust = Trust(source.model, source.data, source.trust)
            where: dict[str, Any] = {
                "data_root": self.data_root,
                "device": self.device,
                "console": console,
                "lock": self.lock,
            }
            rows = audit_run(source.run, self.settings.attacks, trust=trust, **where)
            return [(audited_name(row, rows), row.result) for row in rows]
        from redense.auditing.saved import check_targets, write_audit
        from redense.auditing.table import audit_table
        from redense.terminal import prose

        if self.out is not None:
            check_targets(self.out)  # before the attacks take their time
        result = self._audit_saved()
        console.print(audit_table(result), highlight=False)
        if self.out is not None:
            written = write_audit(result, self.out, self.source.named())
            console.print("", prose(f"Written: {', '.join(map(str, written))}"), sep="\n")
        return [("", result)]

    def _refuse_what_a_run_knows(self) -> None:
        """Raise `RecipeError` for settings that a run has made for its audits."""
        given = self.settings
        other = [each.name for each in fields(given) if getattr(given, each.name) != each.default]
        if self.out is not None:
            raise RecipeError("out: the audit of a run is written into the run; leave it out")
        for name in other:
            if name != "attacks":
                raise RecipeError(f"{name}: a run's audit has its own; leave it out")

    def _audit_saved(self) -> AuditResult:
        from redense.auditing.saved import audit_files, audit_signals_file

        source = self.source
        if source.signals is not None:
            return audit_signals_file(source.signals, **vars(self.settings))
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
            layout=source.layout,
            data_root=self.data_root,
            device=None if self.device == "auto" else self.device,
            **vars(self.settings),
        )


def command(words: Sequence[str]) -> Audit:
    """Read the words after ``redense audit``."""
    return parse(Audit, PAGE, words)
