"""The entry point of the command ``redense``: which command it is, and with which status it leaves."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated

import tyro

from redense import __version__
from redense.commands.audit import Audit
from redense.commands.data import Data
from redense.commands.export import Export
from redense.commands.run import Run
from redense.errors import Interrupted, RedenseError
from redense.experiment.recipe import load_recipe

DEFAULT_RECIPE = "digits"
CRASHED = 70
"""EX_SOFTWARE of sysexits.h: an error that nobody foresaw, which must not be taken for a leak."""
UNREAD = 128 + signal.SIGPIPE
"""As of a program that a closed pipe ends, such as one before ``head``."""


def main(arguments: list[str] | None = None) -> None:
    """Carry out a command; leave with 0 (done), 1 (a leak), 2 (bad input), 3 (interrupted) or 70 (a crash)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show, such as ± in ASCII, is no crash
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        _carried_out(arguments)
    except RedenseError as error:
        print(f"redense: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("redense: stopped; the same command goes on", file=sys.stderr)
        sys.exit(Interrupted.exit_code)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unread():
            sys.exit(UNREAD)
        traceback.print_exc()
        print(
            "redense: this error was not foreseen; please report it, with the lines above and the command",
            file=sys.stderr,
        )
        sys.exit(CRASHED)


def _carried_out(arguments: list[str]) -> None:
    try:
        _parse(arguments).execute()
    finally:
        sys.stdout.flush()  # here, where a closed pipe is noticed, rather than when Python ends


def _unread() -> bool:
    """Tell whether nobody reads standard output any more; what is left to be written goes nowhere then."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


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
