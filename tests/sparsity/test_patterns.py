import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redense import RedenseError, choose_masks
from redense.sparsity.patterns import Block, NofM, OutputChannels


def layer(kind, *sizes, seed=0, **options):
    torch.manual_seed(seed)
    return kind(*sizes, **options)


@given(st.integers(0, 1000), st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4)]))
def test_n_of_m_keeps_the_largest_of_every_group_of_inputs(seed, numbers):
    n, m = numbers
    conv = layer(torch.nn.Conv2d, 8, 3, 2, seed=seed)
    mask = choose_masks(conv, sparsity=1 - n / m, pattern=NofM(n, m))["weight"]
    weight = conv.weight.detach().abs()
    for out in range(3):
        for row in range(2):
            for column in range(2):
                for start in range(0, 8, m):
                    group = weight[out, start : start + m, row, column].tolist()
                    kept = sorted(range(m), key=lambda index: (-group[index], -index))[:n]
                    expected = [index in kept for index in range(m)]
                    assert mask[out, start : start + m, row, column].tolist() == expected


def test_n_of_m_takes_a_transposed_convolutions_inputs_from_its_first_dimension():
    conv = layer(torch.nn.ConvTranspose1d, 4, 3, 1)
    mask = choose_masks(conv, sparsity=0.5, pattern=NofM(2, 4))["weight"]
    assert (mask.sum(0) == 2).all()


def test_two_of_four_is_what_the_hardware_format_takes():
    """PyTorch's own reference conversion accepts the pattern and gives the matrix back."""
    from torch.sparse._semi_structured_conversions import (
        sparse_semi_structured_from_dense_cutlass,
        sparse_semi_structured_to_dense_cutlass,
    )

    linear = layer(torch.nn.Linear, 64, 64).half()
    mask = choose_masks(linear, sparsity=0.5, pattern=NofM(2, 4))["weight"]
    pruned = linear.weight.detach() * mask
    values, meta = sparse_semi_structured_from_dense_cutlass(pruned)
    assert torch.equal(sparse_semi_structured_to_dense_cutlass(values, meta), pruned)


@given(st.integers(0, 1000), st.sampled_from([(1, 4), (2, 2), (4, 1)]), st.floats(0, 0.9))
def test_blocks_go_as_a_whole_the_smallest_first(seed, size, sparsity):
    rows, columns = size
    linear = layer(torch.nn.Linear, 12, 8, seed=seed)
    mask = choose_masks(linear, sparsity=sparsity, pattern=Block(rows, columns))["weight"]
    kept, pruned = [], []
    for top in range(0, 8, rows):
        for left in range(0, 12, columns):
            block = slice(top, top + rows), slice(left, left + columns)
            assert mask[block].all() or not mask[block].any()
            (kept if mask[block].all() else pruned).append(linear.weight[block].double().abs().mean().item())
    assert len(pruned) == round(sparsity * 96 / (rows * columns))
    assert not pruned or not kept or max(pruned) <= min(kept)


@pytest.mark.parametrize("kind", [torch.nn.Conv2d, torch.nn.ConvTranspose2d])
def test_output_channels_go_as_a_whole(kind):
    conv = layer(kind, 3, 8, 2)
    mask = choose_masks(conv, sparsity=0.5, pattern=OutputChannels())["weight"]
    weight, mask = (t.transpose(0, 1) if kind is torch.nn.ConvTranspose2d else t for t in (conv.weight, mask))
    channels = mask.flatten(1)
    norms = weight.detach().abs().flatten(1).sum(1)
    assert (channels.all(1) | ~channels.any(1)).all()
    assert channels.any(1).sum() == 4
    assert norms[~channels.any(1)].max() <= norms[channels.any(1)].min()


def test_blocks_of_all_tensors_together():
    model = torch.nn.Sequential(layer(torch.nn.Linear, 8, 8), layer(torch.nn.Linear, 8, 16, seed=1))
    masks = choose_masks(model, sparsity=0.5, pattern=Block(4, 4), distribution="global")
    assert sum(int((~mask).sum()) for mask in masks.values()) == 6 * 16  # of 4 + 8 blocks


@pytest.mark.parametrize(
    ("pattern", "settings", "message"),
    [
        (NofM(2, 4), {}, "0.weight: got 10 inputs, which 4 does not divide"),
        (NofM(1, 5), {}, "sparsity: got 0.5; expected 0.8, which 1 of 5 means"),
        (NofM(1, 2), {"distribution": "global"}, "distribution: got 'global'; expected uniform"),
        (Block(4, 3), {}, "0.weight: got a matrix of 6 by 10, which blocks of 4 by 3 do not divide"),
        (OutputChannels(), {"sparsity": 0.95}, "leaves 0.weight .6 weights. without any"),
    ],
)
def test_patterns_that_do_not_fit(pattern, settings, message):
    model = torch.nn.Sequential(torch.nn.Linear(10, 6))
    with pytest.raises(RedenseError, match=message):
        choose_masks(model, **{"sparsity": 0.5, "pattern": pattern, **settings})


@pytest.mark.parametrize("make", [lambda: NofM(4, 4), lambda: NofM(0, 4), lambda: Block(0, 4)])
def test_impossible_patterns(make):
    with pytest.raises(RedenseError, match="pattern: got"):
        make()
