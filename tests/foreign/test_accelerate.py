import accelerate
import pytest
import torch
from foreign.guides import run_guide
from foreign.small import loader, loss_fn, network
from foreign.watch import Watch, same_bits

import redense

pytestmark = pytest.mark.foreign


def parts():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader(4), "loss_fn": loss_fn}


def test_the_guide_with_accumulation_and_a_resumption_in_the_sparse_phase(tmp_path, monkeypatch):
    names = parts()
    whole = names["model"]
    with Watch(first=whole[0].weight, last=whole[2].weight).looking() as seen:
        names = run_guide("accelerate", "Training", **names, folder=tmp_path / "last")
    assert isinstance(names["optimizer"], accelerate.optimizer.AcceleratedOptimizer)
    seen.check((40, None, 1), (20, 0.5, 1), (20, None, 0.1))

    class Stopping(accelerate.Accelerator):
        def save_state(self, *arguments):
            super().save_state(*arguments)
            if self._custom_objects[0].progress == 25:
                raise InterruptedError

    monkeypatch.setattr(accelerate, "Accelerator", Stopping)
    with pytest.raises(InterruptedError):
        run_guide("accelerate", "Training", **parts(), folder=tmp_path / "stopped")
    names = parts()
    resumed = names["model"]
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer, scheduler, batches = accelerator.prepare(*list(names.values())[:4])
    dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(20, 10, 10))
    accelerator.register_for_checkpointing(dsd)
    run_guide("accelerate", "Resuming", accelerator=accelerator, folder=tmp_path / "stopped")
    assert dsd.phase.label == "sparse 50%"
    for _ in dsd.epochs():
        for x, y in batches:
            with accelerator.accumulate(model):
                accelerator.backward(loss_fn(model(x), y))
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
    assert same_bits(resumed, whole)
