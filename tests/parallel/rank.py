"""The ranks of parallel tests: `python rank.py FOLDER SIZE SCENARIO,SCENARIO... [SIZE SCENARIO,...]`, one group a SIZE.

Ranks are forked, since each would else take seconds to load PyTorch; any failure is the exit status. What rank 3 of 4
says goes into FOLDER/4-3.txt.
"""

import copy
import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard

import redense
from redense.errors import ModelError, RecipeError

STEPS = {"steps": (2, 4, 2)}


def network(dtype=torch.float32, ties=False):
    """Rows that do not divide evenly among the ranks, one row for them all, and a parameter that stays whole."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 13), nn.Tanh(), nn.Linear(13, 1, bias=False))
    if ties:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_((parameter * 8).round() / 8)
    return model.to(dtype)


def sharded(model, **options):
    mesh = options.pop("mesh", None) or init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def train_step(model, optimizer, number, clip=False):
    """The same batch on every rank, so that mean gradients are a single process's to the bit."""
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(number))
    optimizer.zero_grad()
    model(x).float().square().mean().backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1) if clip else None
    optimizer.step()
    return norm


def pruned_are_zero(model, optimizer, masks):
    for name, parameter in model.named_parameters():
        if name in masks:
            pruned = ~whole(masks[name])
            assert not whole(parameter)[pruned].any(), name
            for moment in optimizer.state[parameter].values():
                if isinstance(moment, torch.Tensor) and moment.shape == parameter.shape:
                    assert not whole(moment)[pruned].any(), name


def masks_or_error(model, settings):
    try:
        return redense.magnitude_masks(model, **settings)
    except RecipeError as error:
        return str(error)


def masks_equal_those_of_one_process(folder):
    cases = [
        {"sparsity": sparsity, "distribution": distribution}
        for distribution in ("uniform", "global", "erk", {"2": 0.3})
        for sparsity in (0.25, 0.5, 0.8)
    ]
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for ties in (False, True):
            single, spread = network(dtype, ties), sharded(network(dtype, ties))
            for case in cases:
                expected, masks = masks_or_error(single, case), masks_or_error(spread, case)
                if isinstance(expected, str):
                    assert masks == expected
                    continue
                assert list(masks) == list(expected)
                for name, mask in masks.items():
                    assert mask.placements == spread.get_parameter(name).placements
                    assert torch.equal(mask.full_tensor(), expected[name]), (case, name)
    assert redense.measure_sparsity(spread) == redense.measure_sparsity(single) > 0


