"""Optimizers of other packages: what they remember restarts, is masked or refused, before training."""

import copy

import apollo_torch
import bitsandbytes
import pytest
import pytorch_optimizer
import schedulefree
import timm.optim
import torch
import torch_optimizer
import torchao.optim
from foreign.small import X, loss_fn, network

import redense

pytestmark = pytest.mark.foreign

Y = torch.arange(16) % 4
APOLLO = {"rank": 2, "proj": "random", "scale_type": "channel", "scale": 1, "update_proj_gap": 2, "proj_type": "std"}


def low_rank(model):
    return [{"params": p, **(APOLLO if p.dim() > 1 else {})} for p in model.parameters()]


MAKE = {
    "bitsandbytes AdamW8bit": lambda m: bitsandbytes.optim.AdamW8bit(m.parameters(), lr=0.01, min_8bit_size=16),
    "bitsandbytes AdEMAMix": lambda m: bitsandbytes.optim.AdEMAMix(m.parameters(), lr=0.01),
    "bitsandbytes AdEMAMix8bit": lambda m: bitsandbytes.optim.AdEMAMix8bit(m.parameters(), lr=0.01, min_8bit_size=16),
    "pytorch_optimizer AdEMAMix": lambda m: pytorch_optimizer.AdEMAMix(m.parameters(), lr=0.01),
    "schedulefree AdamW": lambda m: schedulefree.AdamWScheduleFree(m.parameters(), lr=0.01, warmup_steps=2),
    "schedulefree SGD": lambda m: schedulefree.SGDScheduleFree(m.parameters(), lr=0.1),
    "schedulefree RAdam": lambda m: schedulefree.RAdamScheduleFree(m.parameters(), lr=0.1),
    "pytorch_optimizer ScheduleFreeAdamW": lambda m: pytorch_optimizer.ScheduleFreeAdamW(m.parameters(), lr=0.01),
    "pytorch_optimizer Lamb": lambda m: pytorch_optimizer.Lamb(m.parameters(), lr=0.01),
    "timm Lamb": lambda m: timm.optim.Lamb(m.parameters(), lr=0.01),
    "torch_optimizer Lamb": lambda m: torch_optimizer.Lamb(m.parameters(), lr=0.01),
    "torchao AdamW8bit": lambda m: torchao.optim.AdamW8bit(m.parameters(), lr=0.01),
    "torchao AdamW4bit": lambda m: torchao.optim.AdamW4bit(m.parameters(), lr=0.01),
    "apollo_torch APOLLOAdamW": lambda m: apollo_torch.APOLLOAdamW(low_rank(m), lr=0.01),
    "timm Adahessian": lambda m: timm.optim.Adahessian(m.parameters(), lr=0.01),
    "pytorch_optimizer AdaHessian": lambda m: pytorch_optimizer.AdaHessian(m.parameters(), lr=0.01),
    "timm Lookahead": lambda m: timm.optim.Lookahead(torch.optim.Adam(m.parameters(), 0.01)),
    "torch_optimizer Lookahead": lambda m: torch_optimizer.Lookahead(torch.optim.Adam(m.parameters(), 0.01)),
    "pytorch_optimizer Lookahead": lambda m: pytorch_optimizer.Lookahead(torch.optim.Adam(m.parameters(), 0.01)),
}
CHANCE = {"timm Adahessian", "pytorch_optimizer AdaHessian"}
"""These look along random directions, so that no two first steps are the same."""
RESET_REFUSED = {"apollo_torch APOLLOAdamW": "KeyError: 'seed'", "timm Adahessian": "KeyError: 'hessian step'"}
KEEP_REFUSED = {name: "cannot be masked" for name in MAKE if name.endswith("bit")}


@pytest.fixture(autouse=True)
def bitsandbytes_of_its_own(monkeypatch):
    """bitsandbytes keeps settings for all optimizers of a process, by their parameters' places."""
    monkeypatch.setattr(bitsandbytes.optim.GlobalOptimManager, "_instance", None)


def step(model, optimizer, name, masks=None):
    if callable(train := getattr(optimizer, "train", None)):
        train()
    optimizer.zero_grad()
    loss_fn(model(X), Y).backward(create_graph=name in CHANCE)
    for key, mask in (masks or {}).items():
        model.get_parameter(key).grad.mul_(mask)
    optimizer.step()


