import opacus
import pytest
import torch
from foreign.guides import run_guide
from foreign.small import loader, loss_fn, network
from foreign.watch import Watch, same_bits

import redense

pytestmark = pytest.mark.foreign


def private(model, optimizer, **settings):
    chosen = {"noise_multiplier": 1.0, "max_grad_norm": 1.0, **settings}
    return opacus.PrivacyEngine().make_private(module=model, optimizer=optimizer, data_loader=loader(), **chosen)


def test_the_guide():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with Watch(first=model[0].weight, last=model[2].weight).looking() as seen:
        names = run_guide("opacus", "Training", model=model, optimizer=optimizer, loader=loader(), loss_fn=loss_fn)
    seen.check((40, None, 1), (20, 0.5, 1), (20, None, 0.1))
    assert 0 < names["epsilon"] < float("inf")
    assert len(names["engine"].accountant.history) > 0


def test_pruned_weights_take_no_share_of_the_clipping_norm():
    """The step in the sparse phase is the mean of masked gradients, each clipped, computed one by one."""
    model = network()
    with torch.no_grad():
        model[0].weight.mul_(3)
    wrapped, optimizer, batches = private(
        model,
        torch.optim.SGD(model.parameters(), 1.0),
        noise_multiplier=0.0,
        max_grad_norm=0.3,
        poisson_sampling=False,
    )
    dsd = redense.DSD(wrapped, optimizer, phases=[redense.phases.sparse(1, 0.5)])
    x, y = next(iter(batches))
    for _ in dsd.epochs():
        masks = dsd.masks
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        expected = {name: torch.zeros_like(value) for name, value in before.items()}
        bare = network()
        bare.load_state_dict(model.state_dict())
        for one, label in zip(x, y, strict=True):
            bare.zero_grad()
            loss_fn(bare(one[None]), label[None]).backward()
            gradients = {name: p.grad * masks.get(name, 1) for name, p in bare.named_parameters()}
            norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
            unmasked = torch.stack([p.grad.norm() for p in bare.parameters()]).norm()
            assert norm > 0.3, "it is clipped"
            assert unmasked > 1.05 * norm, "and otherwise without masks"
            for name, gradient in gradients.items():
                expected[name] += gradient * (0.3 / norm) / len(x)
        optimizer.zero_grad()
        loss_fn(wrapped(x), y).backward()
        optimizer.step()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(before[name] - parameter.detach(), expected[name], rtol=1e-3, atol=1e-6)


def train(path, until=None, resume=False):
    model = network()
    engine = opacus.PrivacyEngine()
    wrapped, optimizer, batches = engine.make_private(
        module=model,
        optimizer=torch.optim.Adam(model.parameters(), 0.01),
        data_loader=loader(),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    dsd = redense.DSD(wrapped, optimizer, sparsity=0.5, epochs=(2, 2, 1))
    names = {"engine": engine, "model": wrapped, "optimizer": optimizer, "dsd": dsd, "path": str(path)}
    if resume:
        run_guide("opacus", "Resuming", 1, **names)
    for epoch in dsd.epochs():
        torch.manual_seed(epoch)
        for x, y in batches:
            optimizer.zero_grad()
            loss_fn(wrapped(x), y).backward()
            optimizer.step()
        if epoch == until:
            run_guide("opacus", "Resuming", 0, **names)
            break
    return model


def test_resumption_in_the_sparse_phase(tmp_path):
    whole = train(tmp_path / "state.pt")
    train(tmp_path / "state.pt", until=2)
    assert same_bits(train(tmp_path / "state.pt", resume=True), whole)


def test_ghost_clipping_is_refused():
    model = network()
    wrapped, optimizer, _, _ = private(
        model, torch.optim.Adam(model.parameters()), grad_sample_mode="ghost", criterion=torch.nn.CrossEntropyLoss()
    )
    with pytest.raises(redense.ModelError, match=r"FastGradientClipping: ghost clipping .* use make_private"):
        redense.DSD(wrapped, optimizer, sparsity=0.5, epochs=(1, 1, 1))


def test_names_are_those_of_the_bare_model():
    model = network()
    wrapped, optimizer, _ = private(model, torch.optim.Adam(model.parameters()))
    dsd = redense.DSD(wrapped, optimizer, phases=[redense.phases.sparse(1, 0.5)], exclude=["2"])
    dsd.start()
    assert list(dsd.masks) == ["0.weight"]
