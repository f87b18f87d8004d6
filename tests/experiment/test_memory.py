import hashlib
import os
import shutil

import pytest
import torch
from torch import nn

from redense.errors import FolderError
from redense.experiment.checkpoints import Store
from redense.experiment.memory import state_bytes, training_bytes
from redense.files import reading
from redense.files.cgroups import available_bytes, cpu_quota, memory_left, memory_limit, total_bytes
from redense.models.registry import build

GIB = 1 << 30


def machine(root, available_kib, **groups):
    """A file tree like that of a machine, with a control group's files."""
    (root / "proc").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {available_kib} kB\n")
    for name, text in groups.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_a_group_the_machine_decides(tmp_path):
    assert available_bytes(machine(tmp_path, 1024 * 1024)) == GIB


def test_a_groups_limit_counts_without_its_caches(tmp_path):
    root = machine(
        tmp_path,
        8 * 1024 * 1024,
        memory_dot_max=f"{2 * GIB}\n",
        memory_dot_current=f"{GIB}\n",
        memory_dot_stat=f"anon 5\ninactive_file {GIB // 4}\n",
    )
    assert available_bytes(root) == GIB + GIB // 4


def test_a_group_without_a_limit_is_none(tmp_path):
    root = machine(tmp_path, 1024, memory_dot_max="max\n", memory_dot_current="5\n")
    assert available_bytes(root) == 1024 * 1024


def test_the_older_groups_are_read_too(tmp_path):
    root = machine(
        tmp_path,
        8 * 1024 * 1024,
        memory__memory_dot_limit_in_bytes=str(GIB),
        memory__memory_dot_usage_in_bytes=str(GIB // 2),
    )
    assert available_bytes(root) == GIB // 2


def test_the_older_groups_huge_number_is_no_limit(tmp_path):
    root = machine(
        tmp_path,
        1024,
        memory__memory_dot_limit_in_bytes="9223372036854771712",
        memory__memory_dot_usage_in_bytes="5",
    )
    assert memory_left(root) is None
    assert available_bytes(root) == 1024 * 1024


def test_a_machine_that_is_full_has_nothing_left(tmp_path):
    assert available_bytes(machine(tmp_path, 1024, memory_dot_max="5", memory_dot_current="9")) == 0


def nested(root, own, **groups):
    """The same with the process in a group of its own; names of files by group."""
    machine(root, 8 * 1024 * 1024)
    (root / "proc/self").mkdir()
    (root / "proc/self/cgroup").write_text(own)
    for group, files in groups.items():
        folder = root / "sys/fs/cgroup" / group.replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")
    return root


def of_memory(limit, used=0):
    return {"memory.max": limit, "memory.current": used}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("0::/slurm/job/step", 1 * GIB),
        ("0::/slurm/job", 2 * GIB),
        ("0::/slurm", 3 * GIB),
        ("0::/", 4 * GIB),
        ("0::/../other", 4 * GIB),
        ("0::/docker/not/seen/here", 4 * GIB),
        ("", 4 * GIB),
    ],
)
def test_the_processs_own_group_and_all_around_it_count(own, expected, tmp_path):
    groups = {"slurm__job__step": GIB, "slurm__job": 2 * GIB, "slurm": 3 * GIB}
    root = nested(tmp_path, own, **{name: of_memory(limit) for name, limit in groups.items()})
    for name, text in of_memory(4 * GIB).items():
        (root / "sys/fs/cgroup" / name).write_text(str(text))
    assert available_bytes(root) == expected


def test_a_group_around_it_may_be_the_narrowest(tmp_path):
    root = nested(tmp_path, "0::/a/b", a=of_memory(2 * GIB, GIB), a__b=of_memory("max"))
    assert available_bytes(root) == GIB


def test_the_older_groups_nest_too(tmp_path):
    files = {"memory.limit_in_bytes": GIB, "memory.usage_in_bytes": GIB // 4}
    own = "5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/\n"
    quota = {"cpu.cfs_quota_us": 250_000, "cpu.cfs_period_us": 100_000}
    root = nested(tmp_path, own, **{"memory__docker__x": files, "cpu,cpuacct__docker": quota})
    assert available_bytes(root) == 3 * GIB // 4
    assert cpu_quota(root) == 2.5


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("max 100000", "max 100000", None),
        ("400000 100000", "max 100000", 4.0),
        ("400000 100000", "150000 100000", 1.5),
        ("50000 100000", "150000 100000", 0.5),
        ("", "0 0", None),
        ("odd", "-1 100000", None),
    ],
)
def test_the_smallest_quota_of_all_groups_holds(outer, inner, expected, tmp_path):
    root = nested(tmp_path, "0::/a/b", a={"cpu.max": outer}, a__b={"cpu.max": inner})
    assert cpu_quota(root) == expected


