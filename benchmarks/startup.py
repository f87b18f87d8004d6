"""Time to start: `redense --help` (goal 0.4 s), `import redense` (goal 0.2 s), and a finished run again (goal 1.5 s).

python benchmarks/startup.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from timing import machine, show, timings

REDENSE = str(Path(sys.executable).with_name("redense"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import redense": [sys.executable, "-c", "import redense"],
    "redense --help": [REDENSE, "--help"],
    "redense run --help": [REDENSE, "run", "--help"],
}


FINISHED = ["run", "--model", "mlp", "--sparsities", "0.5", "--epochs", "1", "1", "1", "--workers", "0", "--out"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(machine())
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    # the round before the clock runs warms the page cache
    with tempfile.TemporaryDirectory() as folder:
        again = {
            "redense run, finished": [REDENSE, *FINISHED, folder],
            "redense report": [REDENSE, "report", folder],
        }
        run(again["redense run, finished"])
        actions = {name: partial(run, command) for name, command in (COMMANDS | again).items()}
        show("time to start", timings(actions, repeats))


if __name__ == "__main__":
    main()
