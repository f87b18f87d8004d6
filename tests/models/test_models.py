import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from redense.errors import ModelError
from redense.experiment.report.layers import layers
from redense.models.fmnist_cnn import FmnistCNN
from redense.models.names import NAMES
from redense.models.registry import MODELS, architecture, build, check_fit, load_weights

# From the published study: Keras's model.summary() of the published network
PUBLISHED = [
    ("Conv2d", (32, 26, 26), 320),
    ("ReLU", (32, 26, 26), 0),
    ("MaxPool2d", (32, 13, 13), 0),
    ("Conv2d", (64, 11, 11), 18_496),
    ("ReLU", (64, 11, 11), 0),
    ("MaxPool2d", (64, 5, 5), 0),
    ("Flatten", (1600,), 0),
    ("Linear", (250,), 400_250),
    ("ReLU", (250,), 0),
    ("Linear", (10,), 2_510),
]


def test_the_published_network_layer_for_layer():
    model = build("fmnist-cnn", (1, 28, 28), 10)
    assert [
        (layer.kind, layer.output_shape, layer.parameters) for layer in layers(model, torch.zeros(1, 1, 28, 28))
    ] == PUBLISHED
    assert sum(parameter.numel() for parameter in model.parameters()) == 421_576


@settings(max_examples=20)
@given(st.integers(10, 33), st.integers(10, 33), st.integers(0, 10**6))
def test_the_short_way_computes_the_layers_function_and_gradient(height, width, seed):
    model = FmnistCNN((2, height, width), 3).double()
    generator = torch.Generator().manual_seed(seed)
    # few distinct values, so that pooling meets ties
    x = torch.randint(0, 3, (2, 2, height, width), generator=generator).double()
    outputs, gradients = [], []
    for forward in (model.forward, lambda batch: torch.nn.Sequential.forward(model, batch)):
        model.zero_grad()
        outputs.append(forward(x))
        torch.nn.functional.cross_entropy(outputs[-1], torch.tensor([0, 2])).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-14)
    for short, literal in zip(*gradients, strict=True):
        torch.testing.assert_close(short, literal, rtol=1e-10, atol=1e-13)


def test_kernels_start_as_in_keras():
    model = build("fmnist-cnn", (1, 28, 28), 10)
    bound = (6 / (1600 + 250)) ** 0.5  # Glorot and Bengio 2010, eq. 16
    assert model.dense.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert not any(parameter.any() for name, parameter in model.named_parameters() if name.endswith("bias"))


def test_help_names_all_models():
    assert tuple(MODELS) == NAMES


@pytest.mark.parametrize("name", MODELS)
def test_every_model_fits_colour_images(name):
    model = build(name, (3, 32, 32), 7)
    check_fit(name, model, torch.zeros(2, 3, 32, 32), 7)
    with pytest.raises(ModelError, match="an output of \\(2, 7\\); expected \\(2, 8\\)"):
        check_fit(name, model, torch.zeros(2, 3, 32, 32), 8)


def test_the_layers_of_a_recurrent_network():
    model = build("factories:lstm", (6,), 3)
    assert [(layer.kind, layer.output_shape) for layer in layers(model, torch.zeros(1, 6))] == [
        ("LSTM", (6, 8)),
        ("Linear", (3,)),
    ]


