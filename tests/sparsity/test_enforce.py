import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim

from redense.errors import ModelError
from redense.sparsity import enforce
from redense.sparsity.enforce import Enforcement, masked
from redense.sparsity.masks import magnitude_masks
from redense.sparsity.optimizers import Optimizers

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1, weight_decay=0.01),
    "sgd momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "sgd nesterov foreach": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, foreach=True),
    "sgd fused": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, fused=True),
    "sgd maximize": lambda p: optim.SGD(p, 0.01, momentum=0.9, maximize=True),
    "adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
    "adam foreach": lambda p: optim.Adam(p, 0.01, foreach=True),
    "adam loop": lambda p: optim.Adam(p, 0.01, foreach=False),
    "adam fused": lambda p: optim.Adam(p, 0.01, weight_decay=0.1, fused=True),
    "adam fused amsgrad": lambda p: optim.Adam(p, 0.01, amsgrad=True, fused=True),
    "adam capturable rate": lambda p: optim.Adam(p, torch.tensor(0.01), foreach=False),
    "adamw": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1),
    "adamw amsgrad": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1, amsgrad=True),
    "adamw fused": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1, fused=True),
    "nadam": lambda p: optim.NAdam(p, 0.01, weight_decay=0.1),
    "nadam decoupled foreach": lambda p: optim.NAdam(
        p, 0.01, weight_decay=0.1, decoupled_weight_decay=True, foreach=True
    ),
    "radam": lambda p: optim.RAdam(p, 0.01, weight_decay=0.1),
    "radam decoupled foreach": lambda p: optim.RAdam(
        p, 0.01, weight_decay=0.1, decoupled_weight_decay=True, foreach=True
    ),
    "adagrad": lambda p: optim.Adagrad(p, 0.01, weight_decay=0.1, initial_accumulator_value=0.1),
    "adagrad fused": lambda p: optim.Adagrad(p, 0.01, lr_decay=0.1, fused=True),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01, weight_decay=0.1),
    "rmsprop centered": lambda p: optim.RMSprop(p, 0.01, momentum=0.9, centered=True, foreach=True),
    "adadelta": lambda p: optim.Adadelta(p, 0.1, weight_decay=0.1),
    "adamax": lambda p: optim.Adamax(p, 0.01, weight_decay=0.1),
    "adamax foreach": lambda p: optim.Adamax(p, 0.01, foreach=True),
    "adafactor": lambda p: optim.Adafactor(p, 0.01, weight_decay=0.1),
    "rprop": lambda p: optim.Rprop(p, 0.01),
    "asgd": lambda p: optim.ASGD(p, 0.01, t0=0, weight_decay=0.1),
    "muon": lambda p: optim.Muon([w for w in p if w.dim() == 2], 0.01, weight_decay=0.1),
    "lbfgs": lambda p: optim.LBFGS(p, 0.1, max_iter=3, history_size=2),
    "groups": lambda p: optim.SGD(
        [{"params": w, "lr": 0.1 / (i + 1), "momentum": 0.5 * (i % 2)} for i, w in enumerate(p)]
    ),
}


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 4)
    ).double()


