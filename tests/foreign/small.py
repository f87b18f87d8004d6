"""A small network and its data, for loops that take any."""

import torch

X = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(16) % 4
DATA = torch.utils.data.TensorDataset(X, Y)
loss_fn = torch.nn.functional.cross_entropy


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))


def loader(batch_size=8):
    return torch.utils.data.DataLoader(DATA, batch_size=batch_size)
