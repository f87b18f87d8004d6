"""A user's script is type-checked against redense: by mypy always, by two checkers against the wheel behind a mark."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import redense

ROOT = Path(__file__).parents[1]
SCRIPT = """
import numpy as np
import torch

import redense

model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters())
dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(2, 1, 1))
for epoch in dsd.epochs():
    label: str = dsd.phase.label
    zeros: float = redense.measure_sparsity(model)

examples = (np.zeros((8, 4), np.float32), np.zeros(8, np.int64))
audit = redense.audit(model, members=examples, nonmembers=examples)
low, high = audit.attack("confidence").auc_interval
sentence: str = audit.verdict.sentence

recipe = redense.Recipe(data="digits", sparsities=(0.5,), seeds=(0, 1))
try:
    results: redense.Results = redense.run(recipe, out="runs/mine", workers=0, progress=True)
    results = redense.Results.load("runs/mine")
    best: float = max(row.test_accuracy for row in results.rows)
except redense.RedenseError as error:
    code: int = error.exit_code
results = redense.Results.load("runs/mine")
"""
WRONG = {
    "redense.DSD(model, optimizer, sparsity='half', epochs=(2, 1, 1))": ("arg-type", "reportArgumentType"),
    "recipe.sparsitys": ("attr-defined", "reportAttributeAccessIssue"),
    "number: int = results.to_csv()": ("assignment", "reportAssignmentType"),
}
"""Mistakes, and what mypy and basedpyright call each."""
MISTAKES = list(range(SCRIPT.count("\n") + 1, SCRIPT.count("\n") + 1 + len(WRONG)))
"""The lines of the script that are wrong."""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + "".join(f"{line}\n" for line in WRONG))
    return path


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A Python where redense is installed from its wheel; everything else comes from this one."""
    folder = tmp_path_factory.mktemp("installed")
    quiet = {"check": True, "capture_output": True}
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT], **quiet)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], **quiet)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    subprocess.run(["uv", "pip", "install", "--no-deps", "--python", python, wheel], **quiet)
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert (own / "redense" / "py.typed").exists(), "or type checkers ignore the package"
    return python


UNSEEN = (
    "_dynamo",
    "_export",
    "_functorch",
    "_inductor",
    "ao",
    "distributed",
    "export",
    "fx",
    "jit",
    "onnx",
    "testing",
)
"""Parts of PyTorch of which the script sees no type; reading them takes most of the time."""


def by_mypy(script, *options, config="/dev/null", **environment):
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-incremental"]
    command += ["--config-file", str(config), "--ignore-missing-imports", *options, str(script)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=script.parent, env={"PATH": "", **environment})
    lines = [line for line in said.stdout.splitlines() if ": error:" in line]
    return [(int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")) for line in lines], said.stdout


def test_mypy_finds_a_users_mistakes_and_no_others(script):
    config = script.with_name("mypy.ini")
    config.write_text(f"[mypy]\n[mypy-{','.join(f'torch.{part}.*' for part in UNSEEN)}]\nfollow_imports = skip\n")
    found, said = by_mypy(script, config=config, MYPYPATH=str(Path(redense.__file__).parents[1]))
    assert found == list(zip(MISTAKES, (name for name, _ in WRONG.values()), strict=True)), said


@pytest.mark.types
def test_mypy_against_the_wheel(script, installed):
    found, said = by_mypy(script, "--python-executable", str(installed))
    assert found == list(zip(MISTAKES, (name for name, _ in WRONG.values()), strict=True)), said


@pytest.mark.types
def test_basedpyright_against_the_wheel(script, installed):
    settings = {"typeCheckingMode": "standard", "pythonVersion": "3.11"}
    (script.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", str(installed), str(script)]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=script.parent).stdout)
    errors = [one for one in said["generalDiagnostics"] if one["severity"] == "error"]
    found = [(one["range"]["start"]["line"] + 1, one["rule"]) for one in errors]
    assert found == list(zip(MISTAKES, (name for _, name in WRONG.values()), strict=True)), said