def loss_of(model, step):
    x = torch.randn(5, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
    return model(x).square().mean()


def clear(tensor, mask):
    """Set what is pruned to zero, one element at a time."""
    for index in (~mask).nonzero().tolist():
        tensor[tuple(index)] = 0.0


def moments(optimizer, parameter):
    state = optimizer.state.get(parameter, {})
    return [v for v in state.values() if isinstance(v, torch.Tensor) and v.shape == parameter.shape]


@torch.no_grad()
def slow_masks(model, optimizer, masks):
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        clear(parameter, mask)
        for moment in moments(optimizer, parameter):
            clear(moment, mask)


def closure_of(model, optimizer, losses, clip, before_step=lambda: None):
    """Zero, then backward once for each accumulated loss, then clip: as a training step does."""

    def closure():
        optimizer.zero_grad()
        for loss in losses:
            value = loss_of(model, loss)
            value.backward()
        before_step()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        return value

    return closure


def train_step(optimizer, closure, inside=False):
    """Compute gradients before the step or, as closures, inside it."""
    if inside or isinstance(optimizer, torch.optim.LBFGS):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


def slow_masked_step(model, optimizer, masks, losses, clip, inside):
    """The oracle: every gradient, weight and moment of a pruned weight is set to zero, one by one."""

    def mask_gradients():
        for name, mask in masks.items():
            clear(model.get_parameter(name).grad, mask)

    train_step(optimizer, closure_of(model, optimizer, losses, clip, mask_gradients), inside)
    slow_masks(model, optimizer, masks)


def warmed_up(kind, seed, steps):
    """A model and its optimizer, with moments that are not zero when the mask comes."""
    model = network(seed)
    optimizer = OPTIMIZERS[kind](list(model.parameters()))
    for step in range(steps):
        train_step(optimizer, closure_of(model, optimizer, [-1 - step], clip=False))
    return model, optimizer


@pytest.mark.parametrize("kind", OPTIMIZERS)
@settings(max_examples=8)
@given(
    seed=st.integers(0, 1000),
    sparsity=st.floats(0, 0.9),
    warm=st.integers(0, 2),
    steps=st.integers(1, 3),
    accumulated=st.integers(1, 2),
    clip=st.booleans(),
    inside=st.booleans(),
)
def test_pruned_weights_gradients_and_moments_stay_zero_and_the_rest_moves_as_in_the_oracle(
    kind, seed, sparsity, warm, steps, accumulated, clip, inside
):
    (model, optimizer), (slow_model, slow_optimizer) = (warmed_up(kind, seed, warm) for _ in range(2))
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    masks = {n: m for n, m in magnitude_masks(model, sparsity=sparsity).items() if id(model.get_parameter(n)) in held}
    slow_masks(slow_model, slow_optimizer, masks)

    with masked(model, optimizer, masks):
        for step in range(steps):
            losses = [10 * step + number for number in range(accumulated)]
            train_step(optimizer, closure_of(model, optimizer, losses, clip), inside)
            slow_masked_step(slow_model, slow_optimizer, masks, losses, clip, inside)
            for name, mask in masks.items():
                parameter = model.get_parameter(name)
                for tensor in (parameter, parameter.grad, *moments(optimizer, parameter)):
                    assert not tensor[~mask].any()
    for fast, slow in zip(model.parameters(), slow_model.parameters(), strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=0, equal_nan=True)


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


def test_moments_of_unknown_meaning_are_left_alone():
    """An 8-bit optimizer's codes: 0 is not what stands for zero."""
    model = network(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    weight = model.get_parameter("3.weight")
    optimizer.state[weight]["codes"] = torch.full(weight.shape, 7, dtype=torch.uint8)
    with masked(model, optimizer, magnitude_masks(model, sparsity=0.5)):
        assert (optimizer.state[weight]["codes"] == 7).all()


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


def test_pruned_gradients_do_not_count_in_the_norm():
    model = network(0)
    masks = magnitude_masks(model, sparsity=0.5)
    with masked(model, torch.optim.SGD(model.parameters(), 0.1), masks):
        loss_of(model, 0).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    kept = [p.grad[masks[n]] if n in masks else p.grad.flatten() for n, p in model.named_parameters()]
    assert norm == pytest.approx(torch.cat(kept).norm().item())


def test_gradients_set_or_changed_by_hand_are_masked_at_the_step():
    model = network(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    masks = magnitude_masks(model, sparsity=0.5)
    weight, mask = model.get_parameter("3.weight"), masks["3.weight"]
    with masked(model, optimizer, masks):
        loss_of(model, 0).backward()
        weight.grad.add_(1.0)  # noise, as for differential privacy
        optimizer.step()
        assert not weight[~mask].any()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        assert not weight[~mask].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_no_numbers_leave_pruned_weights_at_zero(value):
    model = network(0)
    optimizer = torch.optim.Adam(model.parameters())
    masks = magnitude_masks(model, sparsity=0.5)
    with masked(model, optimizer, masks):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, value)
        optimizer.step()
        assert all(
            torch.equal(model.get_parameter(n)[~m], torch.zeros_like(model.get_parameter(n)[~m]))
            for n, m in masks.items()
        )


def test_zero_over_zero_in_an_optimizer_without_eps():
    model = torch.nn.Linear(4, 2)
    optimizer = optim.Adam(model.parameters(), 0.1, eps=0.0)
    masks = magnitude_masks(model, sparsity=0.5)
    with masked(model, optimizer, masks):
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
    assert (model.weight[~masks["weight"]] == 0).all()
    assert model.weight.isfinite().all()


@pytest.mark.parametrize("sparse", [False, True])
def test_embeddings_with_dense_and_sparse_gradients(sparse):
    model = torch.nn.Embedding(7, 4, sparse=sparse)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    masks = magnitude_masks(model, sparsity=0.5, preset="everything")
    with masked(model, optimizer, masks):
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.tensor([1, 3, 3])).square().sum().backward()
            optimizer.step()
            assert not model.weight[~masks["weight"]].any()


def test_parameters_added_to_the_optimizer_later_are_left_alone():
    model = network(0)
    optimizer = torch.optim.Adam([model.get_parameter("3.weight")])
    masks = {"3.weight": magnitude_masks(model, sparsity=0.5)["3.weight"]}
    with masked(model, optimizer, masks):
        optimizer.add_param_group({"params": [model.get_parameter("0.weight")]})
        loss_of(model, 0).backward()
        optimizer.step()
    assert not model.get_parameter("3.weight")[~masks["3.weight"]].any()
    assert model.get_parameter("0.weight").all()


@pytest.mark.parametrize(("most", "bytes_a_weight"), [(300 * 200 + 200 * 10, 4), (300 * 200 + 200 * 10 - 1, 1)])
def test_masks_of_large_models_cost_one_byte_a_weight(monkeypatch, most, bytes_a_weight):
    monkeypatch.setattr(enforce, "WIDE", most)
    model = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.Linear(200, 10))
    masks = magnitude_masks(model, sparsity=0.5)
    enforcement = Enforcement(model, Optimizers(torch.optim.SGD(model.parameters(), 0.1)), masks)
    assert enforcement.mask_bytes == bytes_a_weight * (300 * 200 + 200 * 10)
    assert all(torch.equal(enforcement.masks[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_masks_of_either_width_train_the_same_bits(monkeypatch, dtype):
    torch.manual_seed(0)
    original = torch.nn.Sequential(
        torch.nn.Conv2d(4, 64, 1), torch.nn.Conv2d(64, 64, 3), torch.nn.Flatten(), torch.nn.Linear(64, 600)
    ).to(dtype, memory_format=torch.channels_last)
    x = torch.randn(2, 4, 3, 3, dtype=dtype)

    def trained():
        model = copy.deepcopy(original)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
        with masked(model, optimizer, magnitude_masks(model, sparsity=0.5)):
            for _ in range(2):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
        return [*model.parameters(), *(state["momentum_buffer"] for state in optimizer.state.values())]

    wide = trained()
    monkeypatch.setattr(enforce, "WIDE", 0)
    for one, other in zip(wide, trained(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one.signbit(), other.signbit())


@given(
    st.integers(1, 70),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.sampled_from([torch.int8, torch.int16, torch.int32, torch.int64]),
)
def test_zero_where_in_blocks_and_whole(n, dtype, width):
    values = torch.randn(n, generator=torch.Generator().manual_seed(n)).to(dtype)
    mask = torch.rand(n, generator=torch.Generator().manual_seed(n + 1)) > 0.5
    expected = torch.where(mask, values, torch.zeros((), dtype=dtype))
    block, small, enforce.BLOCK, enforce.SMALL = enforce.BLOCK, enforce.SMALL, 8, 4
    try:
        enforce.zero_where(values, mask.to(width).neg())
    finally:
        enforce.BLOCK, enforce.SMALL = block, small
    assert torch.equal(values, expected)
    assert not values.signbit()[~mask].any()


def test_the_hooks_leave_no_trace():
    model, fresh = network(0), network(0)
    optimizer = torch.optim.Adam(model.parameters())
    with masked(model, optimizer, magnitude_masks(model, sparsity=0.5)):
        assert list(model.state_dict()) == list(fresh.state_dict())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())


WRITTEN = {
    "load_state_dict": lambda model, dense: model.load_state_dict(dense),
    "a layer's load_state_dict": lambda model, dense: model[0].load_state_dict(
        {name.removeprefix("0."): values for name, values in dense.items() if name.startswith("0.")}
    ),
    "noise": lambda model, dense: model[0].weight.add_(1.0),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW, optim.Rprop])
def test_weights_and_moments_written_between_steps_are_zero_after_the_next(kind, write):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    optimizer = kind(model.parameters(), 0.01, **({"momentum": 0.9} if kind is optim.SGD else {}))
    inputs = torch.randn(8, 6)

    def step():
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    step()
    dense, dense_moments = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    masks = magnitude_masks(model, sparsity=0.5)
    with masked(model, optimizer, masks):
        step()
        with torch.no_grad():
            write(model, dense)
        assert bool(model[0].weight[~masks["0.weight"]].any())
        step()
        assert not any(bool(model[n].weight[~masks[f"{n}.weight"]].any()) for n in (0, 1))
        optimizer.load_state_dict(dense_moments)
        step()
        assert not any(bool(model[n].weight[~masks[f"{n}.weight"]].any()) for n in (0, 1))


def test_ordinary_steps_of_optimizers_that_leave_zeros_alone_mask_no_weights_again(monkeypatch):
    model = nn.Linear(6, 4)
    optimizer = optim.Adam(model.parameters(), 0.01)
    with masked(model, optimizer, magnitude_masks(model, sparsity=0.5)):
        monkeypatch.setattr(Enforcement, "_zero_weights_and_moments", lambda self: pytest.fail("masked again"))
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(8, 6)).square().mean().backward()
            optimizer.step()