@pytest.mark.parametrize(
    "text", [None, "", "MemTotal: 5 kB\nMemFree: 3 kB\n", "MemAvailable: lots\n", "MemAvailable\n"]
)
def test_where_a_kernel_does_not_say_what_is_available_all_memory_counts(text, tmp_path):
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "meminfo").write_text(text)
    assert available_bytes(tmp_path) == total_bytes() > GIB


def test_the_limit_of_groups_counts_whatever_of_it_is_used(tmp_path):
    root = nested(tmp_path, "0::/a/b", a=of_memory(2 * GIB, GIB), a__b=of_memory(3 * GIB, GIB))
    assert (memory_limit(root), memory_left(root)) == (2 * GIB, GIB)
    assert memory_limit(nested(tmp_path / "none", "0::/a", a=of_memory("max"))) is None


@pytest.mark.parametrize(("limit", "expected"), [(None, 7), (5, 5), (9, 7)])
def test_what_may_be_read_is_what_machine_and_groups_hold(limit, expected, monkeypatch):
    monkeypatch.setattr(reading, "total_bytes", lambda: 7)
    monkeypatch.setattr(reading, "memory_limit", lambda: limit)
    assert reading.memory.__wrapped__() == expected


@pytest.fixture
def no_memory(monkeypatch):
    """Files of more than ten bytes ask for memory, and there is none."""
    monkeypatch.setattr(reading, "ASKED_FROM", 10)
    monkeypatch.setattr(reading, "available_bytes", lambda: 10)


def test_a_file_for_which_no_memory_is_left_is_not_read(tmp_path, no_memory):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert reading.plain_bytes(path) == b"0123456789"
    path.write_bytes(b"0123456789a")
    with pytest.raises(OSError, match="Cannot allocate memory"):
        reading.plain_bytes(path, 100)
    assert reading.plain_sha256(path) == hashlib.sha256(b"0123456789a").hexdigest(), "piece by piece"


def test_a_checkpoint_for_which_no_memory_is_left_is_no_damage(undisturbed, tmp_path, no_memory):
    store = Store(shutil.copytree(undisturbed, tmp_path / "run"))
    with pytest.raises(FolderError, match="checkpoint.json: cannot be read .Cannot allocate memory"):
        store.load(next((undisturbed / "checkpoints").iterdir()).name)
    assert not store.set_aside


def test_damage_is_found_without_memory_for_what_is_damaged(undisturbed, tmp_path, monkeypatch):
    """Such as a file that somebody has made larger than memory is."""
    store = Store(shutil.copytree(undisturbed, tmp_path / "run"))
    folder = next((store.root / "checkpoints").iterdir())
    most = (folder / "checkpoint.json").stat().st_size
    monkeypatch.setattr(reading, "ASKED_FROM", most)
    monkeypatch.setattr(reading, "available_bytes", lambda: most)
    os.truncate(folder / "model.safetensors", 2**24)
    assert store.load(folder.name) is None
    assert "model.safetensors does not match its checksum" in store.set_aside[0]


def test_the_published_networks_needs():
    model = build("fmnist-cnn", (1, 28, 28), 10)
    assert state_bytes(model) == 4 * 421_576
    # first convolution, its pooling and ReLU, and so on: the sizes of the published table, float32
    # (26x26 images are all that pooling leaves room for: 24x24 and 12x12, then 10x10 and 5x5)
    outputs = 32 * (24 * 24 + 2 * 12 * 12) + 64 * (10 * 10 + 2 * 5 * 5) + 1600 + 250 + 250 + 10
    assert training_bytes(model, torch.zeros(1, 1, 28, 28), 32) == 4 * 4 * 421_576 + 500 * 4 * outputs


def test_the_estimate_of_a_linear_layer_is_what_autograd_keeps():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    assert training_bytes(model, torch.zeros(1, 4), 1000) == 4 * 4 * (40 + 18) + 2000 * 4 * (8 + 2)
    assert torch.is_grad_enabled()
    assert model.training
