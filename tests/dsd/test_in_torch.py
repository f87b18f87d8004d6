"""DSD around the layers, number types, compilers and scalers of PyTorch, as users combine them."""

import pytest
import torch
from torch import nn, optim

from redense import DSD, magnitude_masks


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layers = kind(6, 5, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x):
        return self.layers(x)[0]


class Tied(nn.Module):
    """A language model in small: the output layer is the embedding."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.embedding = nn.Embedding(9, 6)
        self.out = nn.Linear(6, 9, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        return self.out(self.inner(self.embedding(x)))


class Twice(nn.Module):
    """Two layers that share one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).relu())


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


RECURRENT = [
    f"layers.weight_{way}_l{layer}{side}" for layer in "01" for side in ("", "_reverse") for way in ("ih", "hh")
]
MODELS = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 3), (2, 3, 8), ["weight"]),
    "conv2d channels last": (
        lambda: nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last),
        (2, 3, 8, 8),
        ["weight"],
    ),
    "conv3d": (lambda: nn.Conv3d(2, 4, 3), (2, 2, 5, 5, 5), ["weight"]),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 4, 3), (2, 3, 8), ["weight"]),
    "transposed 2d": (lambda: nn.ConvTranspose2d(3, 4, 3), (2, 3, 8, 8), ["weight"]),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 4, 3), (2, 2, 5, 5, 5), ["weight"]),
    "lstm": (lambda: Recurrent(nn.LSTM), (2, 4, 6), RECURRENT),
    "gru": (lambda: Recurrent(nn.GRU), (2, 4, 6), RECURRENT),
    "attention": (Attention, (2, 4, 6), ["attention.in_proj_weight", "attention.out_proj.weight"]),
    "tied to an embedding": (Tied, None, ["inner.weight"]),
    "shared": (Twice, (2, 6), ["first.weight"]),
}


def inputs(shape, step, dtype=torch.float32):
    generator = torch.Generator().manual_seed(step)
    if shape is None:
        return torch.randint(0, 9, (2, 5), generator=generator)
    return torch.randn(shape, generator=generator).to(dtype)


@pytest.mark.parametrize("kind", MODELS)
def test_layers(kind):
    torch.manual_seed(0)
    make, shape, pruned = MODELS[kind]
    model = make()
    optimizer = optim.Adam(model.parameters(), 0.01)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 2, 1))
    sparse = 0
    for epoch in dsd.epochs():
        for step in range(2):
            optimizer.zero_grad()
            model(inputs(shape, 10 * epoch + step)).square().mean().backward()
            optimizer.step()
        if dsd.phase.kind == "sparse":
            sparse += 1
            assert list(dsd.masks) == pruned
            for name in pruned:
                weight = model.get_parameter(name)
                assert int((weight == 0).sum()) == round(0.5 * weight.numel())
    assert sparse == 2
    assert all(model.get_parameter(name).all() for name in pruned)


def test_frozen_weights_are_left_alone():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1)).epochs():
        model(torch.ones(1, 6)).sum().backward()
        optimizer.step()
        assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("fused", [False, True])
def test_number_types(dtype, fused):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 2)).to(dtype)
    optimizer = optim.AdamW(model.parameters(), 0.01, fused=fused)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 2, 1), exclude=["2"])
    masked = 0
    for epoch in dsd.epochs():
        optimizer.zero_grad()
        model(inputs((4, 6), epoch, dtype)).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if dsd.masks:
            masked += 1
            weight, mask = model[0].weight, dsd.masks["0.weight"]
            assert int((~mask).sum()) == 120
            for tensor in (weight, optimizer.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg_sq"]):
                assert not tensor[~mask].any()
    assert masked == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scaled", [False, True])
def test_autocast_with_and_without_a_scaler(dtype, scaled):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, enabled=scaled)  # overflows at first
    dsd = DSD(model, optimizer, sparsity=0.5, steps=(2, 3, 2))
    turns = masked = 0
    for number in dsd.steps():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            loss = model(inputs((4, 6), number)).square().mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        turns += 1
        masked += bool(dsd.masks)
        for name, mask in dsd.masks.items():
            assert not model.get_parameter(name)[~mask].any()
    overflows = scaled and dtype == torch.float16
    assert (turns > 7) == overflows, "overflowing steps are not counted"
    assert masked >= 3
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize("kind", [optim.Adam, optim.Adamax])
@pytest.mark.parametrize("compiled", ["model", "step", "both"])
def test_compiled(kind, compiled):
    """The compiler's own front end and gradients, without its code generation, which needs a C++ compiler."""

    def train(compiled):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
        optimizer = kind(model.parameters(), 0.01)
        dsd = DSD(model, optimizer, sparsity=0.5, steps=(2, 2, 2))
        net = torch.compile(model, backend="aot_eager") if compiled in ("model", "both") else model
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled in ("step", "both") else optimizer.step
        seen = []
        for number in range(6):
            optimizer.zero_grad()
            net(inputs((4, 6), number)).square().mean().backward()
            step()
            seen.append((dsd.progress, int((model[0].weight == 0).sum()), optimizer.param_groups[0]["lr"]))
        return seen, list(model.parameters())

    (plain, expected), (seen, parameters) = train("nothing"), train(compiled)
    assert seen == plain
    # the last step of a phase enters the next
    assert [count >= 24 for _, count, _ in plain] == [False, True, True, True, False, False]
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_runners_masks_and_dsds_are_the_same():
    torch.manual_seed(0)
    model = nn.Linear(10, 10)
    optimizer = optim.SGD(model.parameters(), 0.1)
    expected = magnitude_masks(model, sparsity=0.5)["weight"]
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(0, 1, 1))
    next(dsd.epochs())
    assert torch.equal(dsd.masks["weight"], expected)
