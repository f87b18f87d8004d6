import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

from redense import DSD, RedenseError, patterns, saliency, schedules


def train_step(model, optimizer, number):
    x = torch.randn(8, 10, generator=torch.Generator().manual_seed(number))
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def linear(seed=0, **options):
    torch.manual_seed(seed)
    model = nn.Linear(10, 2)
    optimizer = optim.Adam(model.parameters(), 0.01)
    if "steps" not in options:
        options = {"epochs": (1, 1, 1), **options}
    return model, optimizer, DSD(model, optimizer, sparsity=0.5, **options)


def zeros(model):
    return int((model.weight == 0).sum())


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW, optim.Adagrad, optim.Rprop])
def test_phases_masks_and_rounds(kind):
    model = nn.Linear(10, 2)
    optimizer = kind(model.parameters(), 0.01)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(2, 2, 1), rounds=2)
    seen = []
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        seen.append((epoch, dsd.phase.label, zeros(model)))
    assert seen == [
        (0, "dense", 0),
        (1, "dense", 0),
        (2, "sparse 50%", 10),
        (3, "sparse 50%", 10),
        (4, "re-dense 50%", 0),
        (5, "sparse 50% (round 2)", 10),
        (6, "sparse 50% (round 2)", 10),
        (7, "re-dense 50% (round 2)", 0),
    ]
    assert dsd.finished


def test_steps_move_through_the_phases_without_a_generator():
    model, optimizer, dsd = linear(steps=(2, 3, 2))
    seen = []
    for number in range(9):
        seen.append(dsd.phase.kind)
        train_step(model, optimizer, number)
    assert seen == ["dense"] * 2 + ["sparse"] * 3 + ["redense"] * 4
    assert dsd.finished
    assert not dsd.masks


def test_steps_count_what_the_optimizer_did():
    model, optimizer, dsd = linear(steps=(1, 2, 1))
    seen = []
    for number in dsd.steps():
        if len(seen) % 2:  # every other turn makes a step, as with accumulated gradients
            train_step(model, optimizer, number)
        seen.append(number)
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_step_that_only_makes_the_optimizers_state_does_not_count():
    model, optimizer, dsd = linear(steps=(1, 2, 1))
    get_optimizer_state_dict(model, optimizer)  # steps at rate 0 with gradients of 0
    assert optimizer.state
    assert dsd.progress == 0
    optimizer.param_groups[0]["lr"] = 0.0  # as a warm-up may begin
    train_step(model, optimizer, 0)
    assert dsd.progress == 1


def test_no_dense_epochs_for_a_model_already_trained():
    model, _, dsd = linear(epochs=(0, 1, 1))
    assert zeros(model) == 0, "nothing happens before the start"
    kinds = [dsd.phase.kind for _ in dsd.epochs()]
    assert kinds == ["sparse", "redense"]


@pytest.mark.parametrize("kind", ["number", "tensor"])
def test_the_rate_factor_multiplies_the_schedulers_rate_unseen(kind):
    model = nn.Linear(10, 2, bias=False)
    optimizer = optim.SGD(model.parameters(), lr=1.0 if kind == "number" else torch.tensor(1.0))
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1), rates=(1.0, 1.0, 0.1))
    moved = []
    for _ in dsd.epochs():
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        model.weight.sum().backward()  # a gradient of one everywhere
        optimizer.step()
        moved.append((before - model.weight).detach().max().item())
        scheduler.step()
    assert moved == pytest.approx([1.0, 0.5, 0.025], rel=1e-5)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.125)


def test_a_step_that_fails_does_not_change_the_rate():
    model, optimizer, dsd = linear(epochs=(1, 1, 1), rates=(0.5, 1, 0.1))
    for epoch in dsd.epochs():
        with pytest.raises(ZeroDivisionError):
            optimizer.step(lambda: 1 / 0)
        train_step(model, optimizer, epoch)
        assert optimizer.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize(("moments", "expected"), [("reset", [1, 2, 1, 1]), ("keep", [1, 2, 3, 4])])
def test_moments_at_the_boundaries(moments, expected):
    model, optimizer, dsd = linear(epochs=(2, 1, 1), moments=moments)
    steps = []
    for epoch in dsd.epochs():
        if dsd.phase.kind == "sparse":
            for moment in ("exp_avg", "exp_avg_sq"):
                kept = optimizer.state[model.weight][moment] if moments == "keep" else torch.zeros(2, 10)
                assert not kept[~dsd.masks["weight"]].any()
        train_step(model, optimizer, epoch)
        steps.append(int(optimizer.state[model.weight]["step"]))
    assert steps == expected


def test_moments_a_user_brings_along_survive_the_start():
    model, optimizer, dsd = linear()
    train_step(model, optimizer, 0)
    next(dsd.epochs())
    assert optimizer.state


