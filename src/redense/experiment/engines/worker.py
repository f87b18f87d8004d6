"""A worker process: reads jobs, one JSON line each, trains them and writes events, one JSON line each.

In between it is told how many cores it may evaluate on, those of idle workers among them.

Forked by the fork server or, where a fork is not safe, started as ``python -m redense.experiment.engines.worker READ
WRITE DATA ...`` with inherited descriptors, of which those after the third are only kept open. Nothing is unpickled and
the caller's main module is not imported, so a script that calls `redense.run` needs no guard.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import IO, Any


def work(read: int, write: int, data: int) -> None:
    """Serve the jobs that come through `read` until the caller closes it, be it by its death.

    The first line is the setting: the caller's working folder, module path and environment, and where the store is.
    """
    # Ctrl-C reaches the whole process group; only the caller decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming = Incoming(os.fdopen(read))
    messages = iter(incoming)
    setup = next(messages)
    sys.path[:] = setup["path"]
    os.environ.clear()
    os.environ.update(setup["environment"])
    # from here on the caller's end is noticed, also while PyTorch is loaded, which takes seconds
    from redense.experiment.engines.serve import serve

    os.chdir(setup["folder"])  # now that PyTorch is there, which would look for libraries in it
    with os.fdopen(write, "w", buffering=1) as events:
        serve(setup, messages, lambda: incoming.cores, events, data)


class Incoming:
    """What the caller writes: the setting, then jobs; and at any time, also in the middle of a job, a number of cores.

    Where there is nothing more to read, the caller is gone, and the process ends at once.
    """

    def __init__(self, lines: IO[str]) -> None:
        self.cores = 1
        self._lines = lines
        self._waiting: SimpleQueue[dict[str, Any]] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Wait for the setting, then for job after job."""
        return iter(self._waiting.get, None)

    def _read(self) -> None:
        for line in self._lines:
            match json.loads(line):
                case {"cores": cores}:
                    self.cores = cores
                case message:
                    self._waiting.put(message)
        os._exit(0)


def main(arguments: list[str]) -> None:
    """Work with the descriptors of these numbers; programs that the user's code starts do not inherit them in turn."""
    descriptors = [int(argument) for argument in arguments]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    work(*descriptors[:3])


if __name__ == "__main__":
    main(sys.argv[1:])
