import pytest
from torch import nn

from redense.errors import RecipeError
from redense.sparsity.select import prunable


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.bag = nn.EmbeddingBag(5, 4)
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 4, 3)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 5)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("default", ["first.weight", "second.weight", "out.weight"]),
        ("everything", ["embedding.weight", "bag.weight", "first.weight", "second.weight", "out.weight"]),
        ("paper", ["second.weight", "out.weight"]),
    ],
)
def test_presets(preset, expected):
    assert list(prunable(Net(), preset=preset)) == expected


def test_presets_and_exclusions_together():
    assert list(prunable(Net(), ["out"], "paper")) == ["second.weight"]


def test_a_weight_shared_with_an_embedding_counts_as_one():
    net = Net()
    net.out = nn.Linear(4, 5)
    net.out.weight = net.embedding.weight
    assert "embedding.weight" not in prunable(net)
    assert list(prunable(net, preset="everything")).count("embedding.weight") == 1
    assert list(prunable(net, preset="reference")) == list(prunable(net, preset="everything"))  # its former name
    assert "out.weight" not in prunable(net, preset="everything")


def test_an_unknown_preset():
    with pytest.raises(RecipeError, match="preset: got 'all'; expected one of default, everything, paper"):
        prunable(Net(), preset="all")
