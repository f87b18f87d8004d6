"""How models are asked: which readings of stored inputs they get, and what counts as logits."""

import numpy as np
import pytest
import torch
from auditing.models import leaky, with_references
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import redense
from redense.auditing.asking import answer
from redense.errors import DataError, ModelError
from redense.signals import ask


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.GRU(9, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


class Tokens(nn.Module):
    """Its layers are used in another order than they are made in."""

    def __init__(self, cast=False):
        super().__init__()
        self.head, self.embedding, self.cast = nn.Linear(4, 3), nn.Embedding(300, 4), cast

    def forward(self, x):
        return self.head(self.embedding(x.long() if self.cast else x).mean(1))


class OneHot(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(300, 3)

    def forward(self, x):
        return self.head(nn.functional.one_hot(x, 300).float().mean(1))


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(300, 4), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(x)


def convolution(channels):
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 7, 3))


GREY = torch.randint(0, 256, (5, 1, 8, 9), dtype=torch.uint8).expand(5, 3, 8, 9)
READINGS = {
    "images without channels": (convolution(1), torch.rand(5, 8, 9), torch.float32, (5, 1, 8, 9)),
    "channels last": (convolution(3), torch.rand(5, 8, 9, 3), torch.float32, (5, 3, 8, 9)),
    "grey for one channel": (convolution(1), GREY, torch.float32, (5, 1, 8, 9)),
    "grey for three channels": (convolution(3), GREY, torch.float32, (5, 3, 8, 9)),
    "many channels": (convolution(8), torch.rand(5, 8, 8, 9), torch.float32, (5, 8, 8, 9)),
    "frames, joints and places": (
        nn.Sequential(nn.Conv2d(7, 1, (6, 1)), nn.Flatten()),
        torch.rand(5, 7, 6, 3),
        torch.float32,
        (5, 7, 6, 3),
    ),
    "sequences": (Recurrent(), torch.rand(5, 8, 9, dtype=torch.float64), torch.float32, (5, 8, 9)),
    "sequences for convolutions": (
        nn.Sequential(nn.Conv1d(8, 3, 9), nn.Flatten()),
        torch.rand(5, 8, 9),
        torch.float32,
        (5, 8, 9),
    ),
    "tokens": (Tokens(), torch.randint(0, 300, (5, 7), dtype=torch.int32), torch.int64, (5, 7)),
    "bytes as tokens": (Tokens(), torch.randint(0, 256, (5, 7), dtype=torch.uint8), torch.int64, (5, 7)),
    "tokens of a coarse model": (Tokens(cast=True).bfloat16(), torch.randint(0, 300, (5, 7)), torch.int64, (5, 7)),
    "tokens without an embedding": (OneHot(), torch.randint(0, 300, (5, 7)), torch.int64, (5, 7)),
    "whole numbers": (nn.Linear(7, 3), torch.randint(0, 300, (5, 7)), torch.float32, (5, 7)),
    "whole numbers, beside an embedding that nothing reaches": (
        Idle(),
        torch.randint(0, 300, (5, 7)),
        torch.float32,
        (5, 7),
    ),
    "bits": (nn.Linear(7, 3).half(), torch.rand(5, 7) < 0.5, torch.float16, (5, 7)),
}


@pytest.mark.parametrize("case", READINGS)
def test_a_model_gets_the_one_reading_that_it_takes(case):
    model, stored, dtype, shape = READINGS[case]
    with torch.no_grad():
        first = answer(model, stored)
        assert first.inputs.dtype == dtype
        assert first.inputs.shape == (shape or stored.shape)
        assert first.logits.shape == (5, 3)
        again = answer(model, stored[:2], known=first.reading)
    torch.testing.assert_close(again.logits, first.logits[:2])
    pixels = stored / 255 if stored.dtype == torch.uint8 and dtype.is_floating_point else stored
    assert set(first.inputs.flatten().tolist()) == set(pixels.to(dtype).flatten().tolist())


