import dataclasses
from typing import get_args

import pytest
import torch

import redense.experiment.engines.choose
from redense.errors import RecipeError
from redense.experiment.engines.choose import choose
from redense.experiment.engines.inline import InlineEngine
from redense.experiment.engines.kinds import ENGINES, EngineName
from redense.experiment.engines.local import LocalEngine
from redense.experiment.engines.vectorized import VectorizedEngine
from redense.experiment.optimizers import OPTIMIZERS
from redense.experiment.prepare import prepare
from redense.experiment.resources import Resources


@pytest.fixture
def prepared(recipe):
    return prepare(recipe)


def chosen(prepared, models=3, model=None, **settings):
    return choose(Resources(**settings), model or prepared.model, prepared.dataset, 16, models)


@pytest.fixture(autouse=True)
def no_quota(monkeypatch):
    """The machine that the tests run on may have one."""
    monkeypatch.setattr(redense.experiment.engines.choose, "cpu_quota", lambda: None)


def memory(monkeypatch, available):
    monkeypatch.setattr(redense.experiment.engines.choose, "available_bytes", lambda: int(available))


def test_on_the_cpu_processes_are_chosen(prepared, monkeypatch):
    memory(monkeypatch, 64e9)
    monkeypatch.setattr(redense.experiment.engines.choose.os, "sched_getaffinity", lambda _: set(range(6)))
    choice = chosen(prepared)
    assert (choice.name, choice.device, choice.workers, choice.arithmetic) == ("local", "cpu", 6, "cpu")
    assert "one a core, 6" in choice.reason
    assert chosen(prepared, models=64, model=torch.nn.Linear(6, 3)).name == "local", "however many models there are"
    assert isinstance(choice.engine(), LocalEngine)


@pytest.mark.parametrize(("quota", "workers"), [(2.5, 2), (0.5, 1), (64.0, 6), (None, 6)])
def test_a_quota_limits_the_workers(prepared, monkeypatch, quota, workers):
    memory(monkeypatch, 64e9)
    monkeypatch.setattr(redense.experiment.engines.choose.os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(redense.experiment.engines.choose, "cpu_quota", lambda: quota)
    choice = chosen(prepared)
    assert choice.workers == workers
    assert (f"{workers} of 6 cores, because a quota" in choice.reason) == (workers < 6)


def test_memory_limits_the_workers(prepared, monkeypatch):
    monkeypatch.setattr(redense.experiment.engines.choose.os, "sched_getaffinity", lambda _: set(range(64)))
    memory(monkeypatch, 2e9)
    choice = chosen(prepared)
    assert choice.workers == 3  # of 550 MB and little more
    assert "3 of 64 cores, because 2.0 GB are free, a worker takes about 0.6 GB" in choice.reason
    memory(monkeypatch, 0)
    assert chosen(prepared).workers == 1


def test_more_workers_than_fit_are_had_with_a_warning(prepared, monkeypatch):
    memory(monkeypatch, 1e9)
    choice = chosen(prepared, workers=8)
    assert choice.workers == 8
    assert "so they may not fit" in choice.reason


def test_workers_0_is_this_process(prepared):
    choice = chosen(prepared, workers=0)
    assert choice.name == "inline"
    assert isinstance(choice.engine(), InlineEngine)


def test_on_a_gpu_many_models_are_stacked_where_they_can_be(prepared, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    linear = torch.nn.Linear(6, 3)
    choice = chosen(prepared, model=linear)
    assert (choice.name, choice.device, choice.arithmetic) == ("vectorized", "cuda", "stacked-cuda")
    assert choice.reason == "3 models share the GPU, trained as one"
    assert chosen(prepared, model=linear, models=1).name == "inline"
    with_batch_norm = chosen(prepared)  # the recipe's model has BatchNorm
    assert with_batch_norm.name == "inline"
    assert "the vectorised engine cannot train this model" in with_batch_norm.reason
    assert "running_mean" in with_batch_norm.reason


@pytest.mark.parametrize("engine", ["auto", "vectorized"])
def test_an_optimizer_that_sees_tensors_as_wholes_is_not_stacked(prepared, monkeypatch, engine):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(OPTIMIZERS, "adamw", dataclasses.replace(OPTIMIZERS["adamw"], elementwise=False))
    arguments = Resources(engine=engine), torch.nn.Linear(6, 3), prepared.dataset, 16, 3
    choice = choose(*arguments, optimizer="adamw")
    assert choice.name == "inline"
    assert choice.reason.startswith("the vectorised engine cannot train this model: adamw updates every tensor as")
    assert choose(*arguments, optimizer="adam").name == "vectorized"
    recipe = dataclasses.replace(prepared.recipe, model="mlp", seeds=(0, 1), optimizer="adamw")
    assert "adamw updates every tensor" in prepare(recipe, resources=Resources(engine=engine)).choice.reason


def test_what_cannot_be_stacked_goes_to_processes(prepared):
    choice = chosen(prepared, engine="vectorized")
    assert choice.name == "local"
    assert "it changes its buffer 2.running_mean in training" in choice.reason
    stackable = chosen(prepared, engine="vectorized", model=torch.nn.Linear(6, 3))
    assert stackable.arithmetic == "stacked-cpu"
    assert isinstance(stackable.engine(), VectorizedEngine)


def test_a_named_cluster_is_used(prepared):
    assert chosen(prepared, ray_address="auto").name == "ray"
    assert chosen(prepared, engine="ray").name == "ray"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "fast"}, "engine: got 'fast'; expected one of auto, inline, local, vectorized, ray"),
        ({"device": "tpu"}, "device: got 'tpu'"),
        ({"workers": 0, "engine": "local"}, "use --engine inline"),
        ({"time_limit": 0.0}, "time_limit: got 0; expected seconds above 0"),
        ({"ray_address": "auto", "engine": "local"}, "with a Ray cluster's settings"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        Resources(**settings)


def test_every_engine_that_can_be_asked_for_can_be_made():
    assert {"auto", *ENGINES} == set(get_args(EngineName))


def test_a_time_limit_needs_workers(prepared):
    assert chosen(prepared, time_limit=5.0).engine().time_limit == 5.0
    with pytest.raises(RecipeError, match="time_limit: the engine is inline here"):
        chosen(prepared, time_limit=5.0, workers=0)
