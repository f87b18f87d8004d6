import warnings

import pytest
import torch
from torch import nn, optim

from redense import DSD, ModelError, magnitude_masks, masked
from redense.sparsity.optimizers import Optimizers
from redense.sparsity.trial import step_counters


class Warming(optim.Optimizer):
    """Takes longer and longer steps: it counts them elsewhere than in the state, or makes its state too early."""

    def __init__(self, params, lr=0.01, beta=0.9, place="default"):
        self.count = 0
        self.place = place
        super().__init__(params, {"lr": lr, "beta": beta, **({"step": 0} if place == "default" else {})})
        if place == "state":
            for parameter in self._parameters():
                self.state[parameter]["velocity"] = torch.zeros_like(parameter)

    def _parameters(self):
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _counted(self, group):
        self.count += self.place == "attribute"
        group["step"] = group.get("step", 0) + 1
        return self.count if self.place == "attribute" else group["step"]

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            number = self._counted(group)
            for parameter in group["params"]:
                state = self.state[parameter]
                if self.place != "state":
                    state.setdefault("velocity", torch.zeros_like(parameter))
                state["velocity"].mul_(group["beta"]).add_(parameter.grad, alpha=1 - group["beta"])
                parameter.add_(state["velocity"], alpha=-group["lr"] * number)


class Packed(optim.SGD):
    """Keeps a moment in a form that is none of a float for each weight."""

    form = staticmethod(lambda gradient: gradient.clone())

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                old = state["code"][0] if "code" in state else torch.zeros_like(parameter)
                moment = 0.5 * old + parameter.grad
                state["code"] = moment.new_empty(2, *moment.shape).copy_(moment)
                state["packed"] = self.form(moment)
                parameter.add_(moment, alpha=-group["lr"])


class Bytes(Packed):
    form = staticmethod(lambda gradient: gradient.to(torch.int8))


class HalfBytes(Packed):
    form = staticmethod(lambda gradient: {"codes": [gradient.flatten()[::2].to(torch.uint8)]})


class Nested(Packed):
    """As blocks of a preconditioner keep their moments."""

    form = staticmethod(lambda gradient: [{"moment": gradient.clone()}])


class Subclass(torch.Tensor):
    """Stands for tensors that are quantised inside."""


class Subclasses(Packed):
    form = staticmethod(lambda gradient: gradient.clone().as_subclass(Subclass))


class Dividing(optim.Optimizer):
    """Divides by a moment, which is zero where it has been masked."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                old = self.state[parameter].get("mean", parameter.grad.abs())
                moved = parameter.grad / old
                self.state[parameter]["mean"] = 0.5 * (old + parameter.grad.abs())
                parameter.sub_(torch.where(parameter.grad == 0, 0, moved), alpha=group["lr"])


class Late(Warming):
    """As RAdam: the first steps move nothing, and are counted."""

    def _counted(self, group):
        group["step"] = group.get("step", 0) + 1
        return 0 if group["step"] < 6 else group["step"]


class LateHidden(Late):
    """Its count is nowhere where it could be found."""

    def _counted(self, group):
        self.count += 1
        return 0 if self.count < 6 else self.count


class Undrawing(optim.SGD):
    """Consumes random numbers and warns in its step."""

    def step(self, closure=None):
        torch.rand(3)
        warnings.warn("a step", stacklevel=2)
        return super().step(closure)


class Stubborn(optim.SGD):
    """Cannot be made again: its constructor takes something else."""

    def __init__(self, model):
        super().__init__(model.parameters(), 0.01)


class Secretive(optim.SGD):
    """Fails once its weights have been masked: it keeps what it saw."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if (parameter == 0).any():
                    raise ZeroDivisionError("a weight is zero")
        return super().step(closure)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4))


def moved_at_the_first_steps_of_phases(optimizer_of, moments="reset"):
    """Train DSD with a gradient of ones; return how far the free weight of each phase's first step moves."""
    model = nn.Linear(4, 1)
    optimizer = optimizer_of(model.parameters())
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1), rates=(1, 1, 1), moments=moments)
    moved = []
    for _ in dsd.epochs():
        for step in range(5):
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            before = model.bias.detach().clone()
            optimizer.step()
            if step == 0:
                moved.append(float((before - model.bias.detach())[0]))
    return moved


