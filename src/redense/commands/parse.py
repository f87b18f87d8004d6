"""From words on the command line to a command: its flags, its help, and what is said wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from redense.arguments.fields import meanings
from redense.commands.pages import Page
from redense.commands.phase_flag import REGISTRY
from redense.commands.settings_words import bare, choices, expected, metavar
from redense.errors import RecipeError
from redense.text import did_you_mean

Command = TypeVar("Command")
CONFIG = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
NO_FLAG = tyro.conf.Positional, tyro.conf.Fixed
"""Markers of fields that no flag sets."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """How many values a flag takes (`math.inf`: any number), what it is when it is left out, its type, its meaning."""

    values: float
    default: Any
    hint: Any = str
    meaning: str = ""


def parse(kind: type[Command], page: Page, words: Sequence[str], default: Command | None = None) -> Command:
    """Return the command that the words ask for; where they ask for help, print it and leave.

    Raises `RecipeError` for flags that there are not, that are given twice, or whose values are none.
    """
    known = flags(kind, default)
    if {"-h", "--help", "--help-all"} & set(words):
        defaults = {name: flag.default for name, flag in known.items()}
        explained = {f"{name} {metavar(flag.hint)}".strip(): flag.meaning for name, flag in known.items()}
        print(page.all_text(defaults, explained) if "--help-all" in words else page.text(defaults))
        sys.exit(0)
    refuse_unknown(words, known, page.command)
    refuse_repeated(words)
    options: dict[str, Any] = {"prog": f"redense {page.command}", "description": page.summary}
    options |= {"config": CONFIG, "registry": REGISTRY}
    if default is not None:
        options["default"] = default
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            found: Command = tyro.cli(kind, args=list(words), **options)
    except SystemExit:
        raise RecipeError(_refusal(said.getvalue(), words, known, page.command)) from None
    return found


def _refusal(said: str, words: Sequence[str], known: Mapping[str, Flag], command: str) -> str:
    """Say in one line what tyro says in a frame: which flag is wrong, or else what was given."""
    wrong = re.search(r"Error parsing (--[\w-]+)|argument '(--[\w-]+)'", said)
    name = (wrong[1] or wrong[2]) if wrong else ""
    if name not in known:
        return f"{command}: got {' '.join(words) or 'nothing'}; redense {command} --help says what it takes"
    place = next(place for place, word in enumerate(words) if _flag(word.partition("=")[0]) == name)
    _, equals, value = words[place].partition("=")
    after = takewhile(lambda word: not word.startswith("--"), words[place + 1 :])
    got = [value] if equals else list(after)[: 1 if known[name].values == 1 else None]
    hint = known[name].hint
    alike = did_you_mean(next((one for one in got if one not in choices(hint)), ""), choices(hint))
    return f"{name}: got {' '.join(got) or 'nothing'}; expected {expected(hint)}{alike}"


def flags(kind: type[Any], default: Any = None) -> dict[str, Flag]:
    """List the flags of a command, those of its parts among them."""
    found: dict[str, Flag] = {}
    hints, said = get_type_hints(kind, include_extras=True), meanings(kind)
    for each in dataclasses.fields(kind):
        hint = hints[each.name]
        if get_origin(hint) is Annotated:
            hint, *markers = get_args(hint)
            if any(marker in markers for marker in map(_marker, NO_FLAG)):
                continue
        value = getattr(default, each.name, None if each.default is dataclasses.MISSING else each.default)
        if dataclasses.is_dataclass(bare(hint)):
            assert isinstance(hint, type)
            found |= flags(hint, value)
        else:
            off = hint is bool and value is True
            name = f"no-{each.name}" if off else each.name
            found[_flag(name)] = Flag(_values(hint), value, hint, said.get(each.name, ""))
    return found


def take_recipe(
    words: Sequence[str], known: Mapping[str, Flag], names: Collection[str]
) -> tuple[str | None, list[str]]:
    """Find the recipe among the words; return it, if there is one, and the other words.

    The first word of all is the recipe unless it is a flag. So is one of the `names`, or FILE.toml, that is not the
    first value after a flag that takes any. Raises `RecipeError` for two, and for a word that is nothing at all.

    >>> known = {"--seeds": Flag(math.inf, ()), "--out": Flag(1, None)}
    >>> take_recipe(["--seeds", "0", "1", "digits", "--out", "digits"], known, ["digits"])
    ('digits', ['--seeds', '0', '1', '--out', 'digits'])
    """
    recipes, others = [], []
    flag, room, taken = "", 0.0, 0
    for word in words:
        if word.startswith("--"):
            flag, equals, _ = word.partition("=")
            room, taken = 0.0 if equals else known.get(_flag(flag), Flag(math.inf, None)).values, 0
            others.append(word)
        elif not flag or (taken >= min(room, 1) and (word in names or word.endswith(".toml"))):
            recipes.append(word)
        elif taken < room:
            others.append(word)
            taken += 1
        else:
            takes = f"takes {room:g} value{'s' * (room != 1)}" if room else "has all its values"
            raise RecipeError(f"{word!r} follows {flag}, which {takes}, and is no recipe{did_you_mean(word, names)}")
    if len(recipes) > 1:
        raise RecipeError(
            f"recipe: got {' and '.join(recipes)}; expected one, and values after the flag they belong to"
        )
    return (recipes[0] if recipes else None), others


def refuse_unknown(words: Sequence[str], known: Collection[str], command: str) -> None:
    """Raise `RecipeError` for a flag that the command has not, with the nearest that it has."""
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and _flag(name) not in known:
            alike = did_you_mean(name, [*known, "--help", "--help-all"])
            raise RecipeError(f"{command}: unknown flag {name}{alike}; redense {command} --help lists them")


def refuse_repeated(words: Sequence[str]) -> None:
    """Raise `RecipeError` for a flag given twice, of which one would be forgotten."""
    found = _flags_among(words)
    for flag in dict.fromkeys(found):
        if found.count(flag) > 1:
            raise RecipeError(f"{flag}: got it {found.count(flag)} times; expected it once, with all its values")


def given(words: Sequence[str], known: Mapping[str, Flag]) -> list[str]:
    """List the settings of which the words give the flags, by their names in Python.

    >>> given(["--lr=0.1", "--batch_size", "32"], {"--lr": Flag(1, 0.01), "--batch-size": Flag(1, 8)})
    ['lr', 'batch_size']
    """
    return [flag.removeprefix("--").replace("-", "_") for flag in _flags_among(words) if flag in known]


def _flags_among(words: Sequence[str]) -> list[str]:
    """List the flags among words, spelt as help does, without their values."""
    return [_flag(word.partition("=")[0]) for word in words if word.startswith("--")]


def _flag(name: str) -> str:
    """Spell a flag as help does, which takes underscores too."""
    return f"--{name.removeprefix('--').replace('_', '-')}"


def _values(hint: Any) -> float:
    if hint is bool:
        return 0
    if get_origin(hint) is not tuple:
        return 1
    members = get_args(hint)
    return math.inf if Ellipsis in members else len(members)


def _marker(kind: Any) -> Any:
    return get_args(kind[int])[1]
