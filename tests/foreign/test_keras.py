import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.foreign
HERE = Path(__file__).parent


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_guide_on_a_backend_of_its_own_process(backend, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(HERE.parent), "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        [sys.executable, str(HERE / "keras_backend.py"), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert ran.stdout.strip().endswith(f"{backend} holds"), ran.stderr
