import os
import signal

import numpy as np
import pytest
import torch
from factories import arrays
from folders import carried_out, checkpoints

from redense.experiment import idle_cores
from redense.experiment.checkpoints import Store
from redense.experiment.engines import fork_server
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.local import LocalEngine, _Team
from redense.experiment.engines.queue import JobQueue
from redense.experiment.engines.shared import SharedDataset, attach
from redense.experiment.events import EpochDone, Failed, Finished, Retried, Started
from redense.experiment.plan import critical_path
from redense.experiment.prepare import prepare


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_engine_and_any_number_of_workers_give_the_same_bits(recipe, tmp_path, optimizer):
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "optimizer": optimizer, "rounds": 2}))
    engines = {"inline": InlineEngine(), "one": LocalEngine(1), "three": LocalEngine(3)}
    for name, engine in engines.items():
        events = carried_out(engine, prepared, tmp_path / name)
        assert [type(event) for event in events].count(Finished) == len(prepared.jobs) == 9
        assert not any(isinstance(event, Failed) for event in events)
    assert checkpoints(tmp_path / "inline") == checkpoints(tmp_path / "one") == checkpoints(tmp_path / "three")


@pytest.fixture(scope="module")
def larger(recipe, tmp_path_factory):
    """A recipe whose evaluations are of several batches, in a network that may be shared out, with chosen epochs."""
    (x, y), (x_test, y_test) = arrays(1200, 600)
    path = tmp_path_factory.mktemp("larger") / "larger.npz"
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
    settings = {"data": str(path), "model": "factories:tells_its_cores", "controls": ("early",), "validation": 0.5}
    return type(recipe)(**{**recipe.to_mapping(), **settings, "sparsities": (0.3,), "batch_size": 100})


@pytest.fixture
def alone(larger, tmp_path, monkeypatch):
    """The larger recipe prepared, its checkpoints by the engine that has one core, and where cores are to be told."""
    prepared = prepare(larger)
    carried_out(InlineEngine(), prepared, tmp_path / "alone")
    monkeypatch.setattr(idle_cores, "ThreadPoolExecutor", idle_cores.ThreadPoolExecutor)  # what the factory changes
    monkeypatch.setenv("REDENSE_TEST_CORES", str(tmp_path / "cores"))
    (tmp_path / "cores").touch()
    return prepared, checkpoints(tmp_path / "alone"), tmp_path / "cores"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_idle_cores_share_in_evaluations_and_change_no_bit(alone, tmp_path, workers):
    prepared, expected, told = alone
    events = carried_out(LocalEngine(workers), prepared, tmp_path / "run")
    assert checkpoints(tmp_path / "run") == expected
    for job in prepared.jobs:  # in order, whoever evaluated
        epochs = [event.epoch.epoch for event in events if isinstance(event, EpochDone) and event.job == job]
        assert epochs == list(range(1, job.epochs + 1))
    dense = next(job for job in prepared.jobs if job.parent is None)
    cores = [int(line) for line in told.read_text().split()]
    assert max(cores, default=1) == min(workers, 2), "1,200 examples, of which half validate, are two batches"
    if workers > 1:  # all others wait for the dense phase: three sets an epoch (but it may begin untold), then one
        assert len(cores) >= 3 * (dense.epochs - 1) + 1


def test_a_worker_that_dies_while_cores_share_its_evaluation_is_replaced(alone, tmp_path, monkeypatch):
    prepared, expected, _ = alone
    (tmp_path / "deaths").write_text("1")
    monkeypatch.setenv("REDENSE_TEST_DEATHS", str(tmp_path / "deaths"))
    events = carried_out(LocalEngine(3), prepared, tmp_path / "run")
    (retried,) = (event for event in events if isinstance(event, Retried))
    assert "killed by SIGKILL" in retried.reason
    assert [type(event) for event in events].count(Finished) == len(prepared.jobs)
    assert checkpoints(tmp_path / "run") == expected


def test_cores_are_shared_out_equally_and_told_once():
    told = []

    class Worker:
        cores = 1

        def __init__(self, name):
            self.name, self.job = name, name

        def tell(self, message):
            told.append((self.name, message["cores"]))

    team = _Team(8, 5, (), None, None)
    team.workers = [Worker(name) for name in "abc"]
    team.share_cores()
    assert told == [("a", 3), ("b", 3), ("c", 2)]
    told.clear()
    team.share_cores()
    assert told == []
    team.workers[0].job = None
    team.share_cores()
    assert told == [("b", 4), ("c", 4)]
    assert team.size == 5


