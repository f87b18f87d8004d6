"""What would be published: the wheel and the sdist, and that each extra installs alone, with what it is for."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
FOR = {
    "keras": "redense.integrations.keras",
    "lightning": "redense.integrations.lightning",
    "mlflow": "mlflow",
    "onnx": "onnx, onnxruntime, onnxscript",
    "pandas": "pandas",
    "ray": "fsspec, ray",
    "tensorboard": "tensorboard",
    "transformers": "redense.integrations.transformers",
    "wandb": "wandb",
}
"""What an extra makes it possible to import."""
EVERYTHING = "import redense; [getattr(redense, name) for name in redense.__all__]"

pytestmark = pytest.mark.evidence


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True)
    return folder


def test_wheel_and_sdist_are_fit_to_be_published(built):
    names = sorted(path.suffix for path in built.iterdir())
    assert names == [".gz", ".whl"]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())], check=True)


def test_the_wheel_holds_what_is_not_python(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT / "src")) in names


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_each_extra_installs_alone(built, extra, tmp_path):
    (wheel,) = built.glob("*.whl")
    where = tmp_path / "venv"
    uv = [str(Path(sys.executable).parent / "uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(where)], check=True)
    asked = f"redense[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    subprocess.run([*uv, "pip", "install", "--python", str(where / "bin/python"), asked], check=True)
    program = EVERYTHING + (f"; import {FOR[extra]}" if extra else "")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    subprocess.run([where / "bin/python", "-c", program], check=True, cwd=tmp_path, env=environment)
    subprocess.run([where / "bin/redense", "--version"], check=True, cwd=tmp_path)
