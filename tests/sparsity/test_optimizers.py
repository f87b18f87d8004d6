import copy

import pytest
import torch
from torch import nn, optim

from redense import DSD, ModelError, TrainingError, magnitude_masks, masked


class SAM(optim.Optimizer):
    """As in github.com/davda54/sam: two steps a batch, of which neither calls `step`."""

    def __init__(self, params, base_optimizer, **options):
        super().__init__(params, dict(rho=0.05, **options))
        self.base_optimizer = base_optimizer(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["old"] = parameter.clone()
                parameter.add_(parameter.grad, alpha=group["rho"])
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.copy_(self.state[parameter]["old"])
        self.base_optimizer.step()
        self.zero_grad()


class Unknown(optim.SGD):
    def __init__(self, inner):
        super().__init__(inner.param_groups[0]["params"], 0.1)
        self.inner = inner


class Container(optim.Optimizer):
    """As torchtitan's OptimizersContainer: an optimizer that holds several in some collection."""

    def __init__(self, model, hold=list):
        parts = [optim.Adam(layer.parameters(), 0.01) for layer in model if isinstance(layer, nn.Linear)]
        super().__init__([parameter for part in parts for parameter in part.param_groups[0]["params"]], {"lr": 0.01})
        self.optimizers = hold(parts)

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 2))


def backward(model, number):
    model(torch.randn(8, 10, generator=torch.Generator().manual_seed(number))).square().mean().backward()


def zeros(model):
    return [int((model[index].weight == 0).sum()) for index in (0, 2)]


@pytest.mark.parametrize("base", [optim.SGD, optim.Adamax])
@pytest.mark.parametrize("moments", ["reset", "keep"])
def test_sam_is_sparse_at_both_its_points(base, moments):
    model = network()
    optimizer = SAM(model.parameters(), base, lr=0.05)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 2, 1), moments=moments)
    for epoch in dsd.epochs():
        for number in range(3):
            backward(model, number)
            optimizer.first_step()
            climbed = zeros(model)
            backward(model, number)
            optimizer.second_step()
            if epoch in (1, 2):
                assert climbed == zeros(model) == [40, 8]
    assert zeros(model) == [0, 0]


def test_those_in_a_container_are_given_instead_of_it():
    model = network()
    container = Container(model)
    dsd = DSD(model, container.optimizers, sparsity=0.5, epochs=(1, 2, 1))
    found = []
    for _ in dsd.epochs():
        for number in range(2):
            container.zero_grad()
            backward(model, number)
            container.step()
        found.append(zeros(model))
    assert found == [[0, 0], [40, 8], [40, 8], [0, 0]]


def turn(model, optimizers, number, order):
    """Train a turn; return how far each optimizer has moved its layer's biases, whose gradients are 1."""
    before = [model[layer].bias.detach().clone() for layer in (0, 2)]
    for optimizer in optimizers:
        optimizer.zero_grad()
    backward(model, number)
    for layer in (0, 2):
        model[layer].bias.grad = torch.ones_like(model[layer].bias)
    for place in order:
        optimizers[place].step()
    return tuple(
        round(float((old - model[layer].bias.detach())[0]), 4) for old, layer in zip(before, (0, 2), strict=True)
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("unit", ["epochs", "steps", "no loop"])
def test_phases_change_for_all_optimizers_at_once(unit, order):
    model = network()
    optimizers = [optim.SGD(model[layer].parameters(), 1.0) for layer in (0, 2)]
    dsd = DSD(model, optimizers, sparsity=0.5, **{"epochs" if unit == "epochs" else "steps": (2, 3, 2)})
    loops = {"epochs": dsd.epochs, "steps": dsd.steps, "no loop": lambda: range(7)}
    moved, sparse = [], []
    for number in loops[unit]():
        assert dsd.rates == pytest.approx([0.1, 0.1] if number > 4 else [1.0, 1.0])
        moved.append(turn(model, optimizers, number, order))
        sparse.append(dsd.phase.kind)
    assert moved == [(1.0, 1.0)] * 5 + [(0.1, 0.1)] * 2
    assert dsd.finished


def test_optimizers_that_do_not_step_in_every_turn():
    """Of two networks, say, of which one is trained more often."""
    model = network()
    optimizers = [optim.SGD(model[layer].parameters(), 1.0) for layer in (0, 2)]
    dsd = DSD(model, optimizers, sparsity=0.5, steps=(2, 3, 2))
    moved = [turn(model, optimizers, number, (0, 1) if number % 3 == 0 else (0,)) for number in dsd.steps()]
    assert [first for first, _ in moved] == [1.0] * 5 + [0.1] * 2
    assert [second for _, second in moved] == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.1]


