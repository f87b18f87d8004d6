"""A model is rebuilt from its name and its stored weights."""

import torch

from redense.models.registry import build, rebuild


def test_a_rebuilt_model_answers_as_the_stored_one():
    model = build("fmnist-cnn", (1, 28, 28), 10, seed=3)
    again = rebuild("fmnist-cnn", (1, 28, 28), 10, model.state_dict())
    x = torch.rand(4, 1, 28, 28)
    assert torch.allclose(again(x), model(x), atol=1e-6)
    weight = next(parameter for parameter in again.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_what_is_not_stored_follows_the_seed():
    name = f"{__name__}:with_a_random_buffer"
    model = build(name, (4,), 2, seed=5)
    again = rebuild(name, (4,), 2, model.state_dict(), seed=5)
    assert torch.equal(again.projection, model.projection)


def with_a_random_buffer(input_shape, num_classes):
    model = torch.nn.Linear(input_shape[0], num_classes)
    model.register_buffer("projection", torch.randn(3), persistent=False)
    return model