def first_steps_alike(model, optimizer, name, dsd):
    """Whether the steps at hand, up to the first that moves, are a new optimizer's, with masks put on by hand."""
    other, masks = copy.deepcopy(model), dsd.masks
    fresh = MAKE[name](other)
    before = model[0].weight.detach().clone()
    while torch.equal(other[0].weight * masks["0.weight"], before * masks["0.weight"]):
        step(other, fresh, name, masks)
        step(model, optimizer, name)
    moved = (model[0].weight.detach() - before) * masks["0.weight"]
    expected = (other[0].weight.detach() - before) * masks["0.weight"]
    return torch.allclose(moved, expected, rtol=0, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("moments", ["reset", "keep"])
@pytest.mark.parametrize("name", MAKE)
def test_zeros_stay_and_moments_restart_or_the_optimizer_is_refused(name, moments):
    with torch.compiler.set_stance("force_eager"):  # torchao compiles its step, which takes long and changes nothing
        model = network()
        optimizer = MAKE[name](model)
        settings = {"sparsity": 0.5, "epochs": (6, 8, 8), "moments": moments}
        refused = (RESET_REFUSED if moments == "reset" else KEEP_REFUSED).get(name)
        before = copy.deepcopy(model.state_dict())
        if refused:
            with pytest.raises(redense.ModelError, match=refused):
                redense.DSD(model, optimizer, **settings)
            assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
            return
        dsd = redense.DSD(model, optimizer, **settings)
        zeros = []
        for epoch in dsd.epochs():
            if epoch == 6 and moments == "reset" and name not in CHANCE:
                assert first_steps_alike(model, optimizer, name, dsd)
            else:
                step(model, optimizer, name)
            zeros.append(model[0].weight.detach() == 0)
        assert not any(found.any() for found in zeros[:6])
        assert all(torch.equal(found, zeros[6]) and int(found.sum()) == 64 for found in zeros[6:14])
        assert int(zeros[-1].sum()) <= 6


def test_muon_for_matrices_and_adamw_for_the_rest():
    model = network()
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() != 2]
    optimizers = [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(others, 0.01)]
    dsd = redense.DSD(model, optimizers, sparsity=0.5, epochs=(3, 3, 2))
    zeros = []
    for _ in dsd.epochs():
        loss_fn(model(X), Y).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        zeros.append(int((model[0].weight == 0).sum()))
    assert zeros[:6] == [0] * 3 + [64] * 3
    assert zeros[-1] < 6


@pytest.mark.parametrize("moments", ["reset", "keep"])
@pytest.mark.parametrize("name", [name for name in MAKE if name.endswith("Lookahead")])
def test_slow_weights_are_masked_and_restart(name, moments):
    """After a boundary they are where the weights are, or come later; in the sparse phase they are sparse."""
    model = network()
    optimizer = MAKE[name](model)
    inner = getattr(optimizer, "_base_optimizer", None) or optimizer.optimizer
    weight = model[0].weight
    dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(7, 7, 7), moments=moments)

    def slow():
        states = {**inner.state.get(weight, {}), **optimizer.state.get(weight, {})}
        return [value for key, value in states.items() if "slow" in key]

    seen = 0
    for epoch in dsd.epochs():
        if epoch in (7, 14) and moments == "reset":
            assert all(torch.equal(value, weight) for value in slow())
        step(model, optimizer, name)
        seen += len(slow())
        if dsd.masks:
            assert all(value[~dsd.masks["0.weight"]].eq(0).all() for value in slow())
            assert weight[~dsd.masks["0.weight"]].eq(0).all()
    assert seen > 7, "there are slow weights"


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (pytorch_optimizer.OrthoGrad, "got OrthoGrad, a wrapper .* give DSD optimizer.optimizer"),
        (pytorch_optimizer.TRAC, "got TRAC, a wrapper .* give DSD optimizer.optimizer"),
        (pytorch_optimizer.SafeFP16Optimizer, "got SafeFP16Optimizer, a wrapper .* give DSD optimizer.optimizer"),
        (schedulefree.ScheduleFreeWrapper, "got ScheduleFreeWrapper; expected a torch.optim.Optimizer"),
    ],
)
def test_wrappers_that_nobody_knows_are_refused_by_name(wrap, message):
    model = network()
    with pytest.raises(redense.ModelError, match=message):
        redense.DSD(model, wrap(torch.optim.AdamW(model.parameters(), 0.01)), sparsity=0.5, epochs=(1, 1, 1))
