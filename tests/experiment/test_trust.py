"""A folder is not its user: code that it names is imported only where the user names it again or says so."""

import json
import shutil
import sys

import pytest
from rich.console import Console

from redense.commands.main import main
from redense.errors import FolderError
from redense.experiment.audit import audit_run
from redense.experiment.export import export
from redense.experiment.folder import Trust

CODE = """
from pathlib import Path

Path({mark!r}).touch()
from factories import data, small
"""


@pytest.fixture
def foreign(undisturbed, tmp_path, monkeypatch):
    """A folder whose recipe names code that leaves a mark; returns it and the place of the mark."""
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    mark = tmp_path / "was here"
    (tmp_path / "theirs.py").write_text(CODE.format(mark=str(mark)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    for name in ("recipe.json", "results.json"):
        values = json.loads((folder / name).read_text())
        values.get("recipe", values)["model"] = "theirs:small"
        (folder / name).write_text(json.dumps(values))
    return folder, mark


def audit(folder, **trust):
    return audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True), trust=Trust(**trust))


def onnx(folder, **settings):
    return export(folder, phase="dense", format="onnx", **settings)


@pytest.mark.parametrize("read", [audit, onnx])
@pytest.mark.parametrize("named", [{}, {"model": "factories:small"}, {"data": "theirs:small"}])
def test_code_that_a_folder_names_is_not_run(foreign, read, named):
    folder, mark = foreign
    with pytest.raises(FolderError, match=r"names code, model theirs:small.*--model theirs:small or --trust"):
        read(folder, **named)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("read", [audit, onnx])
@pytest.mark.parametrize("word", ["model", "all"])
def test_code_that_its_user_names_too_is_run(foreign, read, word):
    folder, mark = foreign
    name = "trust" if (word, read) == ("all", onnx) else word
    trust = {name: "theirs:small" if word == "model" else True}
    if read is audit:  # under its other name the network has other keys
        with pytest.raises(FolderError, match="no phase is finished"):
            read(folder, **trust)
    else:
        assert read(folder, **trust).exists()
    assert mark.exists()


@pytest.mark.parametrize("command", [["audit"], ["export", "--phase", "dense", "--format", "onnx"]])
def test_commands_say_how_to_trust(foreign, command, capsys):
    folder, mark = foreign
    with pytest.raises(SystemExit) as left:
        main([command[0], str(folder), *command[1:]])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not mark.exists()


def test_data_that_a_folder_names_are_code_too(foreign):
    folder, mark = foreign
    values = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**values, "data": "theirs:data"}))
    with pytest.raises(FolderError, match="data theirs:data"):
        audit(folder, model="theirs:small")
    assert not mark.exists()


def test_what_needs_no_code_asks_for_no_trust(foreign):
    folder, mark = foreign
    assert export(folder, phase="dense").exists()
    assert not mark.exists()
