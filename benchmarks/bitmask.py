"""Size of bitmask files of the published network against its dense file.

Goals at 30, 50, 80 and 90% sparsity: 73.5, 53.5, 23.5 and 13.5%.

    python benchmarks/bitmask.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import redense
from redense.models.registry import build


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = build("fmnist-cnn", (1, 28, 28), 10)
        save_file(model.state_dict(), folder / "dense")
        dense = (folder / "dense").stat().st_size
        print(f"dense       {dense:9,} bytes")
        for sparsity in (0.3, 0.5, 0.8, 0.9):
            pruned = build("fmnist-cnn", (1, 28, 28), 10)
            with torch.no_grad():
                for parameter, mask in redense.magnitude_masks(pruned, sparsity=sparsity).items():
                    pruned.get_parameter(parameter)[~mask] = 0
            redense.save_sparse(pruned, folder / "sparse")
            size = (folder / "sparse").stat().st_size
            print(f"{100 * sparsity:.0f}% sparse  {size:9,} bytes  {100 * size / dense:.2f}% of dense")


if __name__ == "__main__":
    main()
