"""Evaluations that are shared out among cores, against the same on one core; and examples that are asked once."""

import threading
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import parametrizations

import redense.signals as redense_signals
from redense.data.batches import TensorData
from redense.errors import ModelError
from redense.experiment import idle_cores
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.idle_cores import Reader, may_be_shared, read_signals_on
from redense.experiment.prepare import prepare
from redense.experiment.trained import Progress
from redense.experiment.trainer import PlainTrainer, Start
from redense.models.registry import build, placed
from redense.signals import EVALUATION_BATCH, read_signals

SHAPES = {"mlp": (6,), "fmnist-cnn": (1, 12, 12), "factories:small": (6,)}


def same(one, other):
    return all(np.array_equal(one.arrays()[name], values) for name, values in other.arrays().items())


def examples(count, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *shape, generator=generator), torch.randint(0, 3, (count,), generator=generator)


@settings(max_examples=20)
@given(
    name=st.sampled_from(sorted(SHAPES)),
    count=st.integers(1, 4 * EVALUATION_BATCH),
    cores=st.integers(1, 5),
)
def test_any_number_of_cores_reads_the_same_bits(name, count, cores):
    model = placed(build(name, SHAPES[name], 3), torch.device("cpu"))
    x, y = examples(count, SHAPES[name])
    with fixed_arithmetic("cpu"):
        assert same(read_signals_on(cores, model, x, y), read_signals(model, x, y))
    assert model.training
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())


def test_every_thread_flushes_denormals():
    model = torch.nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        model.weight.mul_(1e-39)
    x, y = examples(3 * EVALUATION_BATCH, (6,))
    with fixed_arithmetic("cpu"):
        assert not read_signals_on(3, model, x, y).margin.any()
    assert read_signals(model, x, y).margin.any(), "there are some"


class Seen:
    """Notes in which threads batches are read, each of which waits until `at_once` have got there."""

    def __init__(self, monkeypatch, at_once=1):
        self.threads, self.gradients = set(), set()
        self.meeting = threading.Barrier(at_once)
        real = redense_signals.as_input

        def as_input(batch):
            self.threads.add(threading.get_ident())
            self.gradients.add(torch.is_grad_enabled())
            self.meeting.wait(timeout=30)
            return real(batch)

        monkeypatch.setattr(redense_signals, "as_input", as_input)


def test_batches_are_read_at_once_and_without_gradients(monkeypatch):
    x, y = examples(2 * EVALUATION_BATCH, (6,))
    seen = Seen(monkeypatch, at_once=2)
    with fixed_arithmetic("cpu"):
        read_signals_on(2, build("mlp", (6,), 3), x, y)
    assert len(seen.threads) == 2
    assert seen.gradients == {False}


def test_a_reader_asks_anew_how_many_cores_there_are_and_gives_back_memory(monkeypatch):
    cores, trimmed, used = [3, 3, 2, 1, 1], [], []
    monkeypatch.setattr(idle_cores.ctypes, "CDLL", lambda _: types.SimpleNamespace(malloc_trim=trimmed.append))
    monkeypatch.setattr(idle_cores, "read_signals_on", lambda count, *_: used.append((count, len(trimmed))))
    reader = Reader(iter(cores).__next__)
    for _ in cores:
        reader(None, None, None)
    assert used == [(3, 0), (3, 0), (2, 1), (1, 2), (1, 2)], "whenever there are fewer"
    Reader(lambda: 1).give_back()
    assert len(trimmed) == 2
    other = Reader(lambda: 2)
    other(None, None, None)
    other.give_back()
    other.give_back()
    assert len(trimmed) == 3
    monkeypatch.setattr(idle_cores.ctypes, "CDLL", lambda _: object())  # another C library
    other(None, None, None)
    other.give_back()


class Own(torch.nn.Linear):
    """Anybody's own module."""


def hooked(register):
    model = torch.nn.Sequential(torch.nn.Linear(6, 3))
    getattr(model[0], register)(lambda *_: None)
    return model


def replaced():
    model = torch.nn.Sequential(torch.nn.Linear(6, 3))
    model[0].forward = lambda x: x[:, :3]
    return model


NOT_SHARED = {
    "own": torch.nn.Sequential(Own(6, 3)),
    "hook": hooked("register_forward_hook"),
    "hook before": hooked("register_forward_pre_hook"),
    "another forward": replaced(),
    "parametrized": torch.nn.Sequential(parametrizations.orthogonal(torch.nn.Linear(6, 3))),
}


@pytest.mark.parametrize("which", NOT_SHARED)
def test_what_is_not_known_to_be_pure_is_read_in_one_thread(which, monkeypatch):
    model = NOT_SHARED[which]
    seen = Seen(monkeypatch)
    x, y = examples(3 * EVALUATION_BATCH, (6,))
    with fixed_arithmetic("cpu"):
        read_signals_on(3, model, x, y)
    assert seen.threads == {threading.get_ident()}


def test_what_ships_is_shared():
    for name, shape in {**SHAPES, "resnet18": (3, 8, 8)}.items():
        assert may_be_shared(build(name, shape, 3)), name


def test_an_error_in_a_batch_comes_as_on_one_core():
    x, y = examples(2 * EVALUATION_BATCH, (7,))
    with fixed_arithmetic("cpu"), pytest.raises(ModelError, match=r"got .*\[500, 7\].*expected such as in training"):
        read_signals_on(2, build("mlp", (6,), 3), x, y)


def test_where_there_are_no_more_threads_one_reads_all(monkeypatch):
    x, y = examples(2 * EVALUATION_BATCH, (6,))
    model = build("mlp", (6,), 3)
    with fixed_arithmetic("cpu"):
        expected = read_signals(model, x, y)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start")))
            assert same(read_signals_on(2, model, x, y), expected)


@pytest.fixture
def prepared(recipe):
    changed = {"model": "mlp", "audit": ("lira",), "references": 2}
    return prepare(type(recipe)(**{**recipe.to_mapping(), **changed}))


@pytest.mark.parametrize("half", [False, True])
def test_test_examples_are_asked_once_after_the_last_epoch_and_again_after_any_change(prepared, half):
    data = TensorData.of(prepared.dataset)
    job = next(job for job in prepared.jobs if job.parent is None and (job.member_set is not None) == half)
    model = build("mlp", data.input_shape, data.num_classes, job.seed)
    asked = []

    def read(model, x, y):
        asked.append(len(x))
        return read_signals(model, x, y)

    plain = PlainTrainer([Start(job, model, {}, Progress(0, {}, {}, (), 0.0))], data, read)

    def everything():
        asked.clear()
        (answers,) = plain.everything()
        fresh = read_signals(model, data.x_train, data.y_train), read_signals(model, data.x_test, data.y_test)
        assert all(map(same, answers, fresh))
        return asked[1:]

    again = [len(data.x_test)]
    with fixed_arithmetic("cpu"):
        assert everything() == again, "as for a job that takes its parent's best epoch"
        plain.train_epoch(0)
        plain.monitor()
        assert everything() == (again if half else [])
        plain.train_epoch(1)
        assert everything() == again
        plain.monitor()
        plain.go_back(0, {name: value * 1.5 for name, value in model.state_dict().items()})
        assert everything() == again
