import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from redense import choose_masks, load_sparse, magnitude_masks, save_sparse
from redense.errors import FolderError, ModelError
from redense.models.registry import build
from redense.sparsity.enforce import apply_masks


def bits(tensor):
    return tensor.contiguous().flatten().view(torch.uint8).tolist() if tensor.numel() else []


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
VALUES = st.lists(st.sampled_from([0.0, 0.0, 0.0, -0.0, 1.5, -2.0, math.inf, math.nan]), max_size=50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sparse")


@pytest.mark.parametrize("dtype", DTYPES)
@given(values=VALUES, rows=st.integers(1, 3))
def test_every_bit_comes_back(folder, dtype, values, rows):
    state = {"w": torch.tensor([values] * rows, dtype=dtype), "steps": torch.tensor(7), "flags": torch.tensor([True])}
    save_sparse(state, folder / "file")
    loaded = load_sparse(folder / "file")
    assert set(loaded) == set(state)
    for name, tensor in state.items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
        found, expected = (torch.where(one == 0, torch.zeros_like(one), one) for one in (loaded[name], tensor))
        assert bits(found) == bits(expected)


def test_zeros_of_either_sign_take_a_bit(tmp_path):
    plain = torch.randn(1000) * (torch.arange(1000) % 5 == 0)  # which leaves negative zeros
    save_sparse({"w": plain}, tmp_path / "signed")
    save_sparse({"w": plain.abs()}, tmp_path / "unsigned")
    assert (tmp_path / "signed").stat().st_size == (tmp_path / "unsigned").stat().st_size


def stored(path, **changes):
    """Write a file of the format without a checksum, with tensors or metadata of one's own."""
    save_sparse({"w": torch.eye(20), "b": torch.ones(3)}, path)
    with safe_open(path, framework="pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != "sha256"}
    tensors = {**load_file(path), **{f"{name}:w": value for name, value in changes.pop("tensors", {}).items()}}
    tensors = {name: value.clone() for name, value in tensors.items() if value is not None}
    save_file(tensors, path, {**metadata, "format": "redense-bitmask-1", **changes})


BITS = torch.from_numpy(np.packbits(np.eye(20, dtype=bool)))


def test_a_file_of_the_first_format_is_read(tmp_path):
    stored(tmp_path / "file")
    assert torch.equal(load_sparse(tmp_path / "file")["w"], torch.eye(20))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensors": {"bitmask": BITS[:-1]}}, "has 392 bits and 20 values for 400 weights; expected a bit for each"),
        ({"tensors": {"values": torch.ones(1)}}, "has 400 bits and 1 values"),
        ({"tensors": {"values": torch.ones(20, 1)}}, "400 bits and 20 values"),
        ({"tensors": {"bitmask": BITS.float()}}, "expected a bit for each"),
        ({"tensors": {"bitmask": ~BITS}}, "expected a bit for each"),
        ({"tensors": {"bitmask": None}}, "has no bits"),
        ({"tensors": {"values": None}}, "has no bits"),
        ({"shapes": '{"w": [20, 21]}'}, "expected a bit for each"),
        ({"shapes": '{"w": [-20, -20]}'}, "expected the shape of a tensor"),
        ({"shapes": '{"w": [0, 99999999999999999999]}'}, "expected the shape of a tensor"),
        ({"shapes": '{"w": [99999999999999999999]}'}, "expected the shape of a tensor"),
        ({"shapes": f'{{"w": [1{"0" * 4000}, 1{"0" * 4000}]}}'}, "expected the shape of a tensor"),
        ({"shapes": json.dumps({"w": [2] * 100_000})}, "expected the shape of a tensor"),
        ({"shapes": json.dumps({"w": [2**62] * 64})}, "expected a bit for each"),
        ({"shapes": '{"w": "x"}'}, "shapes cannot be read"),
        ({"shapes": "7"}, "shapes cannot be read"),
        ({"shapes": "[" * 100_000}, "shapes cannot be read"),
        ({"shapes": '{"w": [20, 20], "b": [3]}'}, "b .* has no bits"),
        ({"shapes": "{}"}, "belongs to no weight"),
        ({"aliases": '{"v": "u"}'}, "which is not in the file"),
        ({"aliases": '{"b": "w"}'}, "which is not in the file"),
        ({"aliases": "{"}, "aliases cannot be read"),
    ],
)
def test_bits_values_and_names_that_do_not_fit(changes, message, tmp_path):
    stored(tmp_path / "file", **changes)
    with pytest.raises(ModelError, match=message) as error:
        load_sparse(tmp_path / "file")
    assert "\n" not in str(error.value)


def test_a_checksum_counts_whatever_format_the_file_claims(tmp_path):
    save_sparse({"w": torch.eye(20), "b": torch.ones(3)}, tmp_path / "file")
    content = (tmp_path / "file").read_bytes().replace(b"redense-bitmask-2", b"redense-bitmask-1")
    (tmp_path / "file").write_bytes(content[:-1] + b"\x40")
    with pytest.raises(ModelError, match="does not match its checksum"):
        load_sparse(tmp_path / "file")


