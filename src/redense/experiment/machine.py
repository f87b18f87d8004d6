"""What this machine is, and which versions run on it; told without PyTorch."""

from __future__ import annotations

import contextlib
import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

from redense import __version__

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


def machine() -> dict[str, str]:
    """Say in words what this machine is, and which versions run on it."""
    versions = {name: version(name) for name in LIBRARIES}
    return {
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "processor": processor() or platform.machine(),
        "Python": platform.python_version(),
        "redense": __version__,
        **versions,
    }


@cache
def processor() -> str:
    """Return the name of the processor, as its maker calls it where the system tells; "" where nobody tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()
