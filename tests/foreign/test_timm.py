import pytest
import timm
import timm.models
import timm.optim
import timm.scheduler
import timm.utils
import torch
from foreign.guides import run_guide
from foreign.watch import Watch, same_bits

import redense

pytestmark = pytest.mark.foreign

X = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LOADER = list(zip(X.split(4), (torch.arange(8) % 4).split(4), strict=True))


def network():
    torch.manual_seed(0)
    settings = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 4}
    return timm.create_model("vit_tiny_patch16_224", **settings)


def watch(model):
    return Watch(qkv=model.blocks[0].attn.qkv.weight, patches=model.patch_embed.proj.weight, head=model.head.weight)


def test_the_guide_with_lookahead_a_scheduler_and_an_average():
    model = network()
    zeros_of_average = []

    class Average(timm.utils.ModelEmaV3):
        def update(self, *arguments, **settings):
            zeros_of_average.append(float((self.module.head.weight == 0).float().mean()))  # of the step before
            super().update(*arguments, **settings)

    with pytest.MonkeyPatch.context() as patch, watch(model).looking() as seen:
        patch.setattr(timm.utils, "ModelEmaV3", Average)
        names = run_guide("timm", "Training", model=model, loader=LOADER, loss_fn=torch.nn.functional.cross_entropy)
    assert isinstance(names["optimizer"], timm.optim.Lookahead)
    assert names["num_epochs"] == 40
    seen.check((40, None, 1), (20, 0.5, 1), (20, None, 0.1))
    assert zeros_of_average[:41] == [0.0] * 41
    assert zeros_of_average[41:61] == [0.5] * 20
    assert zeros_of_average[-1] < 0.02
    assert not model.cls_token.eq(0).any()


def train(folder, until=None, resume=None):
    """Train in the shape of timm's train.py: loss scaler, accumulation, updates counted, CheckpointSaver."""
    model = network()
    optimizer = timm.optim.create_optimizer_v2(model, opt="lookahead_nadamw", lr=1e-2, weight_decay=0.05)
    scaler = timm.utils.NativeScaler(device="cpu")
    scheduler, _ = timm.scheduler.create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=6, warmup_epochs=1, step_on_epochs=False, updates_per_epoch=2
    )
    saver = timm.utils.CheckpointSaver(model, optimizer, amp_scaler=scaler, checkpoint_dir=str(folder))
    dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(2, 3, 1))
    start = None
    if resume is not None:
        names = {"timm": timm, "torch": torch, "folder": folder, "checkpoint": resume, "scheduler": scheduler}
        names = run_guide("timm", "Resuming", 1, model=model, optimizer=optimizer, dsd=dsd, **names)
        start = names["start_epoch"]
        scheduler.step_update(start * 2)
    with watch(model).looking() as seen:
        for epoch in dsd.epochs(start=start):
            updates = epoch * 2
            for images, labels in LOADER:
                for part, (x, y) in enumerate(zip(images.split(2), labels.split(2), strict=True)):  # accumulated
                    loss = torch.nn.functional.cross_entropy(model(x), y) / 2
                    scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters(), need_update=part == 1)
                optimizer.zero_grad()
                updates += 1
                scheduler.step_update(num_updates=updates)
            scheduler.step(epoch + 1)
            run_guide("timm", "Resuming", 0, saver=saver, epoch=epoch, dsd=dsd, folder=folder)
            if epoch == until:
                break
    return model, seen


def test_the_shape_of_train_py_and_its_checkpoints(tmp_path_factory):
    whole, seen = train(tmp_path_factory.mktemp("whole"))
    zeros = [int(step.zeros[-1]["qkv"].sum()) for step in seen.steps]
    assert zeros[:10] == [0] * 4 + [16 * 48 // 2] * 6
    folder = tmp_path_factory.mktemp("stopped")
    train(folder, until=3)
    resumed, rest = train(folder, resume=folder / "last.pth.tar")
    assert len(rest.steps) == 4
    assert same_bits(resumed, whole)