def test_every_flipped_bit_is_found(tmp_path):
    save_sparse({"w": torch.eye(20), "b": torch.ones(3), "steps": torch.tensor(7)}, tmp_path / "file")
    original = (tmp_path / "file").read_bytes()
    expected = load_sparse(tmp_path / "file")
    for position in range(len(original)):
        content = bytearray(original)
        content[position] ^= 1 << position % 8
        (tmp_path / "file").write_bytes(content)
        try:
            found = load_sparse(tmp_path / "file")
        except ModelError:
            continue
        assert {name: bits(value) for name, value in found.items()} == {n: bits(v) for n, v in expected.items()}


@pytest.mark.parametrize("name", ["bitmask:w", "values:w", "__metadata__", 7, "\ud800"])
def test_names_that_would_be_taken_for_something_else(name, tmp_path):
    with pytest.raises(ModelError, match="got the name"):
        save_sparse({name: torch.ones(3)}, tmp_path / "file")


@pytest.mark.parametrize(("sparsity", "largest"), [(0.0, 1.01), (0.3, 0.735), (0.5, 0.535), (0.8, 0.235), (0.9, 0.135)])
def test_file_sizes_of_the_published_network(sparsity, largest, tmp_path):
    model = build("fmnist-cnn", (1, 28, 28), 10)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "dense")
    with torch.no_grad():
        for name, mask in magnitude_masks(model, sparsity=sparsity).items():
            model.get_parameter(name).mul_(mask).add_(0.0)
    save_sparse(model, tmp_path / "sparse")
    assert (tmp_path / "sparse").stat().st_size <= largest * (tmp_path / "dense").stat().st_size
    twin = build("fmnist-cnn", (1, 28, 28), 10, seed=1)
    twin.load_state_dict(load_sparse(tmp_path / "sparse"))
    assert all(bits(a.detach()) == bits(b.detach()) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_documented_way_to_read_a_file_without_redense(tmp_path):
    linear = nn.Linear(40, 30)
    with torch.no_grad():
        linear.weight[:, ::2] = 0
    save_sparse(linear, tmp_path / "file")

    with safe_open(tmp_path / "file", framework="pt") as file:
        shape = json.loads(file.metadata()["shapes"])["weight"]
        kept = np.unpackbits(file.get_tensor("bitmask:weight").numpy(), count=math.prod(shape)).astype(bool)
        weight = torch.zeros(shape)
        weight.view(-1)[torch.from_numpy(kept)] = file.get_tensor("values:weight")
    assert torch.equal(weight, linear.weight)


def test_tied_weights_are_written_once(tmp_path):
    model = nn.Sequential(nn.Linear(50, 50, bias=False), nn.Linear(50, 50, bias=False))
    model[1].weight = model[0].weight
    save_sparse(model, tmp_path / "file")
    assert (tmp_path / "file").stat().st_size < 1.1 * 4 * 2500
    loaded = load_sparse(tmp_path / "file")
    assert torch.equal(loaded["0.weight"], loaded["1.weight"])


def test_lazily_conjugate_and_negative_views_are_written_as_they_are(tmp_path):
    """PyTorch marks them with a bit, over the same memory."""
    values = torch.complex(torch.arange(4.0), torch.arange(4.0) + 1)
    state = {"plain": values, "conjugate": values.conj(), "imaginary": values.imag, "negative": values.conj().imag}
    save_sparse(state, tmp_path / "file")
    loaded = load_sparse(tmp_path / "file")
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_strided_weights(tmp_path):
    conv = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    with torch.no_grad():
        conv.weight[conv.weight < 0] = 0
    save_sparse(conv, tmp_path / "file")
    assert torch.equal(load_sparse(tmp_path / "file")["weight"], conv.weight)


def test_files_that_are_something_else(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        load_sparse(tmp_path / "missing")
    (tmp_path / "text").write_text("no safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        load_sparse(tmp_path / "text")
    save_file({"w": torch.ones(1)}, tmp_path / "dense")
    with pytest.raises(ModelError, match="got format None; expected 'redense-bitmask-2'"):
        load_sparse(tmp_path / "dense")
    assert load_file(tmp_path / "dense")


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    save_sparse({"w": torch.ones(2)}, tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    with pytest.raises(ModelError, match="extra: got int; expected a state_dict of tensors"):
        save_sparse({"w": torch.zeros(2), "extra": 3}, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before
    with pytest.raises(FolderError, match="cannot be written"):
        save_sparse({"w": torch.ones(2)}, tmp_path / "nowhere" / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


WRAPPED = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "data parallel": nn.DataParallel,
    "both": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
    "averaged": torch.optim.swa_utils.AveragedModel,
    "a layer compiled": lambda model: nn.Sequential(torch.compile(model[0], backend="eager"), model[1]),
    "a layer wrapped twice": lambda model: nn.Sequential(nn.DataParallel(nn.DataParallel(model[0])), model[1]),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_model_is_kept_under_the_names_of_the_bare_one(wrap, tmp_path):
    model = nn.Sequential(nn.Linear(9, 50), nn.BatchNorm1d(50))
    apply_masks(model, choose_masks(model, sparsity=0.9))
    save_sparse(wrap(model), tmp_path / "model.safetensors")
    loaded = nn.Sequential(nn.Linear(9, 50), nn.BatchNorm1d(50))
    loaded.load_state_dict(load_sparse(tmp_path / "model.safetensors"))
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