def test_parents_come_first_and_every_epoch_is_reported(recipe, tmp_path):
    prepared = prepare(recipe)
    finished = set()
    epochs = []
    for event in carried_out(LocalEngine(2), prepared, tmp_path / "run"):
        match event:
            case Started(job):
                assert job.parent is None or job.parent in finished
            case EpochDone(job, epoch):
                epochs.append((job.key, epoch.epoch))
            case Finished(job):
                finished.add(job.key)
    assert sorted(epochs) == sorted((job.key, epoch) for job in prepared.jobs for epoch in (1, 2))


@pytest.mark.parametrize("engine", [InlineEngine(), LocalEngine(2)])
def test_what_is_finished_is_not_trained_again(recipe, tmp_path, engine):
    prepared = prepare(recipe)
    carried_out(InlineEngine(), prepared, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    events = carried_out(engine, prepared, tmp_path / "run")
    assert sorted(map(repr, events)) == sorted(repr(Finished(job, reused=True)) for job in prepared.jobs)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


def test_a_damaged_checkpoint_is_trained_again_to_the_same_bits(recipe, tmp_path):
    prepared = prepare(recipe)
    carried_out(InlineEngine(), prepared, tmp_path / "run")
    before = checkpoints(tmp_path / "run")
    damaged = tmp_path / "run" / "checkpoints" / prepared.jobs[0].key / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    events = carried_out(LocalEngine(1), prepared, tmp_path / "run")
    assert [event.job for event in events if isinstance(event, Started)] == [prepared.jobs[0]]
    assert checkpoints(tmp_path / "run") == before


def interrupted_after(epochs, prepared, root):
    root.mkdir()
    seen = 0
    for event in InlineEngine().run(prepared.jobs, prepared.dataset, Store(root)):
        seen += isinstance(event, EpochDone)
        if seen == epochs:
            return


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 8])
def test_a_run_that_stops_after_any_epoch_ends_with_the_same_bits(recipe, tmp_path, epochs):
    prepared = prepare(recipe)
    carried_out(InlineEngine(), prepared, tmp_path / "undisturbed")
    interrupted_after(epochs, prepared, tmp_path / "stopped")
    carried_out(LocalEngine(2), prepared, tmp_path / "stopped")
    assert checkpoints(tmp_path / "stopped") == checkpoints(tmp_path / "undisturbed")


@pytest.mark.parametrize(("deaths", "ends"), [(1, Finished), (2, Failed)])
def test_a_killed_worker_is_replaced_once(recipe, tmp_path, monkeypatch, deaths, ends):
    (tmp_path / "deaths").write_text(str(deaths))
    monkeypatch.setenv("REDENSE_TEST_DEATHS", str(tmp_path / "deaths"))
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "model": "factories:dies_in_training"}))
    events = carried_out(LocalEngine(2), prepared, tmp_path / "run")
    assert sum(isinstance(event, Retried) for event in events) == 1
    assert "killed by SIGKILL" in next(event for event in events if isinstance(event, Retried)).reason
    assert [type(event) for event in events if isinstance(event, (Finished, Failed))] == [ends] * len(prepared.jobs)
    if ends is Failed:
        reasons = [event.reason for event in events if isinstance(event, Failed)]
        assert "2 times" in reasons[0]
        assert all("not trained, because dense, seed 0 failed" in reason for reason in reasons[1:])


def test_an_error_in_the_users_model_fails_its_job_alone(recipe, tmp_path):
    prepared = prepare(
        type(recipe)(**{**recipe.to_mapping(), "model": "factories:raises_in_training", "seeds": [0, 1]})
    )
    events = carried_out(LocalEngine(1), prepared, tmp_path / "run")
    reasons = [event.reason for event in events if isinstance(event, Failed)]
    assert len(reasons) == len(prepared.jobs)
    assert reasons[0] == "dense, seed 0: ArithmeticError: out of cheese"
    assert "ArithmeticError" in (tmp_path / "run" / "workers.log").read_text()


@pytest.mark.parametrize("engine", [InlineEngine(), LocalEngine(1)])
def test_a_model_that_leaves_fails_its_job_and_not_the_run(recipe, tmp_path, engine):
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "model": "factories:leaves_in_training"}))
    events = carried_out(engine, prepared, tmp_path / "run")
    reasons = [event.reason for event in events if isinstance(event, Failed)]
    assert len(reasons) == len(prepared.jobs)
    assert "the model left with sys.exit(0) in training" in reasons[0]


def test_a_model_that_normalises_in_place_has_the_same_bits_with_any_number_of_workers(recipe, tmp_path):
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "model": "factories:in_place", "sparsities": (0.5,)}))
    for engine, name in ((InlineEngine(), "inline"), (LocalEngine(2), "local")):
        carried_out(engine, prepared, tmp_path / name)
    assert checkpoints(tmp_path / "inline") == checkpoints(tmp_path / "local")


