"""DSD around an ordinary PyTorch loop: scikit-learn's handwritten digits, a few seconds on a laptop.

python examples/own_loop.py

Prints the phase, the zeros and the test accuracy of every epoch: no weight is pruned in the dense phase, half of them
stay zero in the sparse phase, and in the re-dense phase those that get a gradient come back.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import redense

digits = load_digits()
x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
train, test = slice(0, 1400), slice(1400, None)

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(10, 5, 5))
for epoch in dsd.epochs():
    for batch in torch.randperm(1400).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[train][batch]), y[train][batch]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        accuracy = (model(x[test]).argmax(1) == y[test]).float().mean().item()
    zeros = redense.measure_sparsity(model)
    print(f"epoch {epoch:2d}  {dsd.phase.label:12s}  {100 * zeros:4.1f}% zeros  test accuracy {100 * accuracy:.2f}%")
