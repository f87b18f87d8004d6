import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redense.signals import read_signals, scaled_logit


@given(st.lists(st.floats(-15, 15), min_size=2, max_size=6), st.data())
def test_scaled_logit_is_the_log_odds_of_the_true_class(logits, data):
    label = data.draw(st.integers(0, len(logits) - 1))
    odds = [math.exp(z) for z in logits]
    slow = math.log(odds[label] / (math.fsum(odds) - odds[label])) if len(logits) > 1 else math.inf
    others = math.fsum(odd for index, odd in enumerate(odds) if index != label)
    slow = math.log(odds[label]) - math.log(others)
    fast = scaled_logit(torch.tensor([logits], dtype=torch.float64), torch.tensor([label])).item()
    assert fast == pytest.approx(slow, abs=1e-9)


def test_certain_predictions_still_rank():
    logits = torch.tensor([[40.0, 0.0], [60.0, 0.0], [400.0, 0.0]])
    assert (logits.softmax(1)[:, 0] == 1).all(), "float32 cannot tell these apart"
    phi = scaled_logit(logits, torch.zeros(3, dtype=torch.long))
    assert phi.tolist() == [40.0, 60.0, 400.0]


def test_reading_leaves_the_model_as_it_was():
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 3)).train()
    x, y = torch.rand(1203, 4), torch.randint(0, 3, (1203,))
    first, second = read_signals(model, x, y), read_signals(model, x, y)
    assert torch.equal(first.phi, second.phi), "dropout should be off"
    assert model.training
    assert torch.equal(first.correct, model[1](x).argmax(1) == y)
