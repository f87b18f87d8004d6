import copy

import pytest
import torch
from torch import nn

from redense import choose_masks, saliency
from redense.errors import ModelError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 4, generator=generator), torch.randint(0, 3, (8,), generator=generator)) for _ in range(3)]


def loss(model, batch):
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


def test_saliency_is_weight_times_the_gradient_of_the_mean_loss():
    """The oracle: finite differences of the mean loss for each weight."""
    model = network().double().eval()
    data = [(x.double(), y) for x, y in batches()]
    found = saliency.gradient(loss, data)(model, {"0.weight": model[0].weight})["0.weight"]
    for index in [(0, 0), (3, 2), (5, 3)]:
        with torch.no_grad():
            value = model[0].weight[index].item()
            ends = []
            for step in (1e-5, -1e-5):
                model[0].weight[index] = value + step
                ends.append(sum(loss(model, batch).item() for batch in data) / 3)
            model[0].weight[index] = value
        gradient = (ends[0] - ends[1]) / 2e-5
        assert found[index].item() == pytest.approx(abs(value * gradient), rel=1e-5)


def test_saliency_leaves_the_model_as_it_was():
    model = network()
    loss(model, batches()[0]).backward()
    before, gradient = copy.deepcopy(model.state_dict()), model[0].weight.grad.clone()
    choose_masks(model, sparsity=0.5, saliency=saliency.gradient(loss, batches()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, gradient)
    assert model.training


def test_the_least_salient_go():
    model = network()
    importance = saliency.gradient(loss, batches())(model, dict(model.named_parameters()))["0.weight"]
    mask = choose_masks(model, sparsity=0.5, saliency=saliency.gradient(loss, batches()))["0.weight"]
    assert importance[~mask].max() <= importance[mask].min()


def test_random_depends_on_the_seed_and_the_tensor_alone():
    model, other = network(), network()
    with torch.no_grad():
        other[0].weight.mul_(3)
    first, again = (choose_masks(m, sparsity=0.5, saliency=saliency.random(1)) for m in (model, other))
    assert all(torch.equal(first[name], again[name]) for name in first)
    different = choose_masks(model, sparsity=0.5, saliency=saliency.random(2))
    assert not torch.equal(first["0.weight"], different["0.weight"])
    assert int(first["0.weight"].sum()) == 12


def test_a_saliency_of_ones_own():
    def by_column(model, parameters):
        return {name: torch.arange(p.shape[1]).expand(p.shape).float() for name, p in parameters.items()}

    mask = choose_masks(network(), sparsity=0.5, saliency=by_column)["0.weight"]
    assert mask.tolist() == [[False, False, True, True]] * 6


@pytest.mark.parametrize(
    ("of_weights", "message"),
    [
        (lambda model, parameters: {}, "saliency: got nothing for 0.weight"),
        (lambda model, parameters: {n: p[0] for n, p in parameters.items()}, r"saliency: got \(4,\) for 0.weight"),
        (lambda model, parameters: {n: -p.abs() for n, p in parameters.items()}, "saliency: got values below 0"),
        (lambda model, parameters: {n: p * float("nan") for n, p in parameters.items()}, "24 weights that are NaN"),
        (saliency.gradient(loss, []), "gradient: got no batches"),
    ],
)
def test_saliencies_that_do_not_fit(of_weights, message):
    with pytest.raises(ModelError, match=message):
        choose_masks(network(), sparsity=0.5, saliency=of_weights)
