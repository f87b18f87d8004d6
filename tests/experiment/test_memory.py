import torch
from torch import nn

from redense.experiment.memory import available_bytes, control_group_bytes, state_bytes, training_bytes
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
    assert control_group_bytes(root) is None
    assert available_bytes(root) == 1024 * 1024


def test_a_machine_that_is_full_has_nothing_left(tmp_path):
    assert available_bytes(machine(tmp_path, 1024, memory_dot_max="5", memory_dot_current="9")) == 0


def test_the_published_networks_needs():
    model = build("fmnist-cnn", (1, 28, 28), 10)
    assert state_bytes(model) == 4 * 421_576
    # first convolution, its pooling and ReLU, and so on: the sizes of the published table, float32
    # (26x26 images are all that pooling leaves room for: 24x24 and 12x12, then 10x10 and 5x5)
    outputs = 32 * (24 * 24 + 2 * 12 * 12) + 64 * (10 * 10 + 2 * 5 * 5) + 1600 + 250 + 250 + 10
    assert training_bytes(model, (1, 28, 28), 32) == 4 * 4 * 421_576 + 500 * 4 * outputs


def test_the_estimate_of_a_linear_layer_is_what_autograd_keeps():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    assert training_bytes(model, (4,), 1000) == 4 * 4 * (40 + 18) + 2000 * 4 * (8 + 2)
    assert torch.is_grad_enabled()
    assert model.training