@pytest.mark.parametrize("engine", [InlineEngine(), LocalEngine(1)])
def test_a_loss_that_becomes_nan_is_reported_with_job_and_epoch(recipe, tmp_path, engine):
    values = {**recipe.to_mapping(), "lr": 1e30, "rates": [1e-32, 1.0, 1.0], "optimizer": "sgd", "model": "mlp"}
    prepared = prepare(type(recipe)(**values))
    events = carried_out(engine, prepared, tmp_path / "run")
    assert [event.job.phase.kind for event in events if isinstance(event, Finished)] == ["dense"]
    reasons = [event.reason for event in events if isinstance(event, Failed)]
    assert len(reasons) == 4
    assert "sparse 30%, seed 0: the loss became" in reasons[0]
    assert "in epoch 1 of 2" in reasons[0]


def test_shared_data_come_back(recipe):
    dataset = prepare(recipe).dataset
    shared = SharedDataset.of(dataset)
    with shared.file:
        copy = attach(shared.file.fileno(), shared.description)
        assert copy.fingerprint == dataset.fingerprint


def test_the_queue_prefers_the_longest_chain_and_drops_orphans(recipe):
    jobs = prepare(type(recipe)(**{**recipe.to_mapping(), "seeds": [0, 1]})).jobs
    queue = JobQueue(jobs)
    remaining = critical_path(jobs)
    first, second = queue.next(), queue.next()
    assert (first.phase.kind, second.phase.kind) == ("dense", "dense")
    assert queue.next() is None
    queue.finish(first)
    handed_out = [queue.next(), queue.next()]
    assert [remaining[job.key] for job in handed_out] == [4, 4]
    failed = queue.fail(second, "because")
    assert failed[0].job == second
    assert len(failed) == 5
    queue.put_back(handed_out[0])
    assert queue.next() == handed_out[0]


def test_the_longer_control_has_the_bits_of_dsd_at_sparsity_0(recipe, tmp_path):
    settings = {**recipe.to_mapping(), "sparsities": (0.0,), "controls": ("longer",), "epochs": (2, 3, 2)}
    prepared = prepare(type(recipe)(**settings))
    carried_out(InlineEngine(), prepared, tmp_path / "run")
    store = Store(tmp_path / "run")
    found = {job.phase.label: store.load(job.key) for job in prepared.jobs}
    for name in ("sparse", "re-dense"):
        control, phase = found[f"control-longer beside {name}"], found[f"{name} 0%"]
        assert control.history == phase.history
        assert all(torch.equal(value, control.model[key]) for key, value in phase.model.items())


def test_a_worker_that_hangs_is_replaced_and_goes_on(recipe, tmp_path, monkeypatch):
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "model": "factories:hangs_once", "sparsities": (0.3,)}))
    carried_out(InlineEngine(), prepared, tmp_path / "undisturbed")
    # the second epoch hangs, once: its worker is killed, another goes on after the first epoch
    flag = tmp_path / "hang"
    flag.touch()
    monkeypatch.setenv("REDENSE_TEST_HANG", str(flag))
    (tmp_path / "run").mkdir()
    events = []
    for event in LocalEngine(1, time_limit=8.0).run(prepared.jobs, prepared.dataset, Store(tmp_path / "run")):
        if isinstance(event, EpochDone) and not any(isinstance(before, EpochDone) for before in events):
            # whoever could kill it is gone before it hangs
            os.kill(fork_server.start()._process.pid, signal.SIGKILL)
        events.append(event)
    (retried,) = (event for event in events if isinstance(event, Retried))
    assert retried.reason == "stopped after 8 s, the time limit"
    epochs = [event.epoch.epoch for event in events if isinstance(event, EpochDone) and event.job == retried.job]
    assert epochs == [1, 2]
    assert checkpoints(tmp_path / "run") == checkpoints(tmp_path / "undisturbed")


def test_a_worker_that_always_hangs_fails_its_chain_alone(recipe, tmp_path, monkeypatch):
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "model": "factories:hangs_once"}))
    monkeypatch.setenv("REDENSE_TEST_HANG", "always")
    events = carried_out(LocalEngine(2, time_limit=1.0), prepared, tmp_path / "run")
    failed = [event for event in events if isinstance(event, Failed)]
    assert len(failed) == len(prepared.jobs)
    assert "dense, seed 0: its worker was stopped after 1 s, the time limit, 2 times" in failed[0].reason
