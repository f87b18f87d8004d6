"""DSD over any list of phases: what runs when, at which rate, and what holds after the end."""

import copy
import json

import pytest
import torch
from dsd.steps import linear_layer, state_of, train_step, zeros
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim

import redense
from redense import DSD, RedenseError, TrainingError
from redense import phases as P
from redense.methods import acdc, dsd, prune, spdf

PARTS = (P.dense(2), P.sparse(3, 0.5, (1.0, 0.2)), P.dense(2, rate=0.1), P.sparse(3, 0.9, masks="gradual"))


def linear(phases=PARTS, seed=0, **options):
    return linear_layer(seed, phases=phases, **options)


def trained(model, optimizer, dsd):
    """Train to the end; return (phase, zeros, rate) of every epoch or step."""
    seen = []
    for number in dsd.epochs() if dsd.unit == "epochs" else dsd.steps():
        seen.append((dsd.phase.label, int((~torch.cat([*dsd.masks.values()])).sum()) if dsd.masks else 0, dsd.rate))
        train_step(model, optimizer, number)
    return seen


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_any_list_runs_in_its_order_and_ends_sparse(unit):
    model, optimizer, dsd = linear(unit=unit)
    seen = trained(model, optimizer, dsd)
    assert [label for label, _, _ in seen] == [
        *["dense"] * 2,
        *["sparse 50%"] * 3,
        *["re-dense 50%"] * 2,
        *["sparse 90% (round 2)"] * 3,
    ]
    # Zhu & Gupta's cubic over three quarters of 3 epochs, which is 2: 20 * 0.9 * (1 - (1 - t/2)^3)
    assert [zeros for _, zeros, _ in seen] == [0, 0, 10, 10, 10, 0, 0, 0, 16, 18]
    assert dsd.finished
    for number in range(3):  # the masks stay in force, at the optimizer's own rate
        train_step(model, optimizer, number)
        assert dsd.rate == 0.01
        assert int((model.weight == 0).sum()) == int((~dsd.masks["weight"]).sum()) == 18
    dsd.remove()
    assert not dsd.masks
    assert not optimizer._optimizer_step_pre_hooks
    train_step(model, optimizer, 0)
    assert not (model.weight == 0).any()


def test_a_list_is_the_three_phases_where_it_says_the_same():
    listed, optimizer, by_list = linear(dsd(0.5, (2, 3, 2), (1.0, 0.5, 0.1), 2))
    trained(listed, optimizer, by_list)
    torch.manual_seed(0)
    model = nn.Linear(10, 2)
    optimizer = optim.Adam(model.parameters(), 0.01)
    of_three = DSD(model, optimizer, sparsity=0.5, epochs=(2, 3, 2), rates=(1.0, 0.5, 0.1), rounds=2)
    state = of_three.state_dict()
    trained(model, optimizer, of_three)
    assert torch.equal(listed.weight, model.weight)
    assert not by_list.masks
    again = linear(dsd(0.5, (2, 3, 2), (1.0, 0.5, 0.1), 2))[2]
    again.load_state_dict(state)  # so that states of either go on in the other


@given(begin=st.floats(0.01, 2), end=st.floats(0.01, 2), length=st.integers(1, 30))
def test_a_pair_of_rates_is_the_cosine_of_torch(begin, end, length):
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=begin)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=length, eta_min=end)
    phase = P.dense(length, (begin, end))
    for since in range(length + 1):
        assert phase.factor(since) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_a_moving_rate_multiplies_the_schedulers_unseen(unit):
    model = nn.Linear(10, 2, bias=False)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    dsd = DSD(model, optimizer, phases=[P.dense(2, (1.0, 0.2)), P.sparse(1, 0.5)], unit=unit)
    moved = []
    for number in dsd.epochs() if unit == "epochs" else dsd.steps():
        optimizer.param_groups[0]["lr"] = 0.5**number  # as a scheduler sets it
        assert dsd.rate == pytest.approx(0.5**number * [1.0, 0.6, 1.0][number])
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        model.weight.sum().backward()
        optimizer.step()
        moved.append(float((before - model.weight).detach().max()))
    assert moved == pytest.approx([1.0, 0.3, 0.25], rel=1e-5)


@settings(max_examples=20)
@given(stop=st.integers(0, 13), unit=st.sampled_from(["epochs", "steps"]), moments=st.sampled_from(["reset", "keep"]))
def test_resuming_anywhere_also_after_the_end_gives_the_same_bits(stop, unit, moments):
    """Steps 10 to 13 come after the last phase, whose masks are still in force."""
    options = {"unit": unit, "moments": moments}

    def go_on(model, optimizer, dsd, done, until):
        for number in dsd.epochs() if unit == "epochs" else dsd.steps():
            if number == until:
                break
            train_step(model, optimizer, number)
            done = number + 1
            if done == until:
                break
        for number in range(max(done, 10), until):
            train_step(model, optimizer, number)

    whole, optimizer, dsd = linear(**options)
    go_on(whole, optimizer, dsd, 0, 14)
    model, optimizer, dsd = linear(**options)
    go_on(model, optimizer, dsd, 0, stop)
    state = state_of(model, optimizer, dsd)
    again, optimizer, dsd = linear(seed=1, **options)
    again.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    dsd.load_state_dict(state["dsd"])
    go_on(again, optimizer, dsd, stop, 14)
    assert torch.equal(whole.weight, again.weight)
    assert int((again.weight == 0).sum()) == 18