def trained(order, stop=None, state=None):
    """Train turns whose steps are made by the optimizers of these places; return phases by turn, and all states."""
    model = network()
    optimizers = [optim.Adam(model[layer].parameters(), 0.01) for layer in (0, 2)]
    count = order.count(0)
    dsd = DSD(model, optimizers, sparsity=0.5, steps=(2 * count, 3 * count, 2 * count))
    parts = [model, *optimizers, dsd]
    for part, saved in zip(parts, state or [], strict=False):
        part.load_state_dict(saved)
    seen = []
    for number in dsd.steps():
        phases = []
        for place in order:
            optimizers[place].zero_grad()
            backward(model, number)
            phases.append(dsd.phase.label)
            optimizers[place].step()
        seen.append(phases)
        if number // count + 1 == stop:
            return seen, copy.deepcopy([part.state_dict() for part in parts])
    return seen, [part.state_dict() for part in parts[:-1]]


@pytest.mark.parametrize("order", [(0, 1, 1), (1, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1, 0, 1)])
def test_no_phase_begins_within_a_turn_however_many_steps_are_made_in_it(order):
    """As of GANs whose critic makes more steps; resumed at any turn they have the same bits."""
    seen, whole = trained(order)
    labels = ["dense"] * 2 + ["sparse 50%"] * 3 + ["re-dense 50%"] * 2
    assert seen == [[label] * len(order) for label in labels]
    for stop in range(1, 7):
        _, state = trained(order, stop)
        again, resumed = trained(order, state=state)
        assert again == seen[stop:]
        torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


def left_and_gone_on_with(dsd, optimizers, how):
    """Make turns in which the second optimizer makes two steps, leaving the loop again and again; yield the phases."""
    loops = 0
    while not dsd.finished and loops < 9:
        loops += 1
        turns = dsd.steps() if how == "break" else (number for _, number in zip(range(2), dsd.steps(), strict=False))
        for turn, _ in enumerate(turns):
            phases = []
            for place in (0, 1, 1):
                phases.append(dsd.phase.label)
                optimizers[place].step()
            yield phases
            if how == "break" and turn == 1:
                break


@pytest.mark.parametrize("how", ["break", "zip"])
def test_a_loop_over_steps_that_is_left_ends_its_turn(how):
    """As of one over batches: `for batch, step in zip(loader, dsd.steps())`."""
    model, told = network(), []
    optimizers = [optim.SGD(model[layer].parameters(), 0.1) for layer in (0, 2)]
    dsd = DSD(model, optimizers, sparsity=0.5, steps=(2, 2, 2), on_phase_end=lambda dsd: told.append(dsd.phase.kind))
    backward(model, 0)
    labels = ["dense"] * 2 + ["sparse 50%"] * 2 + ["re-dense 50%"] * 2
    assert list(left_and_gone_on_with(dsd, optimizers, how)) == [[label] * 3 for label in labels]
    assert told == ["dense", "sparse", "redense"]