class Around(nn.Module):
    """A module of Python around another, with an embedding that nothing reaches."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.unused = inner, nn.Embedding(2, 2)

    def forward(self, x):
        return self.inner(x)


def test_a_scripted_model_gets_its_tokens():
    tokens = torch.randint(0, 300, (5, 7))
    with pytest.warns(FutureWarning, match="deprecated"):
        scripted = torch.jit.trace(Tokens(), tokens)
    for model in (scripted, Around(scripted)):
        torch.testing.assert_close(answer(model, tokens).logits, scripted(tokens))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (
            torch.rand(5, 8, 9),
            r"expected input\[5, 1, 8, 9\] to have 3 channels.*got a tensor of torch.float32 "
            r"\[5, 1, 8, 9\], \[n, channels, height, width\], as inputs",
        ),
        (torch.zeros(5, 6), r"got a tensor of torch.float32 \[5, 6\] as inputs; expected such as in training$"),
    ],
)
def test_what_a_model_refuses_in_every_reading_is_said_of_the_usual_one(stored, message):
    with pytest.raises(ModelError, match=message):
        answer(convolution(3), stored)


def test_colour_is_not_thrown_away():
    colour = torch.rand(5, 3, 8, 9)
    with pytest.raises(ModelError, match=r"to have 1 channels, but got 3"):
        answer(convolution(1), colour)
    grey = answer(convolution(1), colour[:, :1].expand(5, 3, 8, 9)).reading
    with pytest.raises(DataError, match=r"are in colour, and the model takes one channel"):
        grey(colour)


class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 3)

    def forward(self, values, weights=None):
        return self.head(values if weights is None else values * weights)


@pytest.mark.parametrize("model", [Keywords(), nn.Sequential(nn.Linear(2, 3)), Keywords().bfloat16()])
@pytest.mark.parametrize("name", ["values", "pixels"])
def test_a_mapping_of_one_array_is_that_array_or_the_keyword_of_that_name(model, name):
    x = np.random.default_rng(0).normal(size=(5, 2))
    plain = answer(model, torch.from_numpy(x))
    named = answer(model, {name: torch.from_numpy(x)})
    torch.testing.assert_close(named.logits, plain.logits, rtol=0, atol=0)
    assert isinstance(named.inputs, dict) == (name == "values" and isinstance(model, Keywords))


def test_a_mapping_of_several_arrays_goes_by_keyword_or_not_at_all():
    x = torch.rand(5, 2, dtype=torch.float64)
    assert answer(Keywords(), {"values": x, "weights": x}).logits.shape == (5, 3)
    with pytest.raises(ModelError, match=r"mappings of values, mask; expected the names .* \(values, weights=None\)"):
        answer(Keywords(), {"values": x, "mask": x})


@pytest.mark.parametrize("shape", [(60, 1), (60,)])
def test_one_logit_stands_for_the_second_of_two_classes(shape):
    z = torch.linspace(-3, 3, 60)
    found = ask(lambda x: z.reshape(shape), None)
    torch.testing.assert_close(found.softmax(1)[:, 1], z.sigmoid())
    assert ask(lambda x: z[0], None).tolist() == [[0, -3]]


def test_models_of_one_logit_and_of_two_are_audited_alike():
    x, y = torch.randn(200, 4), torch.randint(0, 2, (200,))
    one, two = nn.Linear(4, 1), nn.Linear(4, 2)
    with torch.no_grad():
        two.weight.copy_(torch.cat((torch.zeros(1, 4), one.weight)))
        two.bias.copy_(torch.cat((torch.zeros(1), one.bias)))
    sides = {"members": (x[:100], y[:100]), "nonmembers": (x[100:], y[100:])}
    for model in (one, nn.Sequential(one, nn.Flatten(0))):
        assert redense.audit(model, **sides).attacks == redense.audit(two, **sides).attacks


@pytest.mark.parametrize("side", ["members", "nonmembers"])
def test_a_loader_that_shuffles_is_refused_with_references_alone(side):
    model, members, nonmembers, references, included = with_references()
    sides = {"members": members, "nonmembers": nonmembers}
    data = TensorDataset(*map(torch.from_numpy, sides[side]))
    both = {"references": references, "included": included, "attacks": ("lira",)}
    with pytest.raises(DataError, match=rf"{side}: got a loader that shuffles, and reference.* shuffle=False"):
        redense.audit(model, **{**sides, side: DataLoader(data, shuffle=True)}, **both)
    in_order = redense.audit(model, **{**sides, side: DataLoader(data, batch_size=7)}, **both)
    assert in_order.attacks == redense.audit(model, **sides, **both).attacks
    shuffled = redense.audit(model, **{**sides, side: DataLoader(data, batch_size=7, shuffle=True)})
    assert shuffled.attack("confidence").auc == redense.audit(model, **sides).attack("confidence").auc


def test_random_states_are_left_alone():
    model, members, nonmembers = leaky()
    before = torch.random.get_rng_state()
    redense.audit(model, members=members, nonmembers=nonmembers)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("mapped", [False, True])
def test_images_that_fit_in_either_order_of_axes_are_refused(mapped):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 3, 2))
    stored = torch.rand(6, 8, 8, 3)
    with pytest.raises(
        ModelError, match=r"\[6, 8, 8, 3\].*\[n, height, width, channels\] and, turned, as \[n, channels"
    ):
        answer(flat, {"x": stored} if mapped else stored)
    # one reading alone fits, or both are the same: nothing has to be told
    assert answer(flat, stored.flatten(1)).inputs.shape == (6, 192)
    assert answer(flat, stored.permute(0, 3, 1, 2)).inputs.shape == (6, 3, 8, 8)
    convolved = nn.Sequential(nn.Conv2d(3, 2, 8), nn.Flatten())
    assert answer(convolved, stored).inputs.shape == (6, 3, 8, 8)
    grey = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    assert answer(grey, stored[..., :1]).inputs.shape == (6, 1, 8, 8)
    pooled = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(1), nn.Linear(1, 2))
    assert answer(pooled, stored).logits.shape == (6, 2)
