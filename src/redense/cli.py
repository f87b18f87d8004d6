"""The command line: arguments only. What they mean stands in `config`, what they do in `runs` and `data`."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import tyro

from redense import __version__
from redense.auditing.source import Source
from redense.config import Recipe, load_recipe
from redense.errors import Interrupted, RedenseError
from redense.resources import Resources

DEFAULT_RECIPE = "digits"


@dataclass(frozen=True)
class Run:
    """Train a recipe dense, sparse and dense again, and print the table of every phase.

    Without a recipe: scikit-learn's handwritten digits, offline. The same command again goes on where it stopped.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """A shipped recipe (digits, fashion-mnist, fashion-mnist-reference) or FILE.toml; it sets the defaults below.
    Stands before all flags."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    out: Path | None = None
    """The run's folder; by default runs/RECIPE."""
    data_root: Path | None = None
    """Where named data lie; else $REDENSE_DATA, else the user's cache folder."""
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    dry_run: bool = False
    """Print the jobs and an estimate of time, disk and memory; train nothing."""

    def execute(self) -> None:
        """Run the recipe, or say what running it would cost."""
        from rich.console import Console

        from redense.runs import dry_run, run

        console = Console(width=None if sys.stdout.isatty() else 150)
        out = self.out or Path("runs") / Path(self.source).stem
        if self.dry_run:
            dry_run(self.recipe, out, data_root=self.data_root, resources=self.resources, console=console)
        else:
            run(self.recipe, out, data_root=self.data_root, console=console, **vars(self.resources))


@dataclass(frozen=True)
class Data:
    """Say what data there are, what of it is on disk, and what a download would fetch."""

    name: tyro.conf.Positional[str | None] = None
    """Only this data set."""
    data_root: Path | None = None
    """Where to look first; else $REDENSE_DATA, else the user's cache folder."""

    def execute(self) -> None:
        """Print the catalogue."""
        from rich.console import Console

        from redense.data.catalogue import catalogue

        Console(width=None if sys.stdout.isatty() else 160).print(catalogue(self.name, self.data_root))


@dataclass(frozen=True)
class Export:
    """Write the model of one phase of a finished run to a file."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    phase: Literal["dense", "sparse", "redense"] = "redense"
    """Which phase."""
    sparsity: float | None = None
    """Which sparsity; not needed where the run has one."""
    seed: int | None = None
    """Which seed, by default the first."""
    round: int | None = None
    """Which round, by default the last."""
    format: Literal["safetensors", "bitmask", "onnx"] = "safetensors"
    """A plain state_dict, bitmask and values (see redense.load_sparse), or ONNX (needs redense[onnx])."""
    out: Path | None = None
    """The file, by default in the run's folder."""
    data_root: Path | None = None
    """For ONNX: where named data lie."""

    def execute(self) -> None:
        """Write the file and say where it is and how large."""
        from redense.export import export

        path = export(
            self.run,
            phase=self.phase,
            sparsity=self.sparsity,
            seed=self.seed,
            round=self.round,
            format=self.format,
            out=self.out,
            data_root=self.data_root,
        )
        print(f"Written: {path}, {path.stat().st_size:,} bytes")


@dataclass(frozen=True)
class Audit:
    """Say what a model gives away about its training data: a run's phases, a saved model, or a file of signals."""

    source: Annotated[Source, tyro.conf.arg(name="")] = field(default_factory=Source)
    attacks: tuple[str, ...] = ()
    """Of threshold, label-only, shadow, samia, lira, rmia; by default a run's own, else all that can be made."""
    delta: float = 0.0
    """Delta of the differential privacy that the epsilons are about."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to evaluate the model."""
    out: Path | None = None
    """A folder for audit.json, audit.csv, audit.png and audit.html; a run's audit is written into the run."""
    fail_above: float | None = None
    """Exit with 1 when an attack's accuracy is certainly above this, 0.5 to 1."""
    data_root: Path | None = None
    """For a run: where named data lie."""

    def execute(self) -> None:
        """Audit and print."""
        from rich.console import Console

        from redense.auditing.command import audit_source

        audit_source(
            self.source,
            attacks=self.attacks,
            delta=self.delta,
            device=self.device,
            out=self.out,
            fail_above=self.fail_above,
            data_root=self.data_root,
            console=Console(width=None if sys.stdout.isatty() else 150),
        )


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command ``redense``; exits with 0 (done), 1 (a leak), 2 (bad input) or 3."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        _parse(arguments).execute()
    except RedenseError as error:
        print(f"redense: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("redense: stopped; the same command goes on", file=sys.stderr)
        sys.exit(Interrupted.exit_code)


def _parse(arguments: list[str]) -> Run | Data | Export | Audit:
    if arguments == ["--version"]:
        print(f"redense {__version__}")
        sys.exit(0)
    # the recipe's values are the flags' defaults, so it is loaded before the flags are read
    named = arguments[:1] == ["run"] and len(arguments) > 1 and not arguments[1].startswith("-")
    source = arguments[1] if named else DEFAULT_RECIPE
    run = Run(source=source, recipe=load_recipe(source))
    return tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run", default=run)]
        | Annotated[Data, tyro.conf.subcommand("data")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Audit, tyro.conf.subcommand("audit")],
        prog="redense",
        description="Train networks Dense -> Sparse -> Dense, and see what each phase gains and gives away.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
