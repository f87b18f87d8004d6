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


def launch(folder, size, scenarios):
    """Run all ranks; return the exit status and the output of each."""
    command = [sys.executable, Path(__file__).with_name("rank.py"), folder]
    ranks = [
        subprocess.Popen([*command, str(rank), str(size), *scenarios], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in range(size)
    ]
    outputs = [rank.communicate(timeout=400)[0].decode() for rank in ranks]
    return [(rank.returncode, output) for rank, output in zip(ranks, outputs, strict=True)]


def test_four_ranks_then_two_that_resume(tmp_path):
    for size, scenarios in ((4, [*BOTH, "replicated_shards", "saving"]), (2, [*BOTH, "resuming"])):
        for number, (status, output) in enumerate(launch(tmp_path, size, scenarios)):
            assert status == 0, f"rank {number} of {size}:\n{output}"
            assert output.count("passed") == len(scenarios)
