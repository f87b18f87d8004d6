"""How much sparsity each layer of a trained network bears: pruned one layer at a time, and then asked again.

python examples/sensitivity.py

The published network, trained here on scikit-learn's handwritten digits for a few epochs. Prints the test accuracy with
each layer alone pruned to each sparsity, without further training, and writes sensitivity.png. The large dense layer
bears far more than the first convolution. For a run's dense phase on Fashion-MNIST instead:

redense run fashion-mnist --out runs/fashion-mnist
redense export runs/fashion-mnist --phase dense --out dense.safetensors
python examples/sensitivity.py dense.safetensors
"""

import sys
from collections import OrderedDict

import torch
from safetensors.torch import load_file
from torch import nn

import redense


def network() -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv2d=nn.Conv2d(1, 32, 3),
            relu=nn.ReLU(),
            max_pooling2d=nn.MaxPool2d(2),
            conv2d_1=nn.Conv2d(32, 64, 3),
            relu_1=nn.ReLU(),
            max_pooling2d_1=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dense=nn.Linear(1600, 250),
            relu_2=nn.ReLU(),
            dense_1=nn.Linear(250, 10),
        )
    )


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(5):
        for batch in torch.randperm(len(y)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()


torch.manual_seed(0)
model = network()
if sys.argv[1:]:
    data = redense.data.load("fashion-mnist")
    model.load_state_dict(load_file(sys.argv[1]))
    x_test = torch.from_numpy(data.x_test).float() / 255  # its pixels are bytes; those of the digits lie in [0, 1]
else:
    data = redense.data.load("digits")
    train(model, torch.from_numpy(data.x_train), torch.from_numpy(data.y_train))
    x_test = torch.from_numpy(data.x_test)
y_test = torch.from_numpy(data.y_test)


@torch.no_grad()
def accuracy(net: nn.Module) -> float:
    answers = torch.cat([net(batch).argmax(1) for batch in x_test.split(500)])
    return float((answers == y_test).float().mean())


result = redense.sensitivity(model, accuracy)
print(result)
result.save_png("sensitivity.png")
