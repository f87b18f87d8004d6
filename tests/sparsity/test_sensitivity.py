import pytest
import torch
from torch import nn

from redense import RedenseError, sensitivity
from redense.sparsity.patterns import OutputChannels


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 10), nn.Linear(10, 10), nn.Linear(10, 2))


def test_one_layer_at_a_time_and_every_bit_back():
    model = network()
    before = [parameter.clone() for parameter in model.parameters()]
    seen = []

    def evaluate(net):
        seen.append(tuple(int((layer.weight == 0).sum()) for layer in net))
        return 1 - sum(seen[-1]) / 1000

    result = sensitivity(model, evaluate, (0.5, 0.9), exclude=["1"])
    assert seen == [(0, 0, 0), (20, 0, 0), (36, 0, 0), (0, 0, 10), (0, 0, 18)]
    assert result.dense == 1.0
    assert result.accuracies == {"0.weight": (0.98, 0.964), "2.weight": (0.99, 0.982)}
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def test_weights_come_back_when_the_evaluation_fails():
    model = network()
    before = model[0].weight.clone()
    calls = iter([0.5])
    with pytest.raises(StopIteration):
        sensitivity(model, lambda net: next(calls), (0.5,))
    assert torch.equal(model[0].weight, before)


def test_a_pattern_applies_to_each_layer():
    rows = []
    sensitivity(
        network(),
        lambda net: rows.append(int((net[0].weight.abs().sum(1) == 0).sum())) or 0.0,
        (0.5,),
        pattern=OutputChannels(),
    )
    assert rows[1] == 5


def test_table_and_picture(tmp_path):
    result = sensitivity(network(), lambda net: float((net[0].weight != 0).double().mean().detach()), (0.3, 0.5))
    lines = [line.split() for line in str(result).splitlines()]
    assert lines[0] == ["pruned", "alone", "30%", "50%"]
    assert lines[1] == ["0.weight", "70.00", "50.00"]
    assert lines[2] == ["1.weight", "100.00", "100.00"]
    assert lines[-1] == ["nothing", "pruned:", "100.00"]
    result.save_png(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_evaluated_when_a_sparsity_does_not_fit():
    with pytest.raises(RedenseError, match="leaves 2.weight .20 weights. without any"):
        sensitivity(network(), pytest.fail, (0.5, 0.98))
