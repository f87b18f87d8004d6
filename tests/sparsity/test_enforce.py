import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redense.errors import ModelError
from redense.sparsity.enforce import masked
from redense.sparsity.masks import magnitude_masks

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adam fused": lambda p: torch.optim.Adam(p, 0.01, fused=True),
    "adam l2": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "adamw fused": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, fused=True),
}


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 4)
    ).double()


def loss_of(model, step):
    x = torch.randn(5, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
    return model(x).square().mean()


def slow_masked_step(model, optimizer, masks, step):
    """The oracle: every gradient, weight and moment of a pruned weight is set to zero, one by one."""

    def clear(tensor, mask):
        for index in (~mask).nonzero().tolist():
            tensor[tuple(index)] = 0.0

    optimizer.zero_grad()
    loss_of(model, step).backward()
    for name, mask in masks.items():
        clear(model.get_parameter(name).grad, mask)
    optimizer.step()
    with torch.no_grad():
        for name, mask in masks.items():
            parameter = model.get_parameter(name)
            clear(parameter, mask)
            for value in optimizer.state[parameter].values():
                if isinstance(value, torch.Tensor) and value.shape == mask.shape:
                    clear(value, mask)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), sparsity=st.floats(0, 0.9), warm=st.integers(0, 3), steps=st.integers(1, 4))
def test_pruned_weights_gradients_and_moments_stay_zero_and_the_rest_moves_as_in_the_oracle(
    kind, seed, sparsity, warm, steps
):
    model = network(seed)
    optimizer = OPTIMIZERS[kind](model.parameters())
    for step in range(warm):  # moments that are not zero when the mask comes
        optimizer.zero_grad()
        loss_of(model, -1 - step).backward()
        optimizer.step()
    masks = magnitude_masks(model, sparsity=sparsity)
    slow_model = copy.deepcopy(model)
    slow_optimizer = OPTIMIZERS[kind](slow_model.parameters())
    slow_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    with torch.no_grad():
        for name, mask in masks.items():
            parameter = slow_model.get_parameter(name)
            parameter[~mask] = 0
            for value in slow_optimizer.state[parameter].values():
                if isinstance(value, torch.Tensor) and value.shape == mask.shape:
                    value[~mask] = 0

    with masked(model, optimizer, masks):
        for step in range(steps):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            optimizer.step()
            slow_masked_step(slow_model, slow_optimizer, masks, step)
            for name, mask in masks.items():
                parameter = model.get_parameter(name)
                assert not parameter[~mask].any()
                assert not parameter.grad[~mask].any()
                for value in optimizer.state[parameter].values():
                    if isinstance(value, torch.Tensor) and value.shape == mask.shape:
                        assert not value[~mask].any()
    for fast, slow in zip(model.parameters(), slow_model.parameters(), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-14)


def test_an_unknown_optimizer_still_ends_every_step_with_zeros():
    class Restless(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.add_(1.0)

    model = network(0)
    optimizer = Restless(model.parameters())
    masks = magnitude_masks(model, sparsity=0.5)
    with masked(model, optimizer, masks):
        optimizer.step()
        assert all(not model.get_parameter(name)[~mask].any() for name, mask in masks.items())
    optimizer.step()
    assert all(model.get_parameter(name).all() for name in masks), "the mask should be gone after the block"


def test_channels_last_weights():
    model = network(0).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    masks = magnitude_masks(model, sparsity=0.5)
    with masked(model, optimizer, masks):
        loss_of(model, 0).backward()
        optimizer.step()
    assert all(int((model.get_parameter(n) == 0).sum()) == int((~m).sum()) for n, m in masks.items())


def test_bad_masks_change_nothing():
    model = network(0)
    before = copy.deepcopy(model.state_dict())
    others = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.1)
    own = torch.optim.SGD(model.parameters(), 0.1)
    good = {"3.weight": torch.zeros(4, 12, dtype=torch.bool)}
    cases = [
        (own, {**good, "9.weight": torch.ones(1)}, "no such parameter"),
        (own, {**good, "0.weight": torch.ones(2, 2)}, "expected .3, 1, 2, 2."),
        (others, good, "does not hold"),
    ]
    for optimizer, masks, message in cases:
        with pytest.raises(ModelError, match=message), masked(model, optimizer, masks):
            pass
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
