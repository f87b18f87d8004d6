"""A thousand jobs of a second each, while workers and the parent are killed: slow, run by ``make evidence``."""

import os
import random
import signal
import subprocess
import time

import pytest
from folders import checkpoints
from processes import COMMAND, environment, session, wait_until_ended

from redense.experiment.recipe import Recipe
from redense.experiment.run import run
from redense.files.writing import TEMPORARY

SEEDS = 334
WORKERS = 16


@pytest.mark.evidence
def test_a_thousand_jobs_are_each_trained_once_whoever_dies(npz, tmp_path):
    settings = {"data": str(npz), "model": "factories:sleeps", "sparsities": (0.5,), "epochs": (1, 1, 1)}
    recipe = Recipe(**settings, seeds=tuple(range(SEEDS)), batch_size=48)
    run(recipe, tmp_path / "undisturbed", workers=0)  # without the sleep
    out = tmp_path / "run"
    command = [*COMMAND, "--data", str(npz), "--model", "factories:sleeps"]
    command += ["--sparsities", "0.5", "--epochs", "1", "1", "1", "--batch-size", "48", "--out", str(out)]
    command += ["--workers", str(WORKERS), "--seeds", *map(str, range(SEEDS))]
    chance = random.Random(0)
    finished: dict[str, int] = {}
    for attempt in range(6):
        process = subprocess.Popen(
            command,
            env={**environment(), "REDENSE_TEST_SLEEP": "0.5"},  # two batches an epoch
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until = time.monotonic() + chance.uniform(30, 50)
        while process.poll() is None and (attempt == 5 or time.monotonic() < until):
            time.sleep(chance.uniform(3, 8))
            workers = [pid for pid in session(process) if pid != process.pid]
            if workers and attempt < 5:
                os.kill(chance.choice(workers), signal.SIGKILL)
        if process.poll() is None:
            process.kill()
        errors = process.communicate()[1]
        wait_until_ended(process)
        now = {path.name: path.stat().st_mtime_ns for path in (out / "checkpoints").glob("[0-9a-f]*")}
        assert finished.items() <= now.items()  # what is finished is neither lost nor trained again
        finished = now
        if process.returncode == 0:
            break
    assert process.returncode == 0, errors
    assert len(finished) == 3 * SEEDS
    assert checkpoints(out) == checkpoints(tmp_path / "undisturbed")
    assert not list(out.rglob(f"{TEMPORARY}*"))
    assert not list((out / "progress").glob("*"))
