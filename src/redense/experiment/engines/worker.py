"""A worker process: reads jobs, one JSON line each, trains them and writes events, one JSON line each.

Forked by the fork server or, where a fork is not safe, started as ``python -m redense.experiment.engines.worker READ
WRITE DATA`` with three inherited descriptors. Nothing is unpickled and the caller's main module is not imported, so a
script that calls `redense.run` needs no guard.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import IO


def work(read: int, write: int, data: int) -> None:
    """Serve the jobs that come through `read` until the caller closes it, be it by its death.

    The first line is the setting: the caller's working folder, module path and environment, and where the store is.
    """
    # Ctrl-C reaches the whole process group; only the caller decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming = _lines(os.fdopen(read))
    setup = json.loads(next(incoming))
    os.chdir(setup["folder"])
    sys.path[:] = setup["path"]
    os.environ.clear()
    os.environ.update(setup["environment"])
    # from here on the caller's end is noticed, also while PyTorch is loaded, which takes seconds
    from redense.experiment.engines.serve import serve

    with os.fdopen(write, "w", buffering=1) as events:
        serve(setup, incoming, events, data)


def _lines(lines: IO[str]) -> Iterator[str]:
    """Return lines as they come; leave at once, also in the middle of a job, when the caller is gone."""
    queue: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in lines:
            queue.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return iter(queue.get, None)


if __name__ == "__main__":
    work(*(int(argument) for argument in sys.argv[1:4]))
