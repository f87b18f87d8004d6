"""Wall time of a whole table: `redense run` against the plain loop that anybody would write (goal: 2.5 times faster).

The plain loop does the same training in one process: default threads, default Adam, NCHW, layers as written, the
mask multiplied in after every step, dense trained once for all sparsities, test accuracy after every epoch, and all
examples' logits at the end of each phase. The two take turns; the ratio is taken pair by pair.

    python benchmarks/table.py [--epochs 1] [--repeats 3] [--data-root FOLDER]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPARSITIES = (0.3, 0.5, 0.7, 0.9)


def plain_loop(epochs: int, data_root: str | None) -> float:
    """Train the table in the plain way; print each phase's test accuracy and return the seconds."""
    import torch
    from torch import nn
    from torch.nn import functional

    from redense.data import load as load_data

    started = time.perf_counter()
    dataset = load_data("fashion-mnist", Path(data_root) if data_root else None)
    x_train, x_test = (torch.from_numpy(x).float() / 255 for x in (dataset.x_train, dataset.x_test))
    y_train, y_test = torch.from_numpy(dataset.y_train), torch.from_numpy(dataset.y_test)
    torch.manual_seed(0)

    def evaluate(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
        with torch.no_grad():
            logits = torch.cat([model(batch) for batch in x.split(500)])
        return (logits.argmax(1) == y).float().mean().item()

    def phase(model: nn.Module, lr: float, masks: dict[str, torch.Tensor]) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        for _ in range(epochs):
            for batch in torch.randperm(len(y_train)).split(32):
                optimizer.zero_grad()
                functional.cross_entropy(model(x_train[batch]), y_train[batch]).backward()
                optimizer.step()
                with torch.no_grad():
                    for name, mask in masks.items():
                        model.get_parameter(name).mul_(mask)
            evaluate(model, x_test, y_test)
        accuracy = evaluate(model, x_test, y_test)
        evaluate(model, x_train, y_train)
        print(f"plain   test {100 * accuracy:.2f}%", flush=True)

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 250), nn.ReLU(), nn.Linear(250, 10),
    )  # fmt: skip
    phase(model, 1e-3, {})
    for sparsity in SPARSITIES:
        pruned = copy.deepcopy(model)
        masks = {}
        for name, parameter in pruned.named_parameters():
            if parameter.dim() > 1:
                magnitude = parameter.detach().abs()
                masks[name] = (
                    magnitude > magnitude.flatten().kthvalue(round(sparsity * magnitude.numel())).values
                ).float()
                with torch.no_grad():
                    parameter.mul_(masks[name])
        phase(pruned, 1e-3, masks)
        phase(pruned, 1e-4, {})
    return time.perf_counter() - started


def redense_run(epochs: int, data_root: str | None) -> float:
    """Run the command into an empty folder, start-up included, and return the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        root = ["--data-root", data_root] if data_root else []
        flags = ["--epochs", *[str(epochs)] * 3, "--out", f"{folder}/run", *root]
        started = time.perf_counter()
        done = subprocess.run(
            [str(Path(sys.executable).with_name("redense")), "run", "fashion-mnist", *flags],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        print("\n".join(f"redense {line}" for line in done.stdout.splitlines() if ", test " in line), flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each phase")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data-root")
    parser.add_argument("--plain", action="store_true", help="only the plain loop, in this process")
    arguments = parser.parse_args()
    if arguments.plain:
        print(f"seconds {plain_loop(arguments.epochs, arguments.data_root)}")
        return
    ratios = []
    for repeat in range(arguments.repeats):
        root = ["--data-root", arguments.data_root] if arguments.data_root else []
        command = [sys.executable, __file__, "--plain", "--epochs", str(arguments.epochs), *root]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        plain = time.perf_counter() - started
        print(done.stdout, end="")
        ours = redense_run(arguments.epochs, arguments.data_root)
        ratios.append(plain / ours)
        print(f"pair {repeat + 1}: plain {plain:.1f} s, redense {ours:.1f} s, ratio {ratios[-1]:.2f}", flush=True)
    print(f"ratio: median {statistics.median(ratios):.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]")


if __name__ == "__main__":
    main()
