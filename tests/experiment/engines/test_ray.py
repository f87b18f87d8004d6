"""The Ray engine on a real cluster of two nodes."""

import logging
import shutil
import sys

import pytest
import ray
from folders import carried_out, checkpoints
from ray.cluster_utils import Cluster

from redense.errors import RedenseError
from redense.experiment.checkpoints import Store
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.local import LocalEngine
from redense.experiment.engines.ray import RayEngine, _connected
from redense.experiment.events import EpochDone, Failed, Finished, Retried
from redense.experiment.prepare import prepare

pytestmark = [
    pytest.mark.xdist_group("ray"),  # one cluster, not one a test process
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_killed_in_the_middle_changes_no_bit(recipe, tmp_path, cluster):
    second = cluster.add_node(num_cpus=1)
    settings = {**recipe.to_mapping(), "epochs": (30, 2, 2), "seeds": (0, 1), "sparsities": (0.3,)}
    prepared = prepare(type(recipe)(**settings))
    carried_out(LocalEngine(2), prepared, tmp_path / "local")
    (tmp_path / "ray").mkdir()
    events = []
    for event in RayEngine().run(prepared.jobs, prepared.dataset, Store(tmp_path / "ray")):
        events.append(event)
        epochs = [event for event in events if isinstance(event, EpochDone)]
        if second is not None and len({event.job.key for event in epochs}) == 2:
            cluster.remove_node(second, allow_graceful=False)  # both dense phases are under way, one of them there
            second = None
    assert second is None
    assert any(isinstance(event, Retried) for event in events)
    ended = [event.job.key for event in events if isinstance(event, Finished)]
    assert sorted(ended) == sorted(job.key for job in prepared.jobs)
    Store(tmp_path / "ray").discard_unfinished_writes()
    assert checkpoints(tmp_path / "ray") == checkpoints(tmp_path / "local")


def test_engines_go_on_with_each_others_runs(recipe, tmp_path, cluster):
    prepared = prepare(recipe)
    carried_out(InlineEngine(), prepared, tmp_path / "inline")
    carried_out(LocalEngine(1), prepared, tmp_path / "mixed", prepared.jobs[:2])
    events = carried_out(RayEngine(), prepared, tmp_path / "mixed", prepared.jobs[:4])
    assert [event.reused for event in events if isinstance(event, Finished)] == [True, True, False, False]
    events = carried_out(InlineEngine(), prepared, tmp_path / "mixed")
    assert [event.reused for event in events if isinstance(event, Finished)].count(False) == 1
    assert checkpoints(tmp_path / "mixed") == checkpoints(tmp_path / "inline")


def test_checkpoints_travel_through_a_storage(recipe, tmp_path, cluster):
    prepared = prepare(recipe)
    carried_out(InlineEngine(), prepared, tmp_path / "inline")
    url = f"file://{tmp_path / 'storage'}"
    carried_out(RayEngine(storage=url), prepared, tmp_path / "first")
    assert checkpoints(tmp_path / "first") == checkpoints(tmp_path / "inline")
    # another driver, on a machine that has nothing yet, finds all of it there; a half-written one counts as missing
    lost = prepared.jobs[-1].key
    (tmp_path / "storage" / "checkpoints" / lost / "checkpoint.json").unlink()
    events = carried_out(RayEngine(storage=url), prepared, tmp_path / "second")
    assert [event.job.key for event in events if isinstance(event, Finished) and not event.reused] == [lost]
    assert checkpoints(tmp_path / "second") == checkpoints(tmp_path / "inline")


def test_an_error_in_the_users_model_fails_its_chain_alone(recipe, tmp_path, cluster):
    settings = {**recipe.to_mapping(), "model": "factories:raises_in_training"}
    prepared = prepare(type(recipe)(**settings))
    events = carried_out(RayEngine(), prepared, tmp_path / "run")
    failed = [event for event in events if isinstance(event, Failed)]
    assert len(failed) == len(prepared.jobs)
    assert failed[0].reason == "dense, seed 0: ArithmeticError: out of cheese"
    assert all(event.reason.endswith("not trained, because dense, seed 0 failed") for event in failed[1:])


def test_closing_the_engine_stops_its_tasks(recipe, tmp_path, cluster):
    prepared = prepare(type(recipe)(**{**recipe.to_mapping(), "epochs": (10_000, 1, 1)}))
    (tmp_path / "run").mkdir()
    events = RayEngine().run(prepared.jobs, prepared.dataset, Store(tmp_path / "run"))
    assert any(isinstance(event, EpochDone) for event in (next(events) for _ in range(3)))
    events.close()
    shutil.rmtree(tmp_path / "run")  # nobody writes there any more
    # the core is free again: another run gets it
    small = prepare(recipe)
    assert any(isinstance(event, Finished) for event in carried_out(RayEngine(), small, tmp_path / "next"))


def test_no_cluster_is_one_line(monkeypatch):
    def refuse(**settings):
        raise ConnectionError("Could not find any\nrunning Ray instance. Please specify the one to connect to.")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", refuse)
    expected = "auto: no cluster answers .*any running Ray instance.; start one with `ray"
    with pytest.raises(RedenseError, match=expected), _connected("auto"):
        pass


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RedenseError, match=r"pip install 'redense\[ray\]'"):
        RayEngine()
