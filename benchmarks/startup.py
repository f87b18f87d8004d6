"""Time to start: `redense --help` (goal 0.4 s) and `import redense` (goal 0.2 s), medians of interleaved runs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import redense": [sys.executable, "-c", "import redense"],
    "redense --help": [str(Path(sys.executable).with_name("redense")), "--help"],
    "redense run --help": [str(Path(sys.executable).with_name("redense")), "run", "--help"],
}


def main() -> None:
    timings: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            timings[name].append(time.perf_counter() - started)
    for name, seconds in timings.items():
        counted = seconds[1:]  # the first round warms the page cache
        print(f"{name:20} median {statistics.median(counted):.3f} s  [{min(counted):.3f}, {max(counted):.3f}]")


if __name__ == "__main__":
    main()
