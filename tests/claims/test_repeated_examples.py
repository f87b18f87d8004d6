"""Repeated experiments: examples that are given many times are no further cases; leaks on such data are still found."""

import numpy as np
import pytest
import torch
from claims.counts import record
from claims.repeated import FEW, check, line
from torch import nn

import redense

NOT_COMPARED = "left out in few audits, for it takes most of the time"


def copies(generator, n):
    """Every example eight times, on the side that one fair coin for it chooses."""
    inside = torch.rand(n, generator=generator) < 0.5
    return [torch.nonzero(side)[:, 0].repeat_interleave(8) for side in (inside, ~inside)]


def uneven(generator, n):
    """Examples once to twenty times, in any order, each on the side that one fair coin for it chooses."""
    sides = []
    for place in copies(generator, n):
        times = torch.randint(1, 21, (len(place) // 8,), generator=generator)
        again = place[::8].repeat_interleave(times)
        sides.append(again[torch.randperm(len(again), generator=generator)])
    return sides


def bags(generator, n):
    """Two bags that are drawn with replacement, each from its own half, as bagging does."""
    whole = torch.randperm(n, generator=generator)
    halves = whole[: n // 2], whole[n // 2 :]
    return [half[torch.randint(0, len(half), (4 * n,), generator=generator)] for half in halves]


WORLDS = {"each eight times": copies, "one to twenty times": uneven, "bags with replacement": bags}


def examples(seed, n):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 10, generator=generator), torch.randint(0, 3, (n,), generator=generator)
    return generator, x, y


def sides_of(world, seed, n=300, relabelled=False):
    """Members and non-members; with `relabelled`, copies have labels of their own, as noisy annotators give them."""
    generator, x, y = examples(seed, n)
    places = WORLDS[world](generator, n)
    if not relabelled:
        return [(x[place], y[place]) for place in places]
    return [(x[place], torch.randint(0, 3, (len(place),), generator=generator)) for place in places]


def claims(world, seed, **options):
    """Audit a model that has learnt nothing: is a leak claimed, is an epsilon above 0?"""
    members, nonmembers = sides_of(world, seed, **options)
    torch.manual_seed(seed)
    coins = world != "bags with replacement"
    result = redense.audit(nn.Linear(10, 3), members=members, nonmembers=nonmembers, randomized=coins)
    return result.verdict.kind == "leak", bool(result.attack(result.primary).epsilon)


def trained(x, y, seed):
    """A network that has learnt examples by heart."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 3))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def found(world, seed):
    """Audit a network that was trained on the repeated examples of one side."""
    members, nonmembers = sides_of(world, seed)
    result = redense.audit(trained(*members, seed), members=members, nonmembers=nonmembers, attacks=("threshold",))
    return result.verdict.kind == "leak"


def test_repeated_examples_show_no_leak_in_few_audits(monkeypatch):
    monkeypatch.setattr("redense.auditing.audit.sides_alike", lambda *_: NOT_COMPARED)
    worlds = [*WORLDS] * FEW  # in turns
    said = np.array([claims(worlds[seed], seed, relabelled=seed % 2 == 0) for seed in range(FEW)])
    for wrong, what in zip(said.sum(0), ("leak", "epsilon above 0"), strict=True):
        record("repeated examples", f"in turns: no {what}", FEW - wrong, FEW, quick=True)
        check(wrong, FEW, 0.05, what)


def test_what_a_network_has_learnt_of_repeated_examples_is_found():
    assert found("bags with replacement", 0)


@pytest.mark.evidence
@pytest.mark.parametrize("relabelled", [False, True])
@pytest.mark.parametrize("world", WORLDS)
def test_repeated_examples_show_no_leak(world, relabelled, capsys):
    runs = 300
    said = np.array([claims(world, seed, relabelled=relabelled) for seed in range(1_000, 1_000 + runs)])
    claimed = ("leak", "epsilon above 0") if world != "bags with replacement" else ("leak",)  # no coins, no epsilon
    for wrong, what in zip(said.sum(0), claimed, strict=False):
        case = f"{world}{', labels of their own' if relabelled else ''}: no {what}"
        record("repeated examples", case, runs - wrong, runs)
        with capsys.disabled():
            print(line(wrong, runs, f"\n# {case}"))
        check(wrong, runs, 0.05, what)


@pytest.mark.evidence
@pytest.mark.parametrize("world", WORLDS)
def test_leaks_on_repeated_examples_are_found(world, capsys):
    runs = 100
    hits = sum(found(world, seed) for seed in range(runs))
    record("repeated examples", f"{world}: a leak is found", hits, runs)
    with capsys.disabled():
        print(line(hits, runs, f"\n# {world}, leaks found"))
    assert hits >= 0.95 * runs
