"""What the documents show works: Python runs in the order of its page, commands are carried out or read by the command
line itself, recipes and results are read by their readers."""

import dataclasses
import json
import re
import shlex
import shutil
import sys
import textwrap
import tomllib
from importlib import import_module

import pytest
from documents.pages import DOCS, ROOT, blocks, commands, documents, name
from documents.reader import at_hand, furnish

import redense
from redense.commands.main import COMMANDS, main
from redense.experiment.recipe import load_recipe
from redense.experiment.results import ROW_COLUMNS

PAGES = documents()
BLOCKS = [block for page in PAGES for block in blocks(page)]
LANGUAGES = {"python", "sh", "toml", "json", ""}
CARRIED_OUT = ("report", "export", "data")
"""Commands that are done in a moment; others are read, which checks every word."""
NOT_RUN = 0
"""How many blocks of Python are not run, each with its reason before it: <!-- not run: reason -->."""


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        furnish(folder)
    return folder


@pytest.fixture
def folder(furnished, tmp_path, monkeypatch):
    """The reader's folder, a new one each time, in which a program or a command looks for modules."""
    shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("mine", "mydata"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # the reader of dsd.md has several processes
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(one.language == "python" for one in blocks(page))], ids=name
)
def test_python_runs(page, folder, monkeypatch):
    run = redense.run
    monkeypatch.setattr(
        redense, "run", lambda recipe, **rest: run(small(recipe), **rest, engine="inline"), raising=False
    )
    names = at_hand()
    for block in blocks(page):
        if block.language != "python" or block.reason:
            continue
        if module := re.match(r"# (\w+\.py)\n", block.text):
            (folder / module[1]).write_text(block.text)
        exec(compile("\n" * block.line + block.text, str(page), "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_are_understood(page, folder, capsys):
    for command in commands(page):
        try:
            follow(shlex.split(command))
        except (SystemExit, redense.RedenseError) as error:
            if getattr(error, "code", 2) != 0:
                pytest.fail(f"{name(page)}: {command}\n{error}\n{capsys.readouterr().err}")


def test_what_make_prints_and_runs_is_understood(folder):
    lines = re.findall(r"(?:\$\(BIN\)|\.venv/bin)/redense ([^\"\n]+)", (ROOT / "Makefile").read_text())
    assert len(lines) == 3
    for line in lines:
        follow(["redense", *line.split()])


def test_the_demo_trains_as_many_phases_as_is_said(folder, capsys):
    text = (ROOT / "Makefile").read_text()
    phases = re.search(r"(\d+) phases of (\w+) epochs\.\ndemo:", text)[1]
    main([*re.search(r"redense (run .+ --out runs/demo)", text)[1].split(), "--dry-run"])
    assert f"{phases} of {phases} jobs to train" in capsys.readouterr().out


def follow(words):
    """Carry out a command that is done in a moment; of any other see that it would be understood."""
    program, *rest = words
    if words[:3] == ["python", "-m", "redense"]:
        program, rest = "redense", words[3:]
    if program.removeprefix(".venv/bin/") == "redense":
        first = rest[0] if rest else "--help"
        known = [word for word in rest[1:] if not word.startswith("--")]
        if first not in COMMANDS or "--help" in rest or (first in CARRIED_OUT and is_there(first, known)):
            main(rest)
        else:
            import_module(f"redense.commands.{first}").command(rest[1:])
    elif program == "make":
        assert re.search(rf"^{re.escape(rest[0])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif program == "python":
        assert (ROOT / rest[0]).is_file(), words
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for asked in re.findall(r"redense\[([\w,]+)\]", " ".join(rest)):
            assert set(asked.split(",")) <= set(extras), words
    else:
        assert words == [".", ".venv/bin/activate"], f"unknown program: {words}"


def is_there(command, known):
    """Whether the folder that a command is about is the reader's run."""
    return command == "data" or (
        known[:1] == ["runs/digits"] and not any(word.startswith("runs/") for word in known[1:])
    )


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language in ("toml", "json")],
    ids=lambda one: f"{name(one.page)}:{one.line}",
)
def test_files_are_as_shown(block, folder):
    if block.language == "toml":
        (folder / "shown.toml").write_text(block.text)
        load_recipe("shown.toml")
    else:
        shown = json.loads(block.text)
        written = json.loads((folder / "runs/digits/results.json").read_text())
        assert list(shown) == list(written)
        assert list(shown["rows"][0]) == list(ROW_COLUMNS) == list(written["rows"][0])
        assert shown["format"] == written["format"]


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "table.md"], ids=name)
def test_the_table_shown_is_that_of_the_committed_results(page):
    source = DOCS / "results/dsd-against-control-fashion-mnist.json"
    printed = [line.split() for line in str(redense.Results.from_json(source.read_text())).splitlines()]
    shown = [
        line.split()
        for line in page.read_text().splitlines()
        if re.match(r" {4}(dense|sparse|re-dense|control)\b", line)
    ]
    assert len(shown) > 4
    for words in shown:
        assert words in [line[: len(words)] for line in printed]


def test_every_block_has_a_language_and_every_exception_a_reason():
    assert {block.language for block in BLOCKS} <= LANGUAGES
    assert sum(block.reason is not None for block in BLOCKS) == NOT_RUN
    assert sum(len(re.findall("^ *<!-- not run", page.read_text(), re.MULTILINE)) for page in PAGES) == NOT_RUN


def test_an_exception_is_found_and_the_block_after_it_is_not_one(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs a cluster -->\n```python\n1 / 0\n```\n\n```sh\nredense run  # all\n```\n")
    first, second = blocks(page)
    assert (first.reason, first.line, second.reason) == ("needs a cluster", 2, None)
    assert commands(page) == ["redense run"]
    listed = "```python\nif True:\n    pass\n```\n\n```sh\nredense run\n```\n"
    page.write_text(f"1. In a list:\n\n{textwrap.indent(listed, '   ')}")
    first, second = blocks(page)
    assert (first.text, first.line, first.reason) == ("if True:\n    pass\n", 3, None)
    assert commands(page) == ["redense run"]


def small(recipe):
    """The same recipe with as little training as makes its phases."""
    few = {"epochs": (1, 1, 1), "seeds": recipe.seeds[:1], "sparsities": recipe.sparsities[:1], "model": "mlp"}
    return dataclasses.replace(recipe, **few)
