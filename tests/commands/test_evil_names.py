"""What comes from outside is shown on a terminal as it is written: it steers nothing, and begins no line."""

import dataclasses
import io
import warnings

import pytest
from calling import call
from claims.noise import noise
from factories import EVIL
from rich.console import Console

from redense.auditing.audit import audit_evidence
from redense.auditing.table import plain_audit
from redense.data.catalogue import catalogue
from redense.sparsity.sensitivity import Sensitivity
from redense.terminal import prose, warn
from redense.text import visible

FOLDER = EVIL.replace("/", "|")


def is_harmless(text):
    return all(letter.isprintable() or letter == "\n" for letter in text)


def shown(drawn, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(drawn)
    return console.file.getvalue()


def test_a_run_shows_names_of_layers_and_folders(npz, tmp_path, capsys):
    run = ["run", "--data", npz, "--model", "factories:evil", "--epochs", "1", "1", "1", "--sparsities", "0.5"]
    status, output, errors = call([*run, "--workers", "0", "--out", tmp_path / FOLDER], capsys)
    assert status == 0
    assert is_harmless(output + errors)
    assert output.count(visible(EVIL)) >= 2, "in the network's table and among the weights kept"
    assert visible(FOLDER)[:10] in output
    for command in (["report", tmp_path / FOLDER], ["export", tmp_path / FOLDER, "--trust"]):
        status, output, errors = call(command, capsys)
        assert status == 0
        assert is_harmless(output + errors)
    status, output, errors = call([*run, "--dry-run", "--out", tmp_path / FOLDER], capsys)
    assert status == 0
    assert is_harmless(output + errors)


@pytest.mark.parametrize(
    "words",
    [
        [EVIL],
        ["run", EVIL],
        ["run", f"--{EVIL}"],
        ["run", "--lr", EVIL],
        ["run", "--seeds", EVIL],
        ["run", "--optimizer", EVIL],
        ["run", "--data", EVIL],
        ["run", "--model", EVIL],
        ["run", "--exclude", EVIL],
        ["run", "--audit", EVIL],
        ["run", "--controls", EVIL],
        ["run", f"{EVIL}.toml"],
        ["audit", EVIL],
        ["audit", "--signals", EVIL],
        ["audit", "--model", EVIL, "--weights", EVIL, "--members", EVIL, "--nonmembers", EVIL],
        ["audit", "--attacks", EVIL],
        ["report", EVIL],
        ["report", EVIL, EVIL, "--out", EVIL],
        ["export", EVIL],
        ["export", "--model", EVIL, "--weights", EVIL, "--input", "3"],
        ["data", EVIL],
        ["data", "digits", EVIL],
        ["doctor", EVIL],
    ],
    ids=lambda words: " ".join(map(visible, words)),
)
def test_every_commands_errors_are_one_harmless_line(words, capsys):
    status, output, errors = call(words, capsys)
    assert status == 2
    assert is_harmless(output + errors)
    assert errors.count("\n") == 1
    assert "\\x1b[31m\\x07\\u202e[" in errors


def test_what_python_prints(capsys):
    evidence = dataclasses.replace(noise(0, 300, 300, 8, leak=3.0), classes=(EVIL,) * 3)
    assert is_harmless(plain_audit(audit_evidence(evidence)))
    text = str(Sensitivity(0.9, (0.5,), {EVIL: (0.4,)}))
    assert is_harmless(text)
    assert text.splitlines()[1].split()[0] == visible(EVIL)
    assert is_harmless(shown(catalogue(None, None)))
    assert shown(prose(EVIL)) == f"{visible(EVIL)}\n"
    console = Console(file=io.StringIO(), width=200)
    warn(EVIL, console)
    assert is_harmless(console.file.getvalue())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn(EVIL, Console(quiet=True))
    assert str(caught[0].message) == visible(EVIL)


def test_an_error_that_was_not_foreseen(monkeypatch, capsys):
    def crash(name, data_root):
        raise ZeroDivisionError(EVIL)

    monkeypatch.setattr("redense.data.catalogue.catalogue", crash)
    status, _, errors = call(["data"], capsys)
    assert status == 70
    assert is_harmless(errors)
