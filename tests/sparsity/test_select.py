import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from redense.dsd import DSD
from redense.errors import ModelError, RecipeError
from redense.sparsity.masks import choose_masks, magnitude_masks
from redense.sparsity.parameters import named
from redense.sparsity.select import left_dense, prunable
from redense.sparsity.zeros import measure_sparsity


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.bag = nn.EmbeddingBag(5, 4)
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 4, 3)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 5)


class Transformer(nn.Module):
    """What a vision transformer and its kin have besides layers' weights."""

    def __init__(self):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 5, 8))
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.table = nn.Parameter(torch.zeros(9, 2))
        self.patches = nn.Conv2d(3, 8, 2)
        self.norm = nn.LayerNorm([5, 8])
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
        self.experts = nn.Parameter(torch.zeros(4, 8, 8))


class Own(nn.Linear):
    pass


def former(apply, layer, name, **options):
    """Apply one of PyTorch's norms or masks that make a tensor in a hook."""
    with pytest.warns(FutureWarning) if apply is nn.utils.weight_norm else nullcontext():
        apply(layer, name, **options)
    return layer


LAYERS = {
    "subclass": (lambda: Own(4, 3), ["weight"]),
    "transposed": (lambda: nn.ConvTranspose1d(2, 3, 2), ["weight"]),
    "bilinear": (lambda: nn.Bilinear(2, 3, 4), ["weight"]),
    "lstm": (
        lambda: nn.LSTM(4, 6, proj_size=2),
        ["weight_ih_l0", "weight_hh_l0", "weight_hr_l0"],
    ),
    "gru cell": (lambda: nn.GRUCell(4, 3), ["weight_ih", "weight_hh"]),
    "attention": (lambda: nn.MultiheadAttention(4, 2), ["in_proj_weight", "out_proj.weight"]),
    "attention of other widths": (
        lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
        ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"],
    ),
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(4, 3)), ["parametrizations.weight.original1"]),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Linear(4, 3)), ["parametrizations.weight.original"]),
    "former weight_norm": (lambda: former(nn.utils.weight_norm, nn.Linear(4, 3), "weight"), ["weight_v"]),
    "former weight_norm of an lstm": (
        lambda: former(nn.utils.weight_norm, nn.LSTM(4, 6), "weight_hh_l0"),
        ["weight_ih_l0", "weight_hh_l0_v"],
    ),
    "former weight_norm of an attention": (
        lambda: former(nn.utils.weight_norm, nn.MultiheadAttention(4, 2), "in_proj_weight"),
        ["in_proj_weight_v", "out_proj.weight"],
    ),
    "former spectral_norm of an attention": (
        lambda: former(nn.utils.spectral_norm, nn.MultiheadAttention(4, 2), "in_proj_weight"),
        ["in_proj_weight_orig", "out_proj.weight"],
    ),
    "torch's own pruning of a gru": (
        lambda: former(prune.random_unstructured, nn.GRU(4, 3), "weight_hh_l0", amount=0.5),
        ["weight_ih_l0", "weight_hh_l0_orig"],
    ),
    "transformer": (Transformer, ["patches.weight", "attention.in_proj_weight", "attention.out_proj.weight"]),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_weights_of_layers_are_pruned_and_nothing_else(kind):
    make, expected = LAYERS[kind]
    assert sorted(prunable(make())) == sorted(expected)


@pytest.mark.parametrize(
    ("make", "direction"),
    [
        (lambda: parametrizations.weight_norm(nn.Linear(4, 3)), "parametrizations.weight.original1"),
        (lambda: former(nn.utils.weight_norm, nn.Linear(4, 3), "weight"), "weight_v"),
    ],
)
def test_magnitudes_of_weight_norm_are_neither_named_nor_pruned_with_their_layer(make, direction):
    model = nn.Sequential(make(), nn.Linear(3, 2))
    assert left_dense(model, prunable(model)) == {}
    for pattern in ("0", nn.Linear, "*"):
        assert list(prunable(model, include=pattern)) == [f"0.{direction}", "1.weight"]