def whole_parameters_beside_shards(folder):
    """Some layers sharded and others not: every weight counts once."""
    for ties in (False, True):
        single, spread = network(ties=ties), network(ties=ties)
        fully_shard(spread[2], mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
        for sparsity in (0.3, 0.7):
            expected, masks = (
                redense.magnitude_masks(model, sparsity=sparsity, distribution="global") for model in (single, spread)
            )
            assert all(torch.equal(whole(mask), expected[name]) for name, mask in masks.items())


def replicated_shards(folder):
    """HSDP: shards along one dimension of the mesh, copies along the other."""
    size = dist.get_world_size()
    mesh = init_device_mesh("cpu", (2, size // 2), mesh_dim_names=("copies", "shards"))
    single, spread = network(ties=True), sharded(network(ties=True), mesh=mesh)
    expected, masks = (redense.magnitude_masks(m, sparsity=0.5, distribution="global") for m in (single, spread))
    assert all(torch.equal(mask.full_tensor(), expected[name]) for name, mask in masks.items())


def training_equals_that_of_one_process(folder):
    for kind in (torch.optim.Adam, torch.optim.Adamax):
        models = network(), sharded(network())
        optimizers = [kind(model.parameters(), 0.01) for model in models]
        dsds = [redense.DSD(m, o, sparsity=0.5, **STEPS) for m, o in zip(models, optimizers, strict=True)]
        for number in range(8):
            norms = [train_step(m, o, number, clip=True) for m, o in zip(models, optimizers, strict=True)]
            torch.testing.assert_close(whole(norms[1]), norms[0])
            assert dsds[0].progress == dsds[1].progress
            if dsds[1].masks:
                pruned_are_zero(models[1], optimizers[1], dsds[1].masks)
            for name, mask in dsds[1].masks.items():
                assert torch.equal(mask.full_tensor(), dsds[0].masks[name])
        for name, parameter in models[1].named_parameters():
            torch.testing.assert_close(parameter.full_tensor(), models[0].get_parameter(name))


def mixed_precision_and_offload(folder):
    policies = [
        {"mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)},
        {"offload_policy": CPUOffloadPolicy(pin_memory=False)},
    ]
    for policy in policies:
        model = sharded(network(), **policy)
        optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
        dsd = redense.DSD(model, optimizer, sparsity=0.5, **STEPS)
        seen = []
        for number in dsd.steps():
            train_step(model, optimizer, number, clip=True)
            seen.append(redense.measure_sparsity(model))
            pruned_are_zero(model, optimizer, dsd.masks)
        total = sum(model.get_parameter(name).numel() for name in ("0.weight", "2.weight", "4.weight"))
        counts = [round(share * total) for share in seen]
        # 21 of 42, 46 of 91 (45.5, to even) and 6 of 13; the last back brings back the others' gradients
        assert counts[:6] == [0, 73, 73, 73, 73, 73], counts
        assert counts[7] == 0, counts


def data_parallel(folder):
    model = nn.parallel.DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    dsd = redense.DSD(model, optimizer, sparsity=0.5, **STEPS)
    for number in dsd.steps():
        train_step(model, optimizer, 100 * number + dist.get_rank(), clip=True)
        pruned_are_zero(model, optimizer, dsd.masks)
        for name, mask in dsd.masks.items():
            assert not model.module.get_parameter(name).grad[~mask].any() or dsd.progress == 2
            everyone = [torch.empty_like(mask, dtype=torch.uint8) for _ in range(dist.get_world_size())]
            dist.all_gather(everyone, mask.to(torch.uint8))
            assert all(torch.equal(other, everyone[0]) for other in everyone)


def states(model, optimizer, dsd):
    model_state, optimizer_state = get_state_dict(model, optimizer)
    return {"model": model_state, "optimizer": optimizer_state, "dsd": dsd.state_dict()}


def saving(folder):
    """Train five steps, into the sparse phase, and save; then train on, for the resumed run to be compared with."""
    model = sharded(network())
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    dsd = redense.DSD(model, optimizer, sparsity=0.5, **STEPS)
    for number in range(5):
        train_step(model, optimizer, number)
    dcp.save(states(model, optimizer, dsd), checkpoint_id=folder / "checkpoint")
    for number in range(5, 8):
        train_step(model, optimizer, number)
    final = {name: parameter.full_tensor().detach() for name, parameter in model.named_parameters()}
    if dist.get_rank() == 0:
        torch.save(final, folder / "final.pt")


def resuming(folder):
    """Load what another number of ranks saved, sharded and in one piece, and end alike."""
    final = torch.load(folder / "final.pt")
    for model in (sharded(network()), network()):
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        dsd = redense.DSD(model, optimizer, sparsity=0.5, **STEPS)
        state = states(model, optimizer, dsd)
        dcp.load(state, checkpoint_id=folder / "checkpoint")
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        dsd.load_state_dict(state["dsd"])
        assert (dsd.progress, dsd.phase.kind) == (5, "sparse")
        for number in range(5, 8):
            train_step(model, optimizer, number)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(whole(parameter).detach(), final[name])


def bad_input(folder):
    """Every rank gets the same error, and none waits for another."""
    model = sharded(network())
    cases = [
        (RecipeError, {"score": redense.scores.random()}, "nothing else is made for shards"),
        (RecipeError, {"sparsity": 0.99}, "leaves 0.weight .42 weights. without any"),
    ]
    with torch.no_grad():
        poisoned = copy.deepcopy(network())
        poisoned[2].weight[0, 0] = float("nan")  # on the first rank only
    for error, settings, words in [*cases, (ModelError, {}, "2.weight: got 1 weights that are NaN")]:
        target = sharded(poisoned) if error is ModelError else model
        with pytest.raises(error, match=words):
            redense.choose_masks(target, **{"sparsity": 0.5, **settings})


def take_part(folder, rank, size, scenarios):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{size}", rank=rank, world_size=size, timeout=timedelta(seconds=120)
    )
    for scenario in scenarios:
        globals()[scenario](folder)
        print(scenario, "passed", flush=True)
    dist.destroy_process_group()


def forked(folder, rank, size, scenarios):
    """Begin a rank in a process of its own; return its id."""
    child = os.fork()
    if child:
        return child
    output = os.open(folder / f"{size}-{rank}.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status = 1
    try:
        take_part(folder, rank, size, scenarios)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def main():
    folder, *groups = sys.argv[1:]
    torch.set_num_threads(1)
    torch.optim.Adam(network().parameters())  # loads what PyTorch loads late, once
    for size, scenarios in zip(map(int, groups[::2]), groups[1::2], strict=True):
        ranks = [forked(Path(folder), rank, size, scenarios.split(",")) for rank in range(size)]
        statuses = [os.waitpid(rank, 0)[1] for rank in ranks]
        if any(statuses):
            sys.exit(1)


if __name__ == "__main__":
    main()
