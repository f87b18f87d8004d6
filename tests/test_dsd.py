import pytest
import torch

from redense import DSD, RedenseError


def loop(model, optimizer, dsd, scheduler=None):
    """An ordinary training loop; returns what was seen after each epoch."""
    seen = []
    for epoch in dsd.epochs():
        x = torch.randn(8, 10, generator=torch.Generator().manual_seed(epoch))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        seen.append((dsd.phase.label, int((model.weight == 0).sum())))
    return seen


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_phases_masks_and_rounds(kind):
    model = torch.nn.Linear(10, 2)
    optimizer = kind(model.parameters(), 0.01)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(2, 2, 1), rounds=2)
    assert loop(model, optimizer, dsd) == [
        ("dense", 0),
        ("dense", 0),
        ("sparse 50%", 10),
        ("sparse 50%", 10),
        ("re-dense 50%", 0),
        ("sparse 50% (round 2)", 10),
        ("sparse 50% (round 2)", 10),
        ("re-dense 50% (round 2)", 0),
    ]


def test_the_rate_factor_multiplies_the_schedulers_rate_unseen():
    model = torch.nn.Linear(10, 2, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
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
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.125)


def test_moments_are_cleared_at_every_boundary():
    model = torch.nn.Linear(10, 2)
    optimizer = torch.optim.Adam(model.parameters())
    steps = []
    for _ in DSD(model, optimizer, sparsity=0.5, epochs=(2, 1, 1)).epochs():
        model(torch.ones(1, 10)).sum().backward()
        optimizer.step()
        steps.append(int(optimizer.state[model.weight]["step"]))
    assert steps == [1, 2, 1, 1]


def test_leaving_the_loop_early_takes_the_mask_away():
    model = torch.nn.Linear(10, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1))
    epochs = dsd.epochs()
    next(epochs), next(epochs)
    assert dsd.masks
    epochs.close()
    model.weight.sum().backward()
    optimizer.step()
    assert not dsd.masks
    assert model.weight.all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"sparsity": 1.0, "epochs": (1, 1, 1)},
        {"sparsity": 0.5, "epochs": (1, 1)},
        {"sparsity": 0.5, "epochs": (1, 0, 1)},
        {"sparsity": 0.5, "epochs": (1, 1, 1), "rounds": 0},
        {"sparsity": 0.5, "epochs": (1, 1, 1), "rates": (1, 1, -0.1)},
    ],
)
def test_bad_settings(arguments):
    model = torch.nn.Linear(2, 2)
    with pytest.raises(RedenseError, match="got"):
        DSD(model, torch.optim.SGD(model.parameters(), 0.1), **arguments)
