"""Masks of a run's phases, beside those that DSD chooses for the same phase."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import redense
from redense.experiment.plan import Job, Pruning, Training
from redense.experiment.trainer import first_eligible, masks_at
from redense.phases import sparse
from redense.seeding import derive
from redense.sparsity.masks import choose_masks
from redense.sparsity.saliency import random


def job_of(phase, seed=0, position=0):
    pruning = Pruning(phase.sparsity, (), "uniform", phase.masks)
    return Job("key", None, seed, position, phase, Training("", 2, "sgd", 0.1, 0.0, 0.0), pruning)


@settings(max_examples=40)
@given(
    choice=st.sampled_from([None, "random", "gradual"]),
    length=st.integers(1, 8),
    sparsity=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_a_run_prunes_when_and_as_much_as_dsd_does(choice, length, sparsity):
    model, phase = nn.Linear(100, 90), sparse(length, sparsity, masks=choice)
    dsd = redense.DSD(model, torch.optim.SGD(model.parameters(), lr=0.1), phases=[phase], verbose=False)
    dsd.start()
    counts = []
    for epoch in range(length):
        masks = masks_at(job_of(phase), model, epoch)["weight"]
        counts.append(int((~masks).sum()))
        assert counts[-1] == int((~dsd.masks["weight"]).sum())
        if choice != "random":  # chance has other seeds
            assert torch.equal(masks, dsd.masks["weight"])
        dsd.advance()
    dsd.remove()
    assert first_eligible(job_of(phase)) == 1 + next(at for at, n in enumerate(counts) if n == round(sparsity * 9000))


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (3, 2)])
def test_chance_is_drawn_from_the_seeds_that_trained_networks_had(seed, position):
    model = nn.Linear(12, 9)
    found = masks_at(job_of(sparse(2, 0.5, masks="random"), seed, position), model, 0)
    former = choose_masks(model, sparsity=0.5, saliency=random(derive(seed, "masks", position)))
    assert torch.equal(found["weight"], former["weight"])
    dsd = redense.DSD(model, torch.optim.SGD(model.parameters(), lr=0.1), phases=[sparse(2, 0.5, masks="random")])
    dsd.start()
    assert torch.equal(dsd.masks["weight"], choose_masks(model, sparsity=0.5, saliency=random(1))["weight"])
    dsd.remove()