def test_transformers_conv1d():
    pytransformers = pytest.importorskip("transformers.pytorch_utils")
    assert list(prunable(pytransformers.Conv1D(3, 4))) == ["weight"]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("default", ["first.weight", "second.weight", "out.weight"]),
        ("everything", ["embedding.weight", "bag.weight", "first.weight", "second.weight", "out.weight"]),
        ("paper", ["second.weight", "out.weight"]),
    ],
)
def test_presets(preset, expected):
    assert list(prunable(Net(), preset=preset)) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"exclude": ["out"], "preset": "paper"}, ["second.weight"]),
        ({"exclude": nn.Conv2d}, ["out.weight"]),
        ({"exclude": "first"}, ["second.weight", "out.weight"]),
        ({"include": [nn.Embedding], "exclude": ["first", "sec*"]}, ["embedding.weight", "out.weight"]),
        ({"include": ["bag.weight"], "exclude": ["bag"]}, ["first.weight", "second.weight", "out.weight"]),
        ({"exclude": ["norm"]}, ["first.weight", "second.weight", "out.weight"]),  # dense already
    ],
)
def test_inclusions_and_exclusions(settings, expected):
    assert list(prunable(Net(), **settings)) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exclude": ["frist"]}, "exclude: the pattern 'frist' matches no layer; did you mean 'first'"),
        ({"exclude": [nn.LSTM]}, "exclude: got the type LSTM; the model has no parameters in any such module"),
        ({"include": ["norm"]}, "include: got 'norm', which means norm.weight, norm.bias; expected floats of two"),
        ({"include": [3]}, "include: got 3; expected names, shell patterns or types of modules"),
        ({"exclude": [torch.Tensor]}, "exclude: got <class 'torch.Tensor'>; expected names"),
        ({"exclude": ["*"]}, "nothing is left to prune.*include some of embedding.weight"),
        ({"preset": "all"}, "preset: got 'all'; expected one of default, everything, paper"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(RecipeError, match=message):
        prunable(Net(), **settings)


def test_a_weight_shared_with_an_embedding_counts_as_one():
    net = Net()
    net.out = nn.Linear(4, 5)
    net.out.weight = net.embedding.weight
    assert list(prunable(net)) == ["first.weight", "second.weight"]
    assert list(prunable(net, preset="everything")).count("embedding.weight") == 1
    assert "out.weight" not in prunable(net, preset="everything")
    assert "embedding.weight" in prunable(net, include=["out"])  # both its names are known


def test_every_public_function_takes_the_former_name_of_a_preset():
    former, chosen = ({"sparsity": 0.5, "preset": preset} for preset in ("reference", "everything"))
    for choose in (choose_masks, magnitude_masks):
        assert list(choose(Net(), **former)) == list(choose(Net(), **chosen))
    assert measure_sparsity(Net(), preset="reference") == measure_sparsity(Net(), preset="everything")
    net = Net()
    DSD(net, torch.optim.SGD(net.parameters(), 0.1), epochs=(1, 1, 1), **former)  # raises for unknown ones


def test_frozen_weights_on_request_alone():
    net = Net()
    net.first.requires_grad_(False)
    assert "first.weight" not in prunable(net)
    assert "first.weight" in prunable(net, include=["first"])


def test_what_is_large_and_stays_dense_is_named():
    model = Transformer()
    assert set(left_dense(model, prunable(model))) >= {"experts", "positions", "norm.weight"}
    assert "experts" not in left_dense(model, prunable(model, include=["experts"]))


def compiled_inside(net):
    net.second = torch.compile(net.second)
    return net


@pytest.mark.parametrize(
    "wrap",
    [
        torch.compile,
        nn.DataParallel,
        lambda net: nn.DataParallel(torch.compile(net)),
        torch.optim.swa_utils.AveragedModel,
        compiled_inside,
    ],
)
def test_names_are_those_of_the_bare_model(wrap):
    net = Net()
    wrapped = wrap(copy.deepcopy(net))
    assert list(named(wrapped)) == [name for name, _ in net.named_parameters()]
    masks, same = (choose_masks(model, sparsity=0.5, exclude=["first"]) for model in (net, wrapped))
    assert list(masks) == list(same)
    assert all(torch.equal(masks[name], same[name]) for name in masks)


def test_lazy_parameters_have_no_shape_yet():
    with pytest.raises(ModelError, match=r"1.weight: got a lazy parameter.*send one batch through"):
        prunable(nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(2)))
