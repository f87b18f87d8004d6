import math
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import redense
from redense.errors import ModelError
from redense.models.evaluation import evaluating
from redense.signals import Signals, ask, read_signals


def exact(logits, label):
    """All signals of one example with 400 digits."""
    with mpmath.workdps(400):
        weights = [mpmath.exp(mpmath.mpf(z)) for z in logits]
        p = [weight / mpmath.fsum(weights) for weight in weights]
        others = mpmath.fsum(weight for i, weight in enumerate(weights) if i != label)
        wrong = mpmath.fsum(q * mpmath.log(1 - q) for i, q in enumerate(p) if i != label)
        return {
            "phi": float(mpmath.log(weights[label] / others)),
            "entropy": float(-mpmath.fsum(q * mpmath.log(q) for q in p)),
            "modified_entropy": float(-(1 - p[label]) * mpmath.log(p[label]) - wrong),
            "margin": float(logits[label] - max(z for i, z in enumerate(logits) if i != label)),
            "confidence": float(p[label]),
            "loss": float(-mpmath.log(p[label])),
        }


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6), st.data())
def test_signals_are_exact_even_where_probabilities_round_to_one(logits, data):
    label = data.draw(st.integers(0, len(logits) - 1))
    signals = Signals.of_logits(np.array([logits]), np.array([label]))
    for name, value in exact(logits, label).items():
        assert getattr(signals, name)[0] == pytest.approx(value, rel=1e-9, abs=1e-12), name


@given(st.floats(-600, 600))
def test_signals_of_phi_are_those_of_two_classes(phi):
    from_phi = Signals.of_phi([phi])
    from_logits = Signals.of_logits(np.array([[phi, 0.0]]), np.array([0]))
    for name, value in from_logits.arrays().items():
        assert from_phi.arrays()[name][0] == pytest.approx(value[0], rel=1e-9, abs=1e-15), name


@given(st.floats(1e-6, 1000))
def test_losses_are_turned_back_into_phi(loss):
    assert Signals.of_loss([loss]).loss[0] == pytest.approx(loss, rel=1e-6)


def test_a_loss_that_rounds_to_zero_is_finite():
    single, double = (Signals.of_loss(np.zeros(1, dtype=kind)).phi[0] for kind in (np.float32, np.float64))
    assert single == pytest.approx(-math.log(2**-24), abs=1e-3)
    assert single < double < 40


def test_certain_predictions_still_rank():
    logits = torch.tensor([[40.0, 0.0], [60.0, 0.0], [400.0, 0.0]])
    assert (logits.softmax(1)[:, 0] == 1).all(), "float32 cannot tell these apart"
    phi = Signals.of_logits(logits, torch.zeros(3, dtype=torch.long)).phi
    assert phi.tolist() == [40.0, 60.0, 400.0]


def test_reading_leaves_the_model_as_it_was():
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 3)).train()
    x, y = torch.rand(1203, 4), torch.randint(0, 3, (1203,))
    first, second = read_signals(model, x, y), read_signals(model, x, y)
    assert (first.phi == second.phi).all(), "dropout should be off"
    assert model.training
    assert (first.correct == (model[1](x).argmax(1) == y).numpy()).all()


class Within(torch.nn.Module):
    """Gives its logits as models of transformers do."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return SimpleNamespace(logits=self.inner(x), loss=None)


OUTPUTS = {
    "as .logits": (Within, 3),
    "one logit": (lambda model: model, 1),
    "one logit without an axis": (lambda model: torch.nn.Sequential(model, torch.nn.Flatten(0)), 1),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_every_output_that_an_audit_takes_is_read_alike(case):
    wrapped, outputs = OUTPUTS[case]
    linear = torch.nn.Linear(4, outputs)
    model = wrapped(linear)
    x, y = torch.randn(120, 4), torch.arange(120) % 2
    with torch.no_grad():
        logits = linear(x) if outputs > 1 else torch.cat((torch.zeros(120, 1), linear(x)), dim=1)
    expected = Signals.of_logits(logits, y)
    np.testing.assert_array_equal(read_signals(model, x, y).phi, expected.phi)
    result = redense.audit(model, members=(x[:60], y[:60]), nonmembers=(x[60:], y[60:]))
    assert result.members_accuracy == expected.correct[:60].mean()


@pytest.mark.parametrize("shape", [(3, 1), (), (2, 2, 2)])
def test_what_is_no_logits_is_refused(shape):
    with pytest.raises(ModelError, match=r"the model's output is .*; expected logits \[batch, classes\]"):
        read_signals(Unflattened(shape), torch.zeros(5, 4), torch.zeros(5, dtype=torch.long))


class Unflattened(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return torch.zeros(len(x), *self.shape) if self.shape else "yes"


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (torch.full((5, 3), 9), "tokens go from 9 to 9, and its embedding knows 0 to 8"),
        (torch.full((5, 3), -1), "tokens go from -1 to -1"),
        (torch.zeros(5, 3), "takes tokens, integers such as inputs.long"),
    ],
)
def test_tokens_that_an_embedding_does_not_take_are_told(tokens, said):
    model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2))
    with pytest.raises(ModelError, match=said):
        ask(model, tokens)


class Normalizing(torch.nn.Module):
    """Normalises its inputs, in place or not."""

    def __init__(self, *, in_place):
        super().__init__()
        torch.manual_seed(0)
        self.in_place, self.layer = in_place, torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x.sub_(0.5).div_(0.25) if self.in_place else (x - 0.5) / 0.25)


def test_a_model_that_changes_its_inputs_in_place_changes_nobody_elses():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(240, 4, generator=generator), torch.randint(0, 3, (240,), generator=generator)
    before, results = x.clone(), []
    for in_place in (True, False):
        model = Normalizing(in_place=in_place)
        signals = read_signals(model, x, y)
        included = np.arange(4 * 240).reshape(4, 240) % 3 == 0
        members, nonmembers = (x[:120], y[:120]), (x[120:], y[120:])
        result = redense.audit(model, members=members, nonmembers=nonmembers, references=[model] * 4, included=included)
        results.append((signals.phi.tolist(), result.to_json()))
        assert torch.equal(x, before)
    assert results[0] == results[1]


def test_each_module_gets_its_own_mode_back():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3).eval(), torch.nn.Dropout()).train()
    model[0].eval()
    with pytest.raises(ZeroDivisionError), evaluating(model):
        raise ZeroDivisionError
    assert [model.training, model[0].training, model[1].training] == [True, False, True]


def test_queries_stand_side_by_side():
    model = torch.nn.Linear(4, 3)
    x, y = torch.rand(1100, 4), torch.randint(0, 3, (1100,))
    both = read_signals(model, x, y, queries=(lambda x: x, lambda x: 2 * x))
    assert both.phi.shape == (1100, 2)
    np.testing.assert_array_equal(both.phi[:, 0], read_signals(model, x, y).phi)
    np.testing.assert_array_equal(both.phi[:, 1], read_signals(model, 2 * x, y).phi)


def test_joining_and_stacking():
    one, other = Signals.of_phi([1.0, 2.0]), Signals.of_phi([3.0, 4.0])
    assert Signals.join([one, other]).phi.tolist() == [1, 2, 3, 4]
    assert Signals.stack([one, other]).phi.tolist() == [[1, 2], [3, 4]]
    assert len(one) == 2
