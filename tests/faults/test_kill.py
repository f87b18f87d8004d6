"""A run that is killed or interrupted at any moment loses nothing and ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from folders import checkpoints
from processes import COMMAND, environment, session, wait_until_ended

from redense.experiment.recipe import Recipe
from redense.experiment.run import run
from redense.files.writing import TEMPORARY

HERE = Path(__file__).parent
EPOCHS, LONG = 12, 30
"""Epochs a phase: enough to be interrupted in one, and to be killed again and again."""


def results(folder):
    rows = json.loads((Path(folder) / "results.json").read_text())["rows"]
    return [{**row, "seconds": None} for row in rows]


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.evidence)])
def test_kills_end_with_the_bits_of_an_undisturbed_run(npz, tmp_path, kills):
    command = [sys.executable, str(HERE / "killer.py"), str(npz), str(tmp_path / "out"), str(kills), "0"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] >= kills
    for folder in report["folders"]:
        assert checkpoints(folder) == checkpoints(tmp_path / "out" / "undisturbed")
        assert results(folder) == results(tmp_path / "out" / "undisturbed")
        assert not (Path(folder) / "damaged").exists()
        assert not list(Path(folder).rglob(f"{TEMPORARY}*"))
        assert not list((Path(folder) / "progress").iterdir())


def flags(npz, out, epochs=EPOCHS):
    settings = ["--data", str(npz), "--model", "factories:small", "--sparsities", "0.3", "0.9"]
    return [*settings, "--epochs", *[str(epochs)] * 3, "--batch-size", "2", "--workers", "2", "--out", str(out)]


def start(npz, out, epochs=EPOCHS):
    return subprocess.Popen(
        [*COMMAND, *flags(npz, out, epochs)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(path, pattern, process, timeout=120):
    """Wait until a file matches: the run has got so far."""
    deadline = time.monotonic() + timeout
    while not list(Path(path).glob(pattern)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"no {pattern} after {timeout} s"
        time.sleep(0.01)


def same_run(npz, folder, epochs):
    """The same run in this process: engines agree to the bit."""
    recipe = Recipe(data=str(npz), model="factories:small", sparsities=(0.3, 0.9), epochs=(epochs,) * 3, batch_size=2)
    run(recipe, folder, workers=0)
    return folder


@pytest.fixture(scope="module")
def expected(npz, tmp_path_factory):
    return same_run(npz, tmp_path_factory.mktemp("expected") / "run", EPOCHS)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_the_command_and_going_on(npz, expected, tmp_path, stop):
    process = start(npz, tmp_path / "run")
    wait_for(tmp_path / "run", "checkpoints/[0-9a-f]*", process)
    wait_for(tmp_path / "run", "progress/*/000003", process)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=30)  # at once, but for what a busy machine takes to write the results
    assert process.returncode == 3
    assert "the same command goes on" in errors
    assert len(results(tmp_path / "run")) >= 1
    assert not session(process)
    done = subprocess.run([*COMMAND, *flags(npz, tmp_path / "run")], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert checkpoints(tmp_path / "run") == checkpoints(expected)
    assert results(tmp_path / "run") == results(expected)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_module_is_loaded_is_no_other_error(tmp_path, stop):
    """NumPy and PyTorch make another error of what is raised while they are loaded, or abort."""
    (tmp_path / "loads.py").write_text(
        "import os, time\n"
        "try:\n"
        f"    os.kill(os.getpid(), {int(stop)})\n"
        "    time.sleep(60)\n"
        "except BaseException:\n"
        "    raise ImportError('something else')\n"
    )
    command = [*COMMAND, "digits", "--model", "loads:net", "--out", tmp_path / "run"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (3, "redense: stopped; the same command goes on\n")


def test_workers_do_not_outlive_their_parent(npz, tmp_path):
    process = start(npz, tmp_path / "run")
    wait_for(tmp_path / "run", "progress/*/000001", process)
    assert len(session(process)) >= 2
    os.killpg(process.pid, signal.SIGSTOP)  # or it may be done before the other has started
    locked = subprocess.run(
        [*COMMAND, *flags(npz, tmp_path / "run")], env=environment(), capture_output=True, text=True
    )
    assert locked.returncode == 2
    assert "another run is using this folder" in locked.stderr
    os.killpg(process.pid, signal.SIGCONT)
    process.kill()
    process.communicate()
    wait_until_ended(process)


@pytest.mark.evidence
def test_twenty_kills_of_the_command_and_its_workers(npz, tmp_path):
    chance = random.Random(1)
    expected = same_run(npz, tmp_path / "undisturbed", LONG)
    kills = attempts = 0
    while kills < 20:
        attempts += 1
        out = tmp_path / f"run{attempts}"
        while True:
            process = start(npz, out, LONG)
            try:
                process.communicate(timeout=chance.uniform(6, 14))
                break
            except subprocess.TimeoutExpired:
                victim = chance.choice(session(process))  # the parent or a worker
                os.kill(victim, signal.SIGKILL)
                kills += 1
                process.communicate(timeout=120)
                if victim != process.pid and process.returncode == 0:  # a worker: its job was tried once more
                    break
        assert process.returncode == 0
        assert checkpoints(out) == checkpoints(expected)
