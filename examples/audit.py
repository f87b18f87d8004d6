"""What does a network give away about the 600 handwritten digits it was trained on? With eight reference models.

python examples/audit.py

A fifth of the labels is wrong, and the network learns them by heart. Thresholds on its own answers already tell members
from other digits a little better than guessing (AUC of confidence about 0.58). The reference models show how hard an
example is for anybody; attacks that know this tell members far better (LiRA, RMIA: about 0.72). Writes audit.html.
"""

import numpy as np
import torch
from torch import nn

import redense


def train(x: torch.Tensor, y: torch.Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(40):
        for batch in torch.randperm(len(y)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model


def main() -> None:
    digits = redense.data.load("digits")  # pixels in [0, 1]
    x = torch.from_numpy(digits.x_train)
    noise = np.random.default_rng(0)
    # a fifth of the labels is wrong, so that there is something to learn by heart
    y = torch.from_numpy(np.where(noise.random(1000) < 0.2, noise.integers(0, 10, 1000), digits.y_train))

    members = torch.arange(1000) < 600
    target = train(x[members], y[members], seed=0)

    # complementary halves, drawn without regard to the target
    first = torch.from_numpy(noise.random((4, 1000))).argsort(1) < 500
    included = torch.cat([first, ~first])
    references = [train(x[half], y[half], seed) for seed, half in enumerate(included, start=1)]

    result = redense.audit(
        target,
        members=(x[members], y[members]),
        nonmembers=(x[~members], y[~members]),
        references=references,
        included=included.numpy(),  # examples in the order members, then non-members: here they are
        queries=redense.image_queries(),
    )
    print(result)
    result.to_html("audit.html", title="What a network gives away about the 600 digits it was trained on")


if __name__ == "__main__":
    main()
