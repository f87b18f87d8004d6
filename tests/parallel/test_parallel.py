"""DDP and FSDP2 on 2 and 4 processes; each asserts for itself (see rank.py)."""

import subprocess
import sys
from pathlib import Path

BOTH = [
    "masks_equal_those_of_one_process",
    "whole_parameters_beside_shards",
    "training_equals_that_of_one_process",
    "mixed_precision_and_offload",
    "data_parallel",
    "bad_input",
]


def test_four_ranks_then_two_that_resume(tmp_path):
    groups = {4: [*BOTH, "replicated_shards", "saving"], 2: [*BOTH, "resuming"]}
    words = [word for size, scenarios in groups.items() for word in (str(size), ",".join(scenarios))]
    command = [sys.executable, Path(__file__).with_name("rank.py"), tmp_path, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=800)
    said = {path.stem: path.read_text() for path in tmp_path.glob("*.txt")}
    assert done.returncode == 0, "\n".join([done.stdout, *(f"rank {rank}:\n{text}" for rank, text in said.items())])
    assert len(said) == sum(groups)
    for size, scenarios in groups.items():
        for rank in range(size):
            assert said[f"{size}-{rank}"].count("passed") == len(scenarios)