def test_masks_by_chance_differ_from_round_to_round_and_repeat():
    parts = [P.sparse(1, 0.5, masks="random"), P.dense(1), P.sparse(1, 0.5, masks="random")]
    of_runs = []
    for seed in (0, 1):
        model, optimizer, dsd = linear(parts, seed=seed)
        masks = []
        for epoch in dsd.epochs():
            masks.append(dsd.masks.get("weight"))
            train_step(model, optimizer, epoch)
        assert not torch.equal(masks[0], masks[2])
        of_runs.append(masks[0])
    assert torch.equal(*of_runs), "chance is drawn from the round, not from the weights"


def test_phases_of_their_own_choice_come_before_what_dsd_is_told():
    asked = []

    def mine(model, parameters):
        asked.append(dsd.phase.round)
        return {name: parameter.detach().abs() for name, parameter in parameters.items()}

    parts = [P.sparse(1, 0.5, masks="random"), P.dense(1), P.sparse(1, 0.5), P.sparse(4, 0.9, masks="gradual")]
    model, optimizer, dsd = linear(parts, saliency=mine)
    trained(model, optimizer, dsd)
    assert asked == [2, 3, 3, 3, 3]


def test_what_is_called_at_the_end_of_a_phase_sees_both_models_of_acdc():
    ended = []
    parts = acdc(0.5, 20)
    model, optimizer, dsd = linear(parts, on_phase_end=lambda dsd: ended.append((dsd.phase.kind, zeros(dsd.model))))
    trained(model, optimizer, dsd)
    assert ended == [(p.kind, 10 if p.kind == "sparse" else 0) for p in parts]
    assert zeros(model) == 10


@pytest.mark.parametrize("phases", [spdf(0.5, 8), prune(0.5, 10), prune(0.5, 4, gradual=False)])
def test_every_method_runs_in_any_loop(phases):
    model, optimizer, dsd = linear(phases)
    seen = trained(model, optimizer, dsd)
    assert len(seen) == P.total(phases)
    assert zeros(model) == (0 if phases[-1].kind == "redense" else 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": []}, "phases: got 0 without a sparse one; expected a list of redense.phases.dense"),
        ({"phases": [P.dense(3)]}, "phases: got 1 without a sparse one; .* at least one of them sparse"),
        ({"phases": "acdc"}, "phases: got 'acdc'; expected a list of redense.phases.dense"),
        ({"phases": [10, 5]}, r"phases: got \[10, 5\]; expected a list of redense.phases.dense"),
        ({"phases": P.sparse(3, 0.5)}, "expected a list of redense.phases.dense"),
        ({"phases": [P.sparse(3)]}, "got a sparse phase without sparsity at 0; expected sparse"),
        ({"phases": [P.Phase("control", 1, 1.0, None, 1), *PARTS]}, "phases: got a control"),
        ({"sparsity": 0.5, "rounds": 2}, "got phases and sparsity, rounds; expected phases alone"),
        ({"epochs": (1, 1, 1)}, "got phases and epochs; expected phases alone"),
        ({"rates": (1, 1, 1)}, "got phases and rates; expected phases alone"),
        ({"unit": "batches"}, "unit: got 'batches'; expected one of epochs, steps"),
        ({"phases": None}, "got neither sparsity nor phases; expected sparsity=0.5"),
        ({"phases": None, "sparsity": 0.5, "epochs": (1, 1, 1), "unit": "steps"}, "unit: got 'steps' without phases"),
        ({"phases": [*PARTS, P.sparse(1, 0.99)]}, "leaves weight .20 weights. without any"),
    ],
)
def test_bad_lists_change_nothing(changes, message):
    model = nn.Linear(10, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RedenseError, match=message):
        DSD(model, optimizer, **{"phases": PARTS, **changes})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: P.dense(0), "epochs: got 0; expected an integer of at least 1"),
        (lambda: P.dense(True), "epochs: got True"),
        (lambda: P.sparse(1.5, 0.5), "epochs: got 1.5"),
        (lambda: P.sparse(1, 1.0), "sparsity: got 1.0; expected a fraction"),
        (lambda: P.sparse(1, 0.5, masks="chance"), "masks: got 'chance'; expected one of random, gradual"),
        (lambda: P.sparse(1, 0.5, masks="radnom"), "did you mean 'random'"),
        (lambda: P.dense(1, 0.0), "rate: got 0.0; expected a finite factor above 0, or a pair of them"),
        (lambda: P.dense(1, (1.0, float("nan"))), "rate: got .1.0, nan."),
        (lambda: P.dense(1, (1.0, 0.5, 0.1)), "rate: got .1.0, 0.5, 0.1."),
        (lambda: P.dense(1, "low"), "rate: got 'low'"),
    ],
)
def test_bad_phases(make, message):
    with pytest.raises(RedenseError, match=message):
        make()


def test_states_of_other_rates_and_masks_are_refused():
    dsd = linear()[2]
    for changed in (P.sparse(3, 0.9), P.sparse(3, 0.9, (1.0, 0.5), masks="gradual")):
        with pytest.raises(TrainingError, match="got a state of .*; expected .*epochs"):
            dsd.load_state_dict(linear([*PARTS[:3], changed])[2].state_dict())
    plan = json.loads(linear()[2].state_dict()["plan"])["epochs"]
    assert [phase.get("rate_end") for phase in plan] == [None, 0.2, None, None]


def test_the_public_names():
    assert redense.phases is P
    assert {redense.methods.acdc, redense.methods.dsd, redense.methods.prune, redense.methods.spdf}
