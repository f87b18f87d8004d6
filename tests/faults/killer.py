"""Run a recipe again and again in forked children, each killed after a random time, until one gets to its end.

Every other child is killed by SIGKILL, the others by any signal that ends a process, real-time ones among them.

Usage: killer.py NPZ OUT KILLS SEED. Starts over in another folder until KILLS children have been killed; prints, as
JSON, the number of kills and the folders. A process of its own, because only one that has never used threads may be
forked.
"""

import json
import os
import random
import resource
import signal
import sys
import time
from itertools import count
from pathlib import Path

import torch

from redense.experiment.recipe import Recipe
from redense.experiment.run import run

SPARED = {signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
"""Python or the system does something else with these."""
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
ENDING = sorted(number for number in signal.valid_signals() if number not in SPARED | STOPPING)


def recipe(npz):
    return Recipe(data=npz, model="factories:small", sparsities=(0.3, 0.9), epochs=(12, 12, 12), batch_size=16)


def attempt(npz, out):
    """Fork a child that runs the recipe; return its process id."""
    child = os.fork()
    if child == 0:
        run(recipe(npz), out, workers=0)
        os._exit(0)
    return child


def main():
    npz, out, kills_wanted, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chance = random.Random(seed)
    for warm in ("imports", "undisturbed"):  # the first run imports what the children then have
        started = time.perf_counter()
        run(recipe(npz), out / warm, workers=0)
        duration = time.perf_counter() - started
    kills, folders = 0, []
    while kills < kills_wanted:
        folders.append(str(out / f"killed{len(folders)}"))
        for tries in count():
            child = attempt(npz, folders[-1])
            # ever later: a machine that has become busy would else let none come to its end
            deadline = time.monotonic() + chance.uniform(0, 0.6 * duration * 1.2**tries)
            while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.0005)
            if ended[0]:
                assert ended[1] == 0, f"a run ended with {ended[1]}"
                break
            os.kill(child, chance.choice((signal.SIGKILL, chance.choice(ENDING))))
            kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    print(json.dumps({"seconds": duration, "kills": kills, "folders": folders}))


if __name__ == "__main__":
    main()