def test_one_that_is_removed_within_a_turn_is_over():
    model = network()
    optimizers = [optim.SGD(model[layer].parameters(), 0.1) for layer in (0, 2)]
    dsd = DSD(model, optimizers, sparsity=0.5, steps=(2, 2, 2))
    backward(model, 0)
    for _ in dsd.steps():
        optimizers[0].step()
        dsd.remove()
    assert dsd.left == 0


def make_steps(optimizers, order):
    for place in order:
        optimizers[place].step()


@pytest.mark.parametrize("order", [(1, 1, 0), (0, 0, 1), (1, 0)])
def test_a_plain_loop_may_have_the_order_that_tells_where_its_turns_end(order):
    model = network()
    optimizers = [optim.SGD(model[layer].parameters(), 0.1) for layer in (0, 2)]
    dsd = DSD(model, optimizers, sparsity=0.5, steps=[count * order.count(0) for count in (2, 3, 2)])
    backward(model, 0)
    labels = []
    for _ in range(7):
        labels.append(dsd.phase.label)
        make_steps(optimizers, order)
    assert labels == ["dense"] * 2 + ["sparse 50%"] * 3 + ["re-dense 50%"] * 2


def test_a_plain_loop_of_unequal_steps_is_told_that_nobody_knows_where_its_turns_end():
    model = network()
    optimizers = [optim.SGD(model[layer].parameters(), 0.1) for layer in (0, 2)]
    dsd = DSD(model, optimizers, sparsity=0.5, steps=(2, 3, 2))
    backward(model, 0)
    with pytest.warns(UserWarning, match="nothing says where a turn of the loop ends") as told:
        make_steps(optimizers, (0, 1, 1) * 7)
    assert [one.filename for one in told] == [make_steps.__code__.co_filename], "it is about who called, and once"
    assert dsd.finished


def test_a_first_optimizer_that_makes_no_step():
    model = network()
    optimizers = [optim.SGD(model[layer].parameters(), 1.0) for layer in (0, 2)]
    DSD(model, optimizers, sparsity=0.5, steps=(2, 3, 2))
    backward(model, 0)
    for _ in range(1000):  # as many as a turn may have, whatever the phases take
        optimizers[1].step()
    with pytest.raises(TrainingError, match="the first optimizer, which has made none in 1001 steps of the others"):
        optimizers[1].step()


def test_masked_by_several_optimizers():
    model = network()
    optimizers = [optim.Rprop(model[0].parameters()), optim.Adam(model[2].parameters())]
    with masked(model, optimizers, magnitude_masks(model, sparsity=0.5)):
        backward(model, 0)
        for optimizer in optimizers:
            optimizer.step()
        assert zeros(model) == [40, 8]


def without_rates(model):
    optimizer = optim.SGD(model.parameters(), 0.1)
    del optimizer.param_groups[0]["lr"]
    return optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda model: Unknown(optim.SGD(model.parameters(), 0.1)),
            r"got Unknown, a wrapper .* give DSD optimizer.inner",
        ),
        *(
            (
                lambda model, hold=hold: Container(model, hold),
                r"got Container, a wrapper .* give DSD a list of those in optimizer.optimizers",
            )
            for hold in (
                list,
                tuple,
                set,
                lambda parts: dict(enumerate(parts)),
                lambda parts: {"adam": [{"of": each} for each in parts]},
            )
        ),
        (lambda model: [optim.SGD(model.parameters(), 0.1)] * 2, r"a weight \(8, 10\) is in two optimizers, 0 and 1"),
        (lambda model: [], "got an empty list; expected one optimizer or several"),
        (lambda model: model, "got Sequential; expected a torch.optim.Optimizer or several"),
        (lambda model: optim.SGD(model[0].parameters(), 0.1), "2.weight: the optimizer does not hold this parameter"),
        (without_rates, "got an optimizer without a rate 'lr'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_changes(make, message):
    model = network()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ModelError, match=message):
        DSD(model, make(model), sparsity=0.5, epochs=(1, 1, 1))
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
