"""A worker process: reads jobs, one JSON line each, trains them and writes events, one JSON line each.

Started as ``python -m redense.experiment.engines.worker READ WRITE DATA`` with three inherited descriptors.
Nothing is unpickled and the caller's main module is not imported, so a script that calls `redense.run` needs no guard.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import IO


def main() -> None:
    """Serve jobs until the parent closes the pipe, be it by its death."""
    # Ctrl-C reaches the whole process group; only the parent decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    read, write, data = (int(argument) for argument in sys.argv[1:4])
    incoming = _lines(os.fdopen(read))
    # from here on the parent's end is noticed, also while PyTorch is loaded, which takes seconds
    from redense.experiment.engines.serve import serve

    with os.fdopen(write, "w", buffering=1) as events:
        serve(incoming, events, data)


def _lines(lines: IO[str]) -> Iterator[str]:
    """Return lines as they come; leave at once, also in the middle of a job, when the parent is gone."""
    queue: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in lines:
            queue.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return iter(queue.get, None)


if __name__ == "__main__":
    main()
