"""Averages of weights are sparse in the sparse phase by the guides' recipes."""

import pytest
import timm.utils
import torch
import torchvision
from foreign.guides import run_guide
from foreign.small import loader, loss_fn, network
from foreign.watch import Watch, same_bits

import redense

pytestmark = pytest.mark.foreign


def convolutional():
    torch.manual_seed(0)
    return torchvision.models.shufflenet_v2_x0_5(num_classes=4)


IMAGES = [(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.arange(4))]


def test_the_guide_with_torchvisions_network():
    model = convolutional()
    with Watch(convolution=model.stage2[1].branch2[0].weight, head=model.fc.weight).looking() as seen:
        names = run_guide("torchvision", "Training", model=model, loader=IMAGES, loss_fn=loss_fn)
    seen.check((20, None, 1), (10, 0.5, 1), (10, None, 0.1))
    assert not names["dsd"].masks


@pytest.mark.parametrize("kind", ["AveragedModel", "ModelEma", "ModelEmaV2", "ModelEmaV3"])
def test_every_average_is_sparse_in_the_sparse_phase_and_dense_again_after_it(kind):
    model = network()
    if kind == "AveragedModel":
        decay = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=decay)
        update = average.update_parameters
    else:
        average = getattr(timm.utils, kind)(model, decay=0.9)
        update = average.update
    bare = average.ema if kind == "ModelEma" else average.module
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(2, 3, 2))
    zeros, without = [], []
    for _ in dsd.epochs():
        for x, y in loader():
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
            update(model)
            without.append(int((bare[0].weight == 0).sum()))
            dsd.apply_masks(bare if kind == "ModelEma" else average)
            zeros.append(int((bare[0].weight == 0).sum()))
    assert zeros[:10] == [0] * 4 + [64] * 6
    assert zeros[-1] < 6
    assert without[4] == 0, "the first average of the sparse phase holds what was before"


def train(path, until=None, resume=False):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    average = torch.optim.swa_utils.AveragedModel(model)
    parts = {
        "model": model,
        "average": average,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5),
        "dsd": redense.DSD(model, optimizer, sparsity=0.5, epochs=(2, 2, 1)),
    }
    if resume:
        run_guide("torchvision", "Resuming", 1, torch=torch, path=path, parts=parts)
    for epoch in parts["dsd"].epochs():
        for x, y in loader():
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
            average.update_parameters(model)
            parts["dsd"].apply_masks(average)
        parts["scheduler"].step()
        if epoch == until:
            run_guide("torchvision", "Resuming", 0, torch=torch, path=path, **parts)
            break
    return model, average


def test_resumption_in_the_sparse_phase(tmp_path):
    whole, average = train(tmp_path / "state.pt")
    train(tmp_path / "state.pt", until=2)
    resumed, again = train(tmp_path / "state.pt", resume=True)
    assert same_bits(resumed, whole)
    assert same_bits(again, average)
