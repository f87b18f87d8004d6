import pytest
import pytorch_optimizer
import torch
from foreign.guides import run_guide
from foreign.small import loader, loss_fn, network
from foreign.watch import Watch, same_bits

import redense

pytestmark = pytest.mark.foreign


class SAM(torch.optim.Optimizer):
    """Written after the README of github.com/davda54/sam and the paper (Foret et al., ICLR 2021, equation 2)."""

    def __init__(self, params, base_optimizer, rho=0.05, **options):
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base_optimizer(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    def _parameters(self):
        return [p for group in self.param_groups for p in group["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.stack([p.grad.norm() for p in self._parameters()]).norm() + 1e-12
        for parameter in self._parameters():
            self.state[parameter]["old"] = parameter.detach().clone()
            parameter.add_(parameter.grad, alpha=float(self.param_groups[0]["rho"] / norm))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for parameter in self._parameters():
            parameter.copy_(self.state[parameter]["old"])
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    def step(self, closure=None):
        raise NotImplementedError


class Seen:
    """What is zero in a layer whenever a batch goes through it: at both points of every step."""

    def __init__(self, layer):
        self.zeros = []
        layer.register_forward_pre_hook(lambda layer, _: self.zeros.append(int((layer.weight == 0).sum())))


@pytest.mark.parametrize("kind", [SAM, pytorch_optimizer.SAM])
def test_the_guide_is_sparse_at_both_points(kind):
    model = network()
    at = Seen(model[0])
    with Watch(first=model[0].weight, last=model[2].weight).looking() as seen:
        run_guide("sam", "Training", model=model, loader=loader(), loss_fn=loss_fn, SAM=kind)
    seen.check((40, None, 1), (20, 0.5, 1), (20, None, 0.1))
    assert at.zeros[:121] == [0] * 80 + [64] * 40 + [64], "the first gradient of re-dense is that of the sparse network"
    assert max(at.zeros[121:]) < 10


def train(until=None, states=None):
    model = network()
    optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(2, 2, 1))
    if states is not None:
        for part, state in zip((model, optimizer.base_optimizer, dsd), states, strict=True):
            part.load_state_dict(state)
    for epoch in dsd.epochs():
        for x, y in loader():
            loss_fn(model(x), y).backward()
            optimizer.first_step(zero_grad=True)
            loss_fn(model(x), y).backward()
            optimizer.second_step(zero_grad=True)
        if epoch == until:
            return [part.state_dict() for part in (model, optimizer.base_optimizer, dsd)]
    return model


def test_resumption_in_the_sparse_phase():
    assert same_bits(train(states=train(until=2)), train())
