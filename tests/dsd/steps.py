"""A user's step of training a linear layer of ten inputs, and what is kept of it."""

import io

import torch

from redense import DSD


def linear_layer(seed=0, **options):
    """A linear layer of ten inputs, its optimizer and a DSD of them."""
    torch.manual_seed(seed)
    model = torch.nn.Linear(10, 2)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    return model, optimizer, DSD(model, optimizer, **options)


def train_step(model, optimizer, number):
    x = torch.randn(8, 10, generator=torch.Generator().manual_seed(number))
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def zeros(model):
    return int((model.weight == 0).sum())


def state_of(model, optimizer, dsd):
    """All three states, through a file that holds no code, as users keep them."""
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "dsd": dsd.state_dict()}, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
