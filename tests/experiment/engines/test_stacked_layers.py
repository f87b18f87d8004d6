"""The layers of a stack on the CPU against PyTorch's own, one model after the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import vmap
from torch.nn import functional

from redense.experiment.engines import stacked_layers
from redense.experiment.engines.stacked_layers import StackedLayers

PAIRS = st.sampled_from([1, 2, (1, 2), (2, 1)])


def compared(layer, *tensors, in_dims=0):
    """Check a layer under vmap, its outputs and all gradients, against the same layer of one model at a time."""
    tensors = [None if each is None else each.requires_grad_() for each in tensors]
    dims = [None if each is None else in_dims for each in tensors] if isinstance(in_dims, int) else in_dims
    given_ = [each for each in tensors if each is not None]
    models = next(len(each) for each, dim in zip(tensors, dims, strict=True) if dim == 0)

    def of(k, each, dim):
        return each if each is None or dim is None else each[k]

    expected = torch.stack(
        [layer(*(of(k, each, dim) for each, dim in zip(tensors, dims, strict=True))) for k in range(models)]
    )
    with StackedLayers():
        found = vmap(layer, in_dims=tuple(dims))(*tensors)
    weights = torch.linspace(-1, 1, expected.numel(), dtype=expected.dtype).view_as(expected)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected)
    gradients = (torch.autograd.grad((each * weights).sum(), given_) for each in (found, expected))
    for one, other in zip(*gradients, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other)


@settings(max_examples=40)
@given(
    models=st.integers(1, 3),
    examples=st.integers(1, 3),
    groups=st.sampled_from([1, 1, 1, 2]),
    channels=st.integers(1, 5),
    outputs=st.integers(1, 3),
    size=st.tuples(st.integers(7, 9), st.integers(7, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=PAIRS,
    padding=st.sampled_from([0, 1, (0, 1), (1, 0)]),
    dilation=PAIRS,
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_convolutions_are_those_of_the_models(
    models, examples, groups, channels, outputs, size, kernel, stride, padding, dilation, bias, seed
):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    compared(
        lambda x, weight, bias: functional.conv2d(x, weight, bias, stride, padding, dilation, groups),
        normal(models, examples, groups * channels, *size),
        normal(models, groups * outputs, channels, *kernel),
        normal(models, groups * outputs) if bias else None,
    )


def test_both_ways_of_convolving_are_taken(monkeypatch):
    """The property above, of one to five channels, and the tests below say nothing of a way that none of them goes."""
    product, taken = stacked_layers._product, []
    monkeypatch.setattr(stacked_layers, "_product", lambda *tensors: taken.append(channels) or product(*tensors))
    for channels in (1, 5, 8):
        with StackedLayers():
            vmap(functional.conv2d)(torch.rand(2, 3, channels, 6, 6), torch.rand(2, 4, channels, 3, 3))
    assert taken == [1]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 6), (6,)])
def test_linear_layers_are_those_of_the_models(shape, bias):
    sizes = (3, *shape), (3, 5, 6), (3, 5) if bias else None
    compared(functional.linear, *(None if size is None else torch.rand(size, dtype=torch.float64) for size in sizes))


def test_the_gradient_of_a_linear_layer_lies_in_memory_as_its_weights_do():
    x, weight = torch.rand(3, 4, 6), torch.rand(3, 5, 6, requires_grad=True)
    with StackedLayers():
        found = vmap(functional.linear)(x, weight)
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    assert gradient.is_contiguous()


@pytest.mark.parametrize("channels", [1, 8])
def test_outputs_are_channels_last_whatever_the_inputs_are(channels):
    with StackedLayers():
        found = vmap(functional.conv2d)(torch.rand(3, 2, channels, 6, 6), torch.rand(3, 4, channels, 3, 3))
    assert found.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("in_dims", [(None, 0, 0), (0, None, None), (0, 0, None)])
@pytest.mark.parametrize("channels", [1, 8])
def test_what_all_models_share_is_shared(in_dims, channels):
    shapes = (2, channels, 6, 6), (4, channels, 3, 3), (4,)
    sizes = [shape if dim is None else (3, *shape) for shape, dim in zip(shapes, in_dims, strict=True)]
    tensors = [torch.rand(size, dtype=torch.float64) for size in sizes]
    compared(functional.conv2d, *tensors, in_dims=in_dims)


def test_other_arguments_go_to_pytorch():
    shapes = (3, 2, 8, 6, 6), (3, 4, 8, 3, 3), (3, 4)
    x, weight, bias = (torch.rand(shape, dtype=torch.float64) for shape in shapes)
    compared(lambda *tensors: functional.conv2d(*tensors, padding="same"), x, weight, bias)
    compared(functional.conv2d, x[:, 0], weight, bias)
    with StackedLayers():
        assert torch.equal(functional.conv2d(x[0], weight[0]), torch.conv2d(x[0], weight[0]))


@pytest.mark.parametrize("channels", [1, 8])
def test_under_autocast_a_convolution_is_of_its_type_and_the_gradient_of_the_weights(channels):
    x, weight = torch.rand(3, 2, channels, 6, 6), torch.rand(3, 4, channels, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.stack([functional.conv2d(one, its) for one, its in zip(x, weight, strict=True)])
        with StackedLayers():
            found = vmap(functional.conv2d)(x, weight)
    assert found.dtype == expected.dtype == torch.bfloat16
    (gradient,), (other,) = (torch.autograd.grad(each.float().square().sum(), weight) for each in (found, expected))
    assert gradient.dtype == torch.float32
    assert (gradient - other).norm() < 0.02 * gradient.norm()
