import gc
import warnings

import pytest
import torch
from dsd.steps import train_step, zeros
from torch import nn, optim

from redense import DSD, ModelError, phases

SPARSE_TO_THE_END = [phases.dense(1), phases.sparse(2, 0.5)]


def network():
    torch.manual_seed(0)
    model = nn.Linear(10, 2)
    return model, optim.SGD(model.parameters(), 0.01)


def train(model, optimizer, dsd, until):
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if epoch == until:
            return


def begun(until):
    """Make a DSD, and train to the end of an epoch unless that is None."""
    model, optimizer = network()
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 2, 2))
    if until is not None:
        train(model, optimizer, dsd, until)
    return model, optimizer, dsd


STAGES = pytest.mark.parametrize("until", [None, 0, 1, 3], ids=["not begun", "dense", "sparse", "re-dense"])


@STAGES
def test_one_that_is_not_over_is_refused_by_name_and_works_on(until):
    model, optimizer, dsd = begun(until)
    with pytest.raises(ModelError, match=r"this SGD has a DSD that is not over \(DSD\(dense 1.*call its remove\(\)"):
        DSD(model, optimizer, sparsity=0.25, epochs=(1, 1, 1))
    train(model, optimizer, dsd, 4)
    assert dsd.progress == 4
    dsd.remove()
    second = DSD(model, optimizer, sparsity=0.25, epochs=(1, 1, 1))
    train(model, optimizer, second, 1)
    assert zeros(model) == 5


@STAGES
def test_one_that_is_not_over_on_another_optimizer_of_the_weights_is_refused(until):
    model, _, dsd = begun(until)
    second = optim.Adam(model.parameters(), 0.01)
    with pytest.raises(
        ModelError, match=r"another optimizer \(SGD\) of its weights has a DSD that is not over.*remove"
    ):
        DSD(model, second, sparsity=0.25, epochs=(1, 1, 1))
    assert not second._optimizer_step_pre_hooks
    dsd.remove()
    train(model, second, DSD(model, second, sparsity=0.25, epochs=(1, 1, 1)), 0)
    assert zeros(model) == 0


def test_one_in_a_cycle_on_another_optimizer_of_the_weights_is_nobodys():
    model, optimizer, dsd = begun(1)
    dsd.on_phase_end = lambda dsd=dsd: None
    del dsd, optimizer
    second = optim.SGD(model.parameters(), 0.01)
    dsd = DSD(model, second, sparsity=0.25, epochs=(1, 1, 1))
    train(model, second, dsd, 0)
    assert zeros(model) == 0


def test_two_parts_of_a_model_have_one_each():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 2))
    optimizers = [optim.SGD(part.parameters(), 0.01) for part in model]
    dsds = [DSD(part, one, sparsity=0.5, epochs=(0, 1, 1)) for part, one in zip(model, optimizers, strict=True)]
    loops = [dsd.epochs() for dsd in dsds]
    for loop in loops:
        next(loop)
    model(torch.ones(1, 10)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    assert [zeros(part) for part in model] == [10, 2]


def rate_used(model, optimizer):
    """Measure the rate of a step of SGD."""
    before = model.bias.detach().clone()
    train_step(model, optimizer, 0)
    return float(((before - model.bias.detach()) / model.bias.grad).mean())


@STAGES
def test_one_that_nobody_holds_leaves_neither_masks_nor_factor_to_the_next(until):
    model, optimizer, dsd = begun(until)
    del dsd
    dsd = DSD(model, optimizer, sparsity=0.25, epochs=(1, 1, 1))
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in dsd.epochs():
            seen.append((dsd.rate, pytest.approx(rate_used(model, optimizer), rel=1e-2), zeros(model)))
    assert seen == [(0.01, 0.01, 0), (0.01, 0.01, 5), (0.001, 0.001, 0)]
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_one_that_only_a_cycle_holds_is_nobodys():
    model, optimizer = network()
    cycle = []
    cycle.append(DSD(model, optimizer, sparsity=0.5, epochs=(1, 2, 2), on_phase_end=cycle.append))
    del cycle
    DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1))


def test_masks_go_with_the_one_that_nobody_holds_and_the_next_step_says_so():
    model, optimizer = network()
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 2, 2))
    train(model, optimizer, dsd, 1)
    assert zeros(model) == 10
    del dsd
    gc.collect()
    with pytest.warns(UserWarning, match="thrown away before its loop was over: nothing is pruned"):
        train_step(model, optimizer, 0)
    assert zeros(model) == 0
    train_step(model, optimizer, 1)  # once


def test_after_a_list_that_ends_sparse_masks_stay_without_a_holder_until_the_next_one():
    model, optimizer = network()
    train(model, optimizer, DSD(model, optimizer, phases=SPARSE_TO_THE_END), None)
    gc.collect()
    train_step(model, optimizer, 0)
    assert zeros(model) == 10
    dsd = DSD(model, optimizer, phases=SPARSE_TO_THE_END)
    train(model, optimizer, dsd, 0)
    assert zeros(model) == 0


def test_masks_of_a_list_that_ends_sparse_leave_the_model_for_the_next_ones_own_optimizer():
    model, optimizer = network()
    former = DSD(model, optimizer, phases=SPARSE_TO_THE_END)
    train(model, optimizer, former, None)
    second = optim.SGD(model.parameters(), 0.01)
    train(model, second, DSD(model, second, phases=SPARSE_TO_THE_END), 0)
    assert zeros(model) == 0
    assert not former.masks


def test_phases_in_steps_count_without_a_holder_beside_hooks_of_others():
    model, optimizer = network()
    DSD(model, optimizer, sparsity=0.5, steps=(1, 2, 1))
    gc.collect()
    optimizer.register_step_pre_hook(lambda *_: None)
    seen = []
    for number in range(4):
        train_step(model, optimizer, number)
        seen.append(zeros(model))
    assert seen == [10, 10, 10, 0]  # those of re-dense move with its first step
    DSD(model, optimizer, sparsity=0.5, steps=(1, 1, 1))  # the first one is over


def test_remove_after_a_step_that_failed_gives_the_rate_back():
    model, optimizer = network()
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(0, 1, 1), rates=(1, 0.1, 0.1))
    loop = dsd.epochs()
    next(loop)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(interrupted)
    dsd.remove()
    assert optimizer.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("given", [True, False])
def test_a_loop_over_steps_of_another_optimizer_is_told(given):
    model, optimizer = network()
    other = optim.SGD(model.parameters(), 0.01)
    dsd = DSD(model, optimizer, sparsity=0.5, steps=(1, 1, 1))

    def train():
        for turn, _ in zip(range(1001), dsd.steps(), strict=False):
            if turn % 500 == 0:
                train_step(model, optimizer if given else other, turn)

    if given:  # steps are few, but they come
        train()
        assert dsd.finished
    else:
        with pytest.warns(
            UserWarning, match=r"1000 turns of the loop over dsd.steps\(\) without a step of the optimizer"
        ):
            train()
