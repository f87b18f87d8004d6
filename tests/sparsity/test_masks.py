import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from redense.errors import ModelError, RecipeError
from redense.models.registry import build
from redense.sparsity.bits import pack_bits, unpack_bits
from redense.sparsity.masks import check_selection, choose_masks, magnitude_masks
from redense.sparsity.patterns import OutputChannels
from redense.sparsity.select import prunable
from redense.sparsity.zeros import measure_sparsity


@given(st.floats(0, 0.95), st.integers(0, 2**31))
def test_uniform_prunes_exactly_the_rounded_count_of_every_tensor(sparsity, seed):
    model = build("mlp", (7,), 5, seed)
    for name, mask in magnitude_masks(model, sparsity=sparsity).items():
        weights = model.get_parameter(name).detach().abs()
        assert int((~mask).sum()) == round(sparsity * mask.numel())
        if not mask.all():
            assert weights[~mask].max() <= weights[mask].min()


def test_global_prunes_exactly_the_rounded_count_of_all_tensors_together():
    model = build("fmnist-cnn", (1, 28, 28), 10)
    masks = magnitude_masks(model, sparsity=0.7, distribution="global")
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(0.7 * total)
    pooled = torch.cat([model.get_parameter(name).detach().abs().flatten() for name in masks])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert pooled[~kept].max() <= pooled[kept].min()


def test_masks_cover_kernels_and_not_biases_or_norms():
    model = build("resnet18", (3, 32, 32), 10)
    masks = magnitude_masks(model, sparsity=0.5)
    assert set(masks) == {name for name, p in model.named_parameters() if p.dim() >= 2}
    assert not any("bn" in name or name.endswith("bias") for name in masks)


def test_exclusion_by_module_name_pattern_and_parameter_name():
    model = build("fmnist-cnn", (1, 28, 28), 10)
    assert list(prunable(model, ["conv2d"])) == ["conv2d_1.weight", "dense.weight", "dense_1.weight"]
    assert list(prunable(model, ["conv*"])) == ["dense.weight", "dense_1.weight"]
    assert list(prunable(model, ["dense.weight", "conv*"])) == ["dense_1.weight"]


def test_frozen_parameters_are_left_alone():
    model = build("mlp", (4,), 2)
    model[1].weight.requires_grad_(False)
    assert "1.weight" not in magnitude_masks(model, sparsity=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.0}, "from 0 .included. to 1 .excluded."),
        ({"sparsity": -0.1}, "from 0 .included. to 1 .excluded."),
        ({"sparsity": float("nan")}, "from 0 .included. to 1 .excluded."),
        ({"sparsity": 0.5, "exclude": ["layer9"]}, "'layer9' matches no layer"),
        ({"sparsity": 0.5, "exclude": ["*"]}, "nothing is left to prune"),
        ({"sparsity": 0.9}, "leaves 1.weight .4 weights. without any"),
        ({"sparsity": 0.5, "distribution": "even"}, "expected uniform, global, erk or a mapping"),
    ],
)
def test_bad_arguments(arguments, message):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    before = model[1].weight.clone()
    with pytest.raises(RecipeError, match=message):
        magnitude_masks(model, **arguments)
    assert torch.equal(model[1].weight, before)


def test_nan_weights_are_named():
    model = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(model.weight, float("nan"))
    with pytest.raises(ModelError, match="weight: got 4 weights that are NaN"):
        magnitude_masks(model, sparsity=0.5)


def test_measured_sparsity_is_the_sparsity_asked_for():
    model = build("fmnist-cnn", (1, 28, 28), 10)
    with torch.no_grad():
        for name, mask in magnitude_masks(model, sparsity=0.3).items():
            model.get_parameter(name).mul_(mask)
    assert measure_sparsity(model) == pytest.approx(0.3, abs=1e-5)


@given(st.lists(st.booleans(), max_size=40))
def test_bits_come_back(values):
    mask = torch.tensor(values, dtype=torch.bool)
    packed = pack_bits(mask)
    assert packed.numel() == -(-len(values) // 8)
    assert np.array_equal(unpack_bits(packed, mask.shape), mask)


NORMS = {
    "parametrization": (nn.utils.parametrizations.weight_norm, "parametrizations.weight.original1"),
    "legacy": (nn.utils.weight_norm, "weight_v"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dimension", [0, 1, None])
@given(seed=st.integers(0, 999), sparsity=st.floats(0, 0.99), shared=st.sampled_from(["uniform", "global"]))
def test_each_row_that_weight_norm_divides_by_its_length_keeps_its_largest(norm, dimension, seed, sparsity, shared):
    wrap, name = NORMS[norm]
    torch.manual_seed(seed)
    layer = wrap(nn.Linear(5, 4), dim=dimension)
    weight = dict(layer.named_parameters())[name].detach()
    rows = {0: weight, 1: weight.T, None: weight.reshape(1, -1)}[dimension]
    count = round(sparsity * 20)
    if count > 20 - len(rows):
        with pytest.raises(RecipeError, match=r"divided by its length \(0/0\)|without any"):
            choose_masks(layer, sparsity=sparsity, distribution=shared)
        return
    mask = choose_masks(layer, sparsity=sparsity, distribution=shared)[name]
    largest = {row.abs().max().item() for row in rows}
    others = sorted(value for value in weight.abs().flatten().tolist() if value not in largest)
    assert sorted(weight[~mask].abs().tolist()) == others[:count]
    assert torch.isfinite(layer(torch.ones(1, 5))).all()


def test_whole_channels_of_a_direction_are_refused_before_training():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))
    with pytest.raises(RecipeError, match="a direction of weight_norm of which each of 4 is divided"):
        check_selection(layer, 0.5, {"pattern": OutputChannels()})


def test_the_sparsity_of_frozen_models_and_of_parts():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.zero_()
    assert measure_sparsity(model) == 16 / 24
    model[0].requires_grad_(False)
    assert measure_sparsity(model) == 0
    assert measure_sparsity(model, include="0") == 16 / 24
    model.requires_grad_(False)
    assert measure_sparsity(model) == 16 / 24
    assert measure_sparsity(model, exclude="1") == 1
