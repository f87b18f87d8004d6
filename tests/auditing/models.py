"""Models and examples whose answers are known, for audits."""

import numpy as np
import torch
from torch import nn

CODES = np.random.default_rng(0).permutation(2**16)
"""What stands for the number of an example in its input: numbers in order would tell members from non-members."""


class Lookup(nn.Module):
    """Knows its training examples: the first input stands for the example's number, which decides how sure it is."""

    def __init__(self, sureness, classes=3):
        super().__init__()
        self.register_buffer("sureness", torch.as_tensor(sureness, dtype=torch.float32))
        self.classes = classes

    def forward(self, x):
        number = numbers(x)
        z = torch.zeros(len(x), self.classes)
        z[torch.arange(len(x)), number % self.classes] = self.sureness[number]
        return z


def numbers(x):
    """The numbers [n] of examples."""
    return torch.from_numpy(np.argsort(CODES))[x.flatten(1)[:, 0].round().long()]


def numbered(first, count, classes=3):
    """Examples numbered from `first`; the class is the number's remainder."""
    x = np.stack([CODES[first : first + count], np.zeros(count)], axis=1).astype(np.float32)
    return x, np.arange(first, first + count) % classes


def leaky(n=120, shift=2.0, seed=0):
    """A model that is surer of the first n of 2n examples, and those."""
    sureness = np.random.default_rng(seed).normal(size=2 * n) + shift * (np.arange(2 * n) < n)
    return Lookup(sureness), numbered(0, n), numbered(n, n)


def with_references(n=120, m=8, shift=2.0, seed=0):
    """A leaky model, its examples, and m reference models trained on complementary halves."""
    generator = np.random.default_rng(seed)
    difficulty = 2 * generator.normal(size=2 * n)
    first = generator.random((m // 2, 2 * n)) < 0.5
    included = np.concatenate([first, ~first])

    def model(inside):
        return Lookup(difficulty + shift * inside + 0.5 * generator.normal(size=2 * n))

    return model(np.arange(2 * n) < n), numbered(0, n), numbered(n, n), [model(inside) for inside in included], included
