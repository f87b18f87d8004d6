import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redense.errors import ModelError
from redense.sparsity import keys
from redense.sparsity import smallest as selection
from redense.sparsity.smallest import kth_smallest, smallest

# few distinct values, so that ties are the rule
VALUES = st.lists(
    st.sampled_from([0.0, -0.0, 0.25, -0.25, 1.0, -3.0, np.inf]) | st.floats(-9, 9, width=16), max_size=40
)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(params=["few", "bracket", "digits", "bracket, as on a GPU"])
def method(request, monkeypatch):
    """Each of the three ways, at sizes where an oracle is cheap; blocks of 8 make every loop turn.

    What runs on a GPU is PyTorch alone, so that it can be tried on the CPU, too.
    """
    if "GPU" in request.param:
        monkeypatch.setattr(keys, "on_cpu", lambda bits: False)
        monkeypatch.setattr(selection, "SPAN_DEVICE", 16)
    monkeypatch.setattr(keys, "BLOCK", 8)
    monkeypatch.setattr(selection, "SPAN", 16)
    if request.param != "few":
        monkeypatch.setattr(selection, "FEW", 0)
    if request.param == "digits":
        monkeypatch.setattr(selection, "_bracketed", lambda *_: None)


def oracle(tensors, count):
    """The head of a stable sort of all magnitudes, in the order of tensors and indices."""
    pooled = np.concatenate([tensor.double().abs().numpy().ravel() for tensor in tensors.values()])
    marks = np.zeros(len(pooled), dtype=bool)
    marks[np.argsort(pooled, kind="stable")[:count]] = True
    return dict(
        zip(tensors, np.split(marks, np.cumsum([tensor.numel() for tensor in tensors.values()])[:-1]), strict=True)
    )


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=3).filter(any), st.data())
def test_smallest_is_the_head_of_a_stable_sort(dtype, lists, data):
    tensors = {str(index): torch.tensor(values, dtype=dtype) for index, values in enumerate(lists)}
    count = data.draw(st.integers(0, sum(map(len, lists))))
    marks = smallest(tensors, count)
    assert {name: mark.tolist() for name, mark in marks.items()} == {
        name: mark.tolist() for name, mark in oracle(tensors, count).items()
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_large_tensors_against_sorting(dtype, share):
    """The sizes at which sampling is used, with and without half of the values zero."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(70_001, generator=generator) * (torch.rand(70_001, generator=generator) >= share)
    values = values.to(dtype)
    ordered = values.abs().sort().values
    for k in (1, 2, 300, 35_000, 35_001, 60_000, 70_000, 70_001):
        assert kth_smallest(values, k) == ordered[k - 1]


def test_a_sample_that_misses_is_made_up_for(monkeypatch):
    """With all samples from the wrong end, the answer lies outside the bracket."""
    monkeypatch.setattr(selection, "FEW", 0)
    monkeypatch.setattr(keys, "sample", lambda several, size: np.full(100, 5, dtype=np.int32))
    assert kth_smallest(torch.arange(1.0, 1001.0), 700) == 700


def test_different_float_types_are_compared_by_value():
    tensors = {"a": torch.tensor([0.5, 2.0]).half(), "b": torch.tensor([1.0, 3.0]).bfloat16(), "c": torch.tensor([0.1])}
    marks = smallest(tensors, 3)
    assert {name: mark.tolist() for name, mark in marks.items()} == {
        "a": [True, False],
        "b": [True, False],
        "c": [True],
    }


def test_strided_tensors_are_taken_in_logical_order():
    tensor = torch.zeros(2, 3, 2, 2).to(memory_format=torch.channels_last)
    marks = smallest({"w": tensor}, 5)["w"]
    assert marks.flatten().tolist() == [True] * 5 + [False] * 19


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_named_and_infinity_is_not(dtype):
    tensors = {
        "good": torch.tensor([np.inf, -1.0], dtype=dtype),
        "bad": torch.tensor([np.nan, 1, -np.nan], dtype=dtype),
    }
    with pytest.raises(ModelError, match="bad: got 2 weights that are NaN"):
        smallest(tensors, 2)
    assert smallest({"good": tensors["good"]}, 1)["good"].tolist() == [False, True]


def test_types_without_an_order_of_their_own():
    with pytest.raises(
        ModelError, match=r"w: got weights of type torch.float8_e4m3fn; expected one of float16, bfloat16"
    ):
        smallest({"w": torch.ones(3).to(torch.float8_e4m3fn)}, 1)


@pytest.mark.parametrize("count", [-1, 4])
def test_count_out_of_range(count):
    with pytest.raises(ValueError, match="expected 1 to 3"):
        smallest({"w": torch.ones(3)}, count)
