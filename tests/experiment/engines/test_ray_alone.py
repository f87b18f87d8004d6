"""A Ray cluster that a run starts by itself: on loopback, private, with a secret, and gone with the run."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from processes import environment

from redense.errors import FolderError
from redense.experiment.engines.ray import _private

pytestmark = pytest.mark.xdist_group("ray")
DRIVER = """
import sys, time
from redense.experiment.engines.ray import RayEngine, _connected
import ray
RayEngine()
with _connected(None):
    ray.get(ray.remote(lambda: 1).remote(), timeout=60)
    print(ray.get_runtime_context().gcs_address, ray._private.worker._global_node.get_temp_dir_path(), flush=True)
    sys.stdin.read(1)
"""
STRANGER = "import ray; ray.init(address={address!r}, log_to_driver=False); ray.get(ray.remote(lambda: 1).remote())"


def ray_processes(folder):
    """The processes that have the cluster's folder on their command line or were begun in it."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdigit()
                and str(folder).encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            ):
                found[int(entry.name)] = entry
    return found


def listening(processes):
    """The addresses, as the kernel writes them, on which processes listen."""
    addresses = {}
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                addresses[words[9]] = words[1].partition(":")[0]
    found = set()
    for entry in processes.values():
        with contextlib.suppress(OSError):
            links = [os.readlink(link) for link in (entry / "fd").iterdir()]
            found |= {addresses[link[8:-1]] for link in links if link.startswith("socket:") and link[8:-1] in addresses}
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_it_listens_on_loopback_is_private_wants_a_secret_and_dies_with_the_run():
    plain = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    driver = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=plain,
        text=True,
    )
    try:
        address, folder = driver.stdout.readline().split()
        processes = ray_processes(folder)
        assert len(processes) >= 2
        assert listening(processes | {driver.pid: Path(f"/proc/{driver.pid}")}) <= LOOPBACK
        assert address.startswith("127.0.0.1:")
        assert Path(folder).parent.stat().st_mode & 0o077 == 0
        stranger = [sys.executable, "-W", "ignore", "-c", STRANGER.format(address=address)]
        with pytest.raises((subprocess.CalledProcessError, subprocess.TimeoutExpired)):
            subprocess.run(stranger, check=True, capture_output=True, timeout=12, env=plain)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    private = Path(folder).parent
    deadline = time.monotonic() + 30
    while ray_processes(folder):
        assert time.monotonic() < deadline, "Ray outlives the run"
        time.sleep(0.1)
    shutil.rmtree(private)  # what is left of a killed run


def test_where_there_is_no_temporary_folder_it_is_said_how_to_name_one(monkeypatch):
    def refused():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", refused)
    with pytest.raises(FolderError, match="No usable temporary directory .*set TMPDIR"), _private():
        pass