@pytest.mark.parametrize("place", ["default", "made in the step"])
def test_step_counters_in_parameter_groups_restart_with_the_moments(place):
    first, *others = moved_at_the_first_steps_of_phases(lambda parameters: Warming(parameters, place=place))
    assert others == pytest.approx([first, first], rel=1e-3)
    kept = moved_at_the_first_steps_of_phases(lambda parameters: Warming(parameters, place=place), "keep")
    assert kept[1] > 5 * first
    assert step_counters(Optimizers(Warming(network().parameters(), place=place)), "reset") == (frozenset({"step"}),)


@pytest.mark.parametrize("place", ["attribute", "state"])
def test_state_that_does_not_restart_is_refused_before_training(place):
    model = network()
    optimizer = Warming(model.parameters(), place=place)
    with pytest.raises(ModelError, match=r"state of Warming does not restart between phases.*use moments=\"keep\""):
        DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1))
    DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1), moments="keep")


@pytest.mark.parametrize("kind", [Bytes, HalfBytes, Nested, Subclasses])
def test_state_that_cannot_be_masked_is_refused_where_it_is_to_be_kept(kind):
    model = network()
    optimizer = kind(model.parameters(), lr=0.1)
    with pytest.raises(ModelError, match=rf"{kind.__name__} keeps packed .* cannot be masked; use moments=\"reset\""):
        DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1), moments="keep")
    for _ in DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1)).epochs():
        model(torch.randn(8, 20)).square().mean().backward()
        optimizer.step()


def test_moments_that_cannot_go_on_from_zero_are_refused_where_they_are_to_be_kept():
    model = network()
    with pytest.raises(ModelError, match=r"Dividing goes wrong after a sparse phase.*infinite or NaN.*reset"):
        DSD(model, Dividing(model.parameters()), sparsity=0.5, epochs=(1, 1, 1), moments="keep")
    DSD(model, Dividing(model.parameters()), sparsity=0.5, epochs=(1, 1, 1))


def test_counters_of_an_optimizer_that_moves_late_restart():
    assert step_counters(Optimizers(Late(network().parameters())), "reset") == (frozenset({"step"}),)
    with pytest.raises(ModelError, match="does not restart"):
        DSD(model := network(), LateHidden(model.parameters()), sparsity=0.5, epochs=(1, 1, 1))


def test_several_moments_in_one_tensor_are_masked():
    """As AdEMAMix of bitsandbytes keeps its two."""
    model = network()
    optimizer = Packed(model.parameters(), lr=0.1)
    masks = magnitude_masks(model, sparsity=0.5)
    for inside in (False, True):
        with masked(model, optimizer, masks if inside else {}):
            for _ in range(2):
                model(torch.randn(8, 20)).square().mean().backward()
                optimizer.step()
            for name in masks if inside else ():
                parameter, pruned = model.get_parameter(name), ~masks[name]
                assert not parameter[pruned].any()
                assert not optimizer.state[parameter]["code"][:, pruned].any()
                assert optimizer.state[parameter]["code"][:, masks[name]].any()


def test_a_step_that_fails_with_masks_is_found_before_training():
    model = network()
    with pytest.raises(ModelError, match=r"Secretive goes wrong with masks.*ZeroDivisionError: a weight is zero"):
        DSD(model, Secretive(model.parameters(), lr=0.1), sparsity=0.5, epochs=(1, 1, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda model: optim.LBFGS(model.parameters()),
        lambda model: optim.Adafactor(model.parameters()),
        lambda model: Undrawing(model.parameters(), lr=0.1, momentum=0.9),
        lambda model: Warming(model.parameters()),
        Stubborn,
    ],
)
def test_a_trial_touches_neither_model_nor_optimizer_nor_random_numbers(make):
    model = network()
    optimizer = make(model)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    groups, stream = [dict(group) for group in optimizer.param_groups], torch.random.get_rng_state()
    DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1))
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [dict(group) for group in optimizer.param_groups] == groups
    assert not optimizer.state
    assert torch.equal(torch.random.get_rng_state(), stream)


def test_every_optimizer_of_torch_is_tried_out_and_passes():
    model = nn.Sequential(nn.Linear(20, 16, bias=False), nn.Linear(16, 4, bias=False))
    for name in (name for name in optim.__all__ if name not in ("Optimizer", "SparseAdam", "lr_scheduler")):
        kind = getattr(optim, name, None)
        if isinstance(kind, type) and issubclass(kind, optim.Optimizer):
            assert step_counters(Optimizers(kind(model.parameters(), lr=0.01)), "reset") == (frozenset(),)
