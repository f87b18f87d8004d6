"""Wall time of a whole table: `redense run` against the plain loop that anybody would write (goal: 2.5 times faster).

The plain loop does the same training in one process: default threads, default Adam, NCHW, layers as written, the
mask multiplied in after every step, dense trained once for all sparsities, test accuracy after every epoch, and all
examples' logits at the end of each phase. The two take turns; the ratio is taken pair by pair.

    python benchmarks/table.py [--epochs 1] [--repeats 3] [--data fashion-mnist] [--data-root FOLDER]
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial

import torch
from published import PlainLoop, published_network
from timing import in_turns, machine, ratios, seconds, spread
from torch import nn

import redense

SPARSITIES = (0.3, 0.5, 0.7, 0.9)


def train_table(data: str, epochs: int, data_root: str | None) -> None:
    """Train the table in the plain way, and print each phase's test accuracy."""
    loop = PlainLoop(redense.data.load(data, data_root))
    torch.manual_seed(0)

    def phase(model: nn.Module, lr: float, masks: dict[str, torch.Tensor]) -> None:
        loop.train(model, epochs, lr, masks)
        accuracy = loop.accuracy(model, loop.x_test, loop.y_test)
        loop.accuracy(model, loop.x, loop.y)
        print(f"plain   test {100 * accuracy:.2f}%", flush=True)

    model = published_network()
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


def timed(name: str, command: list[str], wanted: str, change: Callable[[str], str]) -> float:
    """Run a command in a process of its own, start-up included; print its lines that hold `wanted`."""
    printed: list[str] = []
    taken = seconds(
        lambda: printed.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    )
    print("\n".join(change(line) for line in printed[0].splitlines() if wanted in line))
    print(f"{name:<7} {taken:.1f} s", flush=True)
    return taken


def plain_loop(data: str, epochs: int, root: list[str]) -> float:
    """Seconds of the plain loop."""
    command = [sys.executable, __file__, "--plain", "--data", data, "--epochs", str(epochs), *root]
    return timed("plain", command, "test", str)


def redense_run(data: str, epochs: int, root: list[str]) -> float:
    """Seconds of the command into an empty folder."""
    recipe = ["--data", data, "--model", "fmnist-cnn", "--sparsities", *map(str, SPARSITIES)]
    with tempfile.TemporaryDirectory() as folder:
        flags = [*recipe, "--epochs", *[str(epochs)] * 3, "--out", f"{folder}/run", *root]
        command = [sys.executable, "-m", "redense", "run", *flags]
        return timed("redense", command, ", test ", lambda line: f"redense {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each phase")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", default="fashion-mnist", help="images of 28x28 pixels; digits for a quick look")
    parser.add_argument("--data-root")
    parser.add_argument("--plain", action="store_true", help="only the plain loop, in this process")
    options = parser.parse_args()
    if options.plain:
        train_table(options.data, options.epochs, options.data_root)
        return
    print(machine())
    settings = (options.data, options.epochs, ["--data-root", options.data_root] if options.data_root else [])
    measures = {"plain": partial(plain_loop, *settings), "redense": partial(redense_run, *settings)}
    found = in_turns(measures, options.repeats, warm_up=0)
    pairs = ratios(found["plain"], found["redense"])
    print(f"plain {spread(found['plain'], digits=1)} s, redense {spread(found['redense'], digits=1)} s")
    print(f"ratio {spread(pairs)}: {', '.join(f'{ratio:.2f}' for ratio in pairs)}")


if __name__ == "__main__":
    main()