def test_models_follow_the_seed_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    a, b, c = (build("fmnist-cnn", (1, 28, 28), 10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(a.dense.weight, b.dense.weight)
    assert not torch.equal(a.dense.weight, c.dense.weight)
    assert torch.equal(before, torch.random.get_rng_state())


def test_architecture_tells_structures_apart():
    assert architecture(build("mlp", (4,), 3)) == architecture(build("mlp", (4,), 3, seed=1))
    assert architecture(build("mlp", (4,), 3)) != architecture(build("mlp", (5,), 3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-18", "did you mean 'resnet18'"),
        ("nowhere.at:all", "importing nowhere.at raised ModuleNotFoundError"),
        ("factories:missing", "has no function 'missing'"),
        ("factories:failing", "raised ZeroDivisionError: no luck"),
        ("factories:no_module", "returned str; expected a torch.nn.Module"),
        ("builtins:dict", "the factory returned dict; expected a torch.nn.Module"),
        ("builtins:open", "the factory raised TypeError"),
        ("fmnist-cnn", "use --model mlp for tables"),
        ("resnet18", "use --model mlp for tables"),
    ],
)
def test_models_that_cannot_be_built(name, message):
    with pytest.raises(ModelError, match=message):
        build(name, (6,), 3)


@pytest.mark.parametrize("factory", ["without_arguments", "with_classes_alone", "with_anything"])
def test_factories_get_the_arguments_that_they_take(factory):
    model = build(f"factories:{factory}", (6,), 3)
    assert (model.in_features, model.out_features) == (6, 3)


def test_checking_and_listing_leave_every_module_its_mode():
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)).train()
    model[1].eval()  # a frozen layer stays frozen
    check_fit("mine", model, torch.zeros(2, 6), 3)
    layers(model, torch.zeros(1, 6))
    with pytest.raises(ModelError, match="raised RuntimeError"):
        check_fit("mine", model, torch.zeros(2, 5), 3)
    assert [module.training for module in (model, *model)] == [True, True, False, True]


class Caching(torch.nn.Module):
    """Keeps a mask of its first forward pass, as transformers do."""

    def __init__(self):
        super().__init__()
        self.linear, self.mask = torch.nn.Linear(6, 3), None

    def forward(self, x):
        if self.mask is None:
            self.mask = torch.ones(6)
        return self.linear(x * self.mask)


def test_what_a_model_keeps_of_an_evaluation_does_for_training():
    model = Caching()
    check_fit("mine", model, torch.zeros(2, 6), 3)
    model(torch.randn(2, 6, requires_grad=True)).sum().backward()
    assert model.linear.weight.grad is not None


def test_outputs_that_do_not_fit_the_labels():
    model = build("factories:too_few_outputs", (6,), 3)
    with pytest.raises(ModelError, match=r"output of \(2, 2\); expected \(2, 3\)"):
        check_fit("factories:too_few_outputs", model, torch.zeros(2, 6), 3)


def test_inputs_that_do_not_fit_the_model():
    with pytest.raises(ModelError, match="inputs of shape .5,. raised RuntimeError"):
        check_fit("mlp", build("mlp", (6,), 3), torch.zeros(2, 5), 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_of_any_width_are_read(tmp_path, dtype):
    model = build("mlp", (6,), 3)
    save_file({name: value.to(dtype) for name, value in model.state_dict().items()}, tmp_path / "weights")
    loaded = build("mlp", (6,), 3, seed=1)
    load_weights("mlp", loaded, tmp_path / "weights")
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], atol=0.01, rtol=0.01)


def test_weights_that_their_place_cannot_hold_are_refused(tmp_path):
    model = build("mlp", (6,), 3)
    state = {name: value.double() for name, value in model.state_dict().items()}
    next(iter(state.values()))[0, 0] = 1e300
    save_file(state, tmp_path / "weights")
    with pytest.raises(ModelError, match="has values beyond float32; expected finite ones, as in mlp"):
        load_weights("mlp", model, tmp_path / "weights")


def test_counters_may_have_become_floats_with_the_weights(tmp_path):
    model = build("resnet18", (3, 8, 8), 3)
    save_file({name: value.half() for name, value in model.state_dict().items()}, tmp_path / "weights")
    load_weights("resnet18", model, tmp_path / "weights")
    assert model.state_dict()["bn1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_weights_of_another_kind_are_refused(tmp_path, dtype):
    model = build("mlp", (6,), 3)
    state = {name: value.to(dtype) for name, value in model.state_dict().items()}
    save_file(state, tmp_path / "weights")
    with pytest.raises(ModelError, match=f"is {str(dtype).removeprefix('torch.')}; expected float32, as in mlp"):
        load_weights("mlp", model, tmp_path / "weights")
