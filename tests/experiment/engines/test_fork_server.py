import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from folders import carried_out, checkpoints
from processes import environment, wait_until_ended

from redense.experiment.checkpoints import Store
from redense.experiment.engines import fork_server, worker
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.local import LocalEngine
from redense.experiment.events import EpochDone, Retried
from redense.experiment.prepare import prepare


def test_closing_an_engine_ends_its_workers(recipe, tmp_path):
    prepared = prepare(recipe)
    (tmp_path / "run").mkdir()
    events = LocalEngine(1).run(prepared.jobs, prepared.dataset, Store(tmp_path / "run"))
    next(events)
    deadline = time.monotonic() + 60
    while not (workers := _workers()):
        assert time.monotonic() < deadline, "the server has not started one"
        time.sleep(0.05)
    events.close()
    assert not set(_workers()) & set(workers)
    assert fork_server.start().alive, "it serves the next run"


def _workers():
    """The processes that this process' fork server has forked."""
    return [pid for server in _children(os.getpid(), "fork_server") for pid in _children(server, "")]


def _children(parent, command):
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, of = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(of) == parent and state != "Z" and command in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return found


def test_workers_start_together(recipe, tmp_path):
    """Though but one job can begin."""
    prepared = prepare(recipe)
    (tmp_path / "run").mkdir()
    events = LocalEngine(2).run(prepared.jobs, prepared.dataset, Store(tmp_path / "run"))
    while not isinstance(next(events), EpochDone):
        continue
    assert len(_workers()) == 2
    events.close()


def test_a_server_that_is_killed_is_replaced(recipe, tmp_path):
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "sparsities": (0.3,)}))
    carried_out(InlineEngine(), prepared, tmp_path / "undisturbed")
    (tmp_path / "run").mkdir()
    events = LocalEngine(1).run(prepared.jobs, prepared.dataset, Store(tmp_path / "run"))
    seen = [next(events)]
    while not isinstance(seen[-1], EpochDone):
        seen.append(next(events))
    (server,) = _children(os.getpid(), "fork_server")
    (worker,) = _workers()
    os.kill(server, signal.SIGKILL)
    while Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)  # on a busy machine it may live on for a moment, and take the next request with it
    os.kill(worker, signal.SIGKILL)
    seen += events
    (retried,) = (event for event in seen if isinstance(event, Retried))
    assert retried.reason == "gone"
    Store(tmp_path / "run").discard_unfinished_writes()  # what the killed worker was writing
    assert checkpoints(tmp_path / "run") == checkpoints(tmp_path / "undisturbed")


def test_a_worker_has_what_its_run_has_and_nothing_of_other_workers(recipe, tmp_path, monkeypatch):
    fork_server.start()
    monkeypatch.setenv("REDENSE_TEST_TELLS", str(tmp_path / "told"))  # after the server has begun
    prepared = prepare(
        type(recipe)(**{**recipe.to_mapping(), "model": "factories:tells_what_its_process_has", "seeds": (0, 1)})
    )
    with open(tmp_path / "lock", "w") as lock:
        carried_out(LocalEngine(2, [lock.fileno()]), prepared, tmp_path / "run")
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert len({one["process"] for one in told}) == 2
    for one in told:
        assert one["threads"] == "1"
        assert one["collects"], "which the server does not, while it loads"
        assert one["folder"] == os.getcwd()
        assert sum(name.endswith("/lock") for name in one["open"]) == 1
        pipes = [name for name in one["open"] if name.startswith(("pipe:", "socket:"))]
        assert len(pipes) == len(set(pipes)) == 2, "its jobs and its events"
        assert one["passed_on"] == [], "to programs that the user's code starts"


def test_a_worker_that_is_executed_passes_on_nothing_of_what_it_inherits(monkeypatch):
    ends = [*os.pipe(), *os.pipe()]
    try:
        for end in ends:
            os.set_inheritable(end, True)
        told = []
        monkeypatch.setattr(
            worker, "work", lambda *given: told.append((given, [os.get_inheritable(end) for end in ends]))
        )
        worker.main([str(end) for end in ends])
    finally:
        for end in ends:
            os.close(end)
    assert told == [(tuple(ends[:3]), [False] * 4)]


def test_a_server_does_not_outlive_its_caller_while_it_loads():
    dies = "import os; from redense.experiment.engines import fork_server; fork_server.start(); os.kill(os.getpid(), 9)"
    process = subprocess.Popen([sys.executable, "-c", dies], env=environment(), start_new_session=True)
    process.wait()
    wait_until_ended(process)


def test_it_is_light_until_it_loads():
    check = "import sys, redense.commands.run; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], env=environment()).returncode == 0


def test_the_current_folder_is_no_place_of_modules(tmp_path):
    """Whoever goes into somebody else's folder runs nothing that lies there."""
    for name in ("select", "json", "torch"):
        (tmp_path / f"{name}.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    trains = (
        "import sys; sys.path[:] = [p for p in sys.path if p]\nimport redense, os\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "redense.run(redense.Recipe(model='mlp', epochs=(1, 1, 1), batch_size=512), 'run', workers=1)"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", trains], env=environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "ran").exists()
