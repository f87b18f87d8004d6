"""The entry point of the command ``redense``: which command it is, and with which status it leaves."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

from redense import __version__
from redense.commands.console import lasting_output
from redense.commands.loading import load_elsewhere
from redense.commands.pages import WIDEST, entry
from redense.errors import Interrupted, RecipeError, RedenseError
from redense.text import did_you_mean, visible

COMMANDS = {
    "run": "Train a recipe dense, sparse and dense again, and print the table of every phase.",
    "audit": "Say what a model gives away about its training data.",
    "report": "Write one HTML page about a run, or about several side by side.",
    "export": "Write a model to a file: of one phase of a finished run, or your own as ONNX.",
    "data": "Say what data there are, and where.",
    "doctor": "Say what redense finds on this machine, and try it for a few seconds.",
}
"""Each command and what it does. It stands in the module of its name, as `command(words)`, loaded for it alone."""
CRASHED = 70
"""EX_SOFTWARE of sysexits.h: an error that nobody foresaw, which must not be taken for a leak."""
STOPPED = "redense: stopped; the same command goes on"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What stops a command."""
IMPORTING = "<frozen importlib._bootstrap>"
"""The file of the frames that load a module."""
SUMMARY = "redense trains networks Dense -> Sparse -> Dense, and shows what each phase gains and gives away."
START = {
    "redense run": "the table on handwritten digits, offline",
    "redense audit --help": "what a model of yours gives away about its training data",
    "redense COMMAND --help": "one command, with examples",
}
FURTHER = (
    "redense --version says which version this is; redense --tyro-print-completion bash (or zsh) prints what completes "
    "its words in a shell."
)


def main(arguments: list[str] | None = None) -> None:
    """Carry out a command; leave with 0 (done), 1 (a leak), 2 (bad input), 3 (interrupted) or 70 (a crash)."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show, such as ± in ASCII, is no crash
    if arguments is None:
        _let_signals_interrupt()
        load_elsewhere()
    with lasting_output() as output:
        status = _status(words)
        if arguments is None:
            _let_signals_end(status)
        output.flush()
        if output.error is not None and not isinstance(output.error, BrokenPipeError):
            print(f"redense: standard output: {output.error.strerror}; the rest was not printed", file=sys.stderr)
    if status:
        sys.exit(status)


def _status(words: list[str]) -> int:
    """Carry out a command; return the status with which to leave, having said what went wrong."""
    try:
        _carry_out(words)
    except RedenseError as error:
        print(f"redense: {_visible(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return Interrupted.exit_code
    except SystemExit as end:  # of help, and of what prints completions
        return end.code if isinstance(end.code, int) else 0
    except BaseException:  # whatever code of others raises: Python would leave with 1, which means a leak
        print(visible(traceback.format_exc(), keep="\n"), end="", file=sys.stderr)
        print(
            "redense: this error was not foreseen; please report it, with the lines above and the command",
            file=sys.stderr,
        )
        return CRASHED
    return 0


def _let_signals_interrupt() -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(each, _interrupt)


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`; while a module is loaded, end the process.

    NumPy and PyTorch turn what is raised in the middle of their loading into another error, or abort. There is nothing
    to put in order then: files appear whole or not at all, and workers end with the process.
    """
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # the cursor, which a progress display hides
            os.write(2, f"{shown}{STOPPED}\n".encode())
            os._exit(Interrupted.exit_code)
        frame = frame.f_back
    raise KeyboardInterrupt


def _let_signals_end(status: int) -> None:
    """Let signals end the process at once, and well: all is done, and nothing is left that they could stop."""

    def end(*_: object, leave: Callable[[int], None] = os._exit) -> None:  # a module's names go before the process does
        leave(status)

    for each in SIGNALS:
        signal.signal(each, end)


def _carry_out(words: list[str]) -> None:
    first, *others = words or ["--help"]
    if first in ("-h", "--help"):
        print(_start(min(WIDEST, shutil.get_terminal_size().columns)))
    elif first == "--version":
        print(f"redense {__version__}")
    elif first.startswith("--tyro-"):
        _complete(words)
    elif first not in COMMANDS:
        known = ", ".join(COMMANDS)
        alike = did_you_mean(first, [*COMMANDS, "--help", "--version"])
        raise RecipeError(f"unknown command {first!r}: expected one of {known}{alike}")
    else:
        command = _module(first).command(others)
        try:
            command.execute()
        except SystemExit as end:  # of code that it called: our statuses mean something
            said = f"{first}: code that was called left with sys.exit({end.code!r}); expected a result or an error"
            raise RedenseError(said) from end


def _start(width: int) -> str:
    """Say where to start, and what commands there are."""
    start = [line for command, what in START.items() for line in entry(command, what, width)]
    commands = [line for name, what in COMMANDS.items() for line in entry(name, what, width, 12)]
    summary, further = textwrap.wrap(SUMMARY, width), textwrap.wrap(FURTHER, width, break_on_hyphens=False)
    return "\n".join([*summary, "", "Start here", *start, "", "Commands", *commands, "", *further])


def _visible(error: RedenseError) -> str:
    """Write an error as a terminal may show it; lines of its own are those that are set in."""
    return re.sub(r"\n(?!  )", r"\\n", visible(error, keep="\n"))


def _module(name: str) -> Any:
    return import_module(f"redense.commands.{name}")


def _complete(words: list[str]) -> None:
    """Print or write what completes commands and flags in a shell."""
    import tyro

    from redense.commands.parse import CONFIG
    from redense.commands.phase_flag import REGISTRY

    kinds: Any = [Annotated[getattr(_module(name), name.capitalize()), tyro.conf.subcommand(name)] for name in COMMANDS]
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union |= kind
    tyro.cli(union, prog="redense", args=words, config=CONFIG, registry=REGISTRY)
