"""How much sparsity each layer of a trained network bears: a run's dense phase, pruned one layer at a time.

redense run fashion-mnist --out runs/fashion-mnist
redense export runs/fashion-mnist --phase dense --out dense.safetensors
python examples/sensitivity.py dense.safetensors sensitivity.png
"""

import sys

import torch
from safetensors.torch import load_file

import redense
from redense.data.batches import as_input
from redense.models.registry import build

weights, picture = sys.argv[1:]
data = redense.data.load("fashion-mnist")
x, y = as_input(torch.from_numpy(data.x_test)), torch.from_numpy(data.y_test)
model = build("fmnist-cnn", (1, 28, 28), 10)
model.load_state_dict(load_file(weights))
model.eval()


@torch.no_grad()
def accuracy(net):
    return sum((net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(500), y.split(500), strict=True)) / len(y)


result = redense.sensitivity(model, accuracy)
print(result)
result.save_png(picture)
