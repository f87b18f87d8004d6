"""A small network with BatchNorm that has overfitted handwritten digits, and their random halves."""

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

N = 300


def network():
    """The network, not trained, with weights that chance draws."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))


def untrained(seed=0):
    """The network with weights that a seed draws: how right it is by luck does not depend on what ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network()


def trained(x, y, epochs=25, seed=0):
    """Train on all of (x, y)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(epochs):
            for chosen in torch.randperm(len(y)).split(50):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
                optimizer.step()
    return model.eval()


def sides(seed=0, n=N):
    """Members (x, y) and non-members of one random split; a tenth of the labels is wrong, to be learnt by heart."""
    x, y = load_digits(return_X_y=True)
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(x))[: 2 * n]
    images = torch.from_numpy(x[chosen].reshape(-1, 1, 8, 8) / 16).float()
    wrong = generator.random(2 * n) < 0.1
    labels = torch.from_numpy(np.where(wrong, generator.integers(0, 10, 2 * n), y[chosen]))
    return (images[:n], labels[:n]), (images[n:], labels[n:])


@cache
def audited():
    """A trained model, its members and non-members."""
    members, nonmembers = sides()
    return trained(*members), members, nonmembers