def test_adagrad_starts_again_from_its_initial_sum():
    model = nn.Linear(10, 2)
    optimizer = optim.Adagrad(model.parameters(), initial_accumulator_value=0.5)
    for epoch in DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1)).epochs():
        if epoch == 2:
            assert (optimizer.state[model.weight]["sum"] == 0.5).all()
            assert optimizer.state[model.weight]["step"] == 0
        train_step(model, optimizer, epoch)


def test_gradual_pruning_is_nested_and_ends_at_the_sparsity():
    model, optimizer, dsd = linear(epochs=(1, 8, 1), schedule=schedules.Cubic(every=2))
    counts, before = [], torch.zeros(2, 10, dtype=torch.bool)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if dsd.phase.kind == "sparse":
            pruned = ~dsd.masks["weight"]
            assert (pruned | ~before).all()
            counts.append(int(pruned.sum()))
            before = pruned
    # Zhu & Gupta, equation 1, by hand: T = 6, updates at 0, 2, 4, 6: 20 * 0.5 * (1 - (1 - t/6)^3) = 0, 7.04, 9.63, 10
    assert counts == [0, 0, 7, 7, 10, 10, 10, 10]


def test_gradual_pruning_by_chance_never_brings_a_weight_back():
    def another_each_time(model, parameters):
        return saliency.random(epoch)(model, parameters)

    model, optimizer, dsd = linear(epochs=(1, 8, 1), schedule=schedules.Cubic(), saliency=another_each_time)
    before = torch.zeros(2, 10, dtype=torch.bool)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if dsd.phase.kind == "sparse":
            assert (~dsd.masks["weight"] | ~before).all()
            before = ~dsd.masks["weight"]
    assert before.sum() == 10


def test_explicit_sparsities_rise_in_proportion():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    optimizer = optim.SGD(model.parameters(), 0.1)
    dsd = DSD(
        model,
        optimizer,
        sparsity=0.8,
        epochs=(0, 4, 1),
        schedule=schedules.Cubic(share=0.5),
        distribution={"0": 0.4},
    )
    counts = []
    for _ in dsd.epochs():
        if dsd.phase.kind == "sparse":
            counts.append(tuple(int((~mask).sum()) for mask in dsd.masks.values()))
    assert counts == [(0, 0), (35, 70), (40, 80), (40, 80)]


def state_of(model, optimizer, dsd):
    """All three states, through a file that holds no code, as users keep them."""
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "dsd": dsd.state_dict()}, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@settings(max_examples=12)
@given(stop=st.integers(0, 9), model_first=st.booleans(), moments=st.sampled_from(["reset", "keep"]))
def test_resuming_at_any_step_gives_the_same_bits(stop, model_first, moments):
    options = {"steps": (2, 3, 2), "moments": moments, "schedule": schedules.Cubic(share=0.9), "rounds": 2}
    model, optimizer, dsd = linear(**options)
    for number in range(12):
        if number == stop:
            state = state_of(model, optimizer, dsd)
        train_step(model, optimizer, number)

    again, optimizer_again, dsd_again = linear(seed=1, **options)
    if not model_first:
        dsd_again.load_state_dict(state["dsd"])
    again.load_state_dict(state["model"])
    optimizer_again.load_state_dict(state["optimizer"])
    if model_first:
        dsd_again.load_state_dict(state["dsd"])
    for number in range(stop, 12):
        train_step(again, optimizer_again, number)
    assert torch.equal(model.weight, again.weight)
    assert dsd_again.finished


def test_resuming_within_an_epoch():
    model, optimizer, dsd = linear(epochs=(1, 2, 1))
    seen = []
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if epoch == 2:
            break
    state = state_of(model, optimizer, dsd)
    again, optimizer_again, dsd_again = linear(seed=1, epochs=(1, 2, 1))
    again.load_state_dict(state["model"])
    optimizer_again.load_state_dict(state["optimizer"])
    dsd_again.load_state_dict(state["dsd"])
    assert torch.equal(dsd_again.masks["weight"], dsd.masks["weight"])
    for epoch in dsd_again.epochs():
        seen.append((epoch, dsd_again.phase.kind))
        train_step(again, optimizer_again, epoch)
    assert seen == [(2, "sparse"), (3, "redense")]


def test_masks_are_stored_as_bits():
    _, _, dsd = linear()
    next(dsd.epochs())
    bits = dsd.state_dict()["masks"]["weight"]
    assert (bits.dtype, tuple(bits.shape)) == (torch.uint8, (2, 2))  # ten bits are two bytes a row


def test_a_break_keeps_the_phase_and_remove_leaves_no_trace():
    model, optimizer, dsd = linear()
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if epoch == 1:
            break
    train_step(model, optimizer, 2)
    assert zeros(model) == 10
    assert next(dsd.epochs()) == 1
    dsd.remove()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not model.weight._post_accumulate_grad_hooks
    assert not dsd.masks
    train_step(model, optimizer, 3)
    assert zeros(model) == 0


