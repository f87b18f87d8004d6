"""Runs in processes of their own, to be killed."""

import os
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "redense", "run"]


def environment():
    """The environment of a run that finds the tests' factories."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "COVERAGE_PROCESS_START": ""}


def session(process):
    """The live processes of a run: the parent and its workers."""
    alive = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(group) == process.pid and state != "Z":
            alive.append(int(entry.name))
    return alive


def wait_until_ended(process):
    """Fail unless every process of a run ends within ten seconds."""
    deadline = time.monotonic() + 10
    while session(process):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.01)
