"""Packages that believe what lies in the current folder are loaded as if they were loaded elsewhere.

matplotlib takes ``matplotlibrc`` from there, which may start LaTeX; a library that comes with PyTorch looks there for
``libcuda.so.1``, which is executed. Who goes into a folder of somebody else's to look at it does not mean that.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from redense.errors import RedenseError
from redense.text import one_line

ELSEWHERE = "/"
"""Where nobody but the system's owner writes."""
CARELESS = ("matplotlib", "torch")
PATHS = ("MATPLOTLIBRC", "MPLCONFIGDIR")
"""Variables of the user's that name places, perhaps from the current folder."""


class Elsewhere(MetaPathFinder):
    """Finds the packages that are to be loaded elsewhere; for `sys.meta_path`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a package as Python does, and let it be loaded elsewhere; a `RedenseError` says why it cannot be."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in CARELESS else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            try:
                with contextlib.chdir(ELSEWHERE):
                    execute(module)
            except Exception as error:  # such as that of an environment variable that it does not understand
                raise RedenseError(f"{fullname} cannot be loaded: {one_line(error) or type(error).__name__}") from error

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def load_elsewhere() -> None:
    """From now on load these packages elsewhere, in this process."""
    os.environ.update({name: os.path.abspath(os.environ[name]) for name in PATHS if os.environ.get(name)})
    sys.meta_path.insert(0, Elsewhere())