def test_copies_and_averages_know_nothing_of_dsd():
    model, optimizer, dsd = linear()
    average = optim.swa_utils.AveragedModel(model)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        average.update_parameters(model)
        twin = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for other in (twin, loaded):
            assert list(other.state_dict()) == ["weight", "bias"]
            assert [name for name, _ in other.named_parameters()] == ["weight", "bias"]
            assert torch.equal(other.weight, model.weight)
            other(torch.ones(1, 10)).sum().backward()
            assert other.weight.grad.all(), "a copy is not masked"
        exported = torch.export.export(model, (torch.ones(1, 10),)).module()
        assert torch.equal(exported(torch.ones(1, 10)), model(torch.ones(1, 10)))


SETTINGS = {"sparsity": 0.5, "epochs": (1, 1, 1)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": 1.0}, "sparsity: got 1.0; expected a fraction"),
        ({"sparsity": "half"}, "sparsity: got 'half'; expected a fraction"),
        ({"sparsity": 0.99}, "leaves weight .20 weights. without any"),
        ({"epochs": (1, 1)}, "epochs: got .1, 1.; expected three integers"),
        ({"epochs": (1, 0, 1)}, "epochs: got .1, 0, 1.; .* 0 or more dense, at least 1 sparse and re-dense"),
        ({"epochs": (1, 1, 0.5)}, "epochs: got .* expected three integers"),
        ({"steps": (1, 1, 1)}, "got both or neither of epochs and steps"),
        ({"epochs": None}, "got both or neither of epochs and steps"),
        ({"rounds": 0}, "rounds: got 0; expected 1 to 10,000"),
        ({"rates": (1, 1, -0.1)}, "rates: got .* expected three finite factors"),
        ({"moments": "forget"}, "moments: got 'forget'; expected reset or keep"),
        ({"exclude": ["wieght"]}, "exclude: the pattern 'wieght' matches no layer; did you mean 'weight'?"),
        ({"preset": "article"}, "preset: got 'article'; expected one of default, everything, paper"),
        ({"distribution": "even"}, "distribution: got 'even'; expected uniform"),
        ({"distribution": {"wieght": 0.1}}, "distribution: the pattern 'wieght' matches no layer"),
        ({"distribution": {"weight": 1.0}}, "distribution: weight: got 1.0; expected a fraction"),
        ({"pattern": patterns.NofM(2, 4)}, "weight: got 10 inputs, which 4 does not divide"),
        ({"pattern": patterns.NofM(1, 5)}, "sparsity: got 0.5; expected 0.8, which 1 of 5 means"),
        ({"pattern": patterns.Block(4, 4)}, "weight: got a matrix of 2 by 10, which blocks of 4 by 4 do not divide"),
    ],
)
def test_bad_settings_change_nothing(changes, message):
    model = nn.Linear(10, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RedenseError, match=message):
        DSD(model, optimizer, **{**SETTINGS, **changes})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_pre_hooks


def test_exclusions_from_an_iterator_last():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 2))
    dsd = DSD(model, optim.SGD(model.parameters(), 0.1), **SETTINGS, exclude=iter(["1"]))
    pruned = [set(dsd.masks) for _ in dsd.epochs()]
    assert pruned == [set(), {"0.weight"}, set()]


def test_an_unknown_setting_is_a_type_error():
    model = nn.Linear(10, 2)
    with pytest.raises(TypeError, match="sparcity"):
        DSD(model, optim.SGD(model.parameters(), 0.1), **SETTINGS, sparcity=0.5)


def test_an_optimizer_of_other_parameters():
    model = nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 2))
    with pytest.raises(RedenseError, match=r"1.weight: the optimizer does not hold this parameter"):
        DSD(model, optim.SGD(model[0].parameters(), 0.1), **SETTINGS)
    assert DSD(model, optim.SGD(model[0].parameters(), 0.1), **SETTINGS, exclude=["1"])


def test_states_that_do_not_fit():
    _, _, dsd = linear()
    state = dsd.state_dict()
    cases = [
        ({**state, "format": 9}, "got format 9; expected 1"),
        ({**state, "plan": "dense 5 epochs"}, "got a state of dense 5 epochs; expected dense 1, sparse 50% 1"),
        ({**state, "masks": {"other": torch.zeros(1)}}, "another model; other, weight not in both"),
        ({**state, "masks": {"weight": torch.zeros(2, 5, dtype=torch.uint8)}}, "masks of another shape for weight"),
    ]
    for bad, message in cases:
        with pytest.raises(RedenseError, match=message):
            dsd.load_state_dict(bad)
    next(dsd.epochs())
    with pytest.raises(RedenseError, match="got a DSD that is running; load into a new one"):
        dsd.load_state_dict(state)


def test_calls_out_of_order():
    _, _, dsd = linear()
    with pytest.raises(RedenseError, match="expected one that is running; call start first"):
        dsd.advance()
    with pytest.raises(RedenseError, match="steps: got phases in epochs"):
        next(dsd.steps())
