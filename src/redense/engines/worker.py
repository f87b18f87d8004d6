"""A worker process: reads jobs, one JSON line each, trains them and writes events, one JSON line each.

Started as ``python -m redense.engines.worker READ WRITE DATA`` with three inherited descriptors. Nothing is unpickled
and the caller's main module is not imported, so a script that calls `redense.run` needs no guard.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from redense.arithmetic import fixed_arithmetic
from redense.checkpoints import Store
from redense.data.batches import TensorData
from redense.engines.execute import execute
from redense.engines.shared import attach
from redense.errors import RedenseError
from redense.plan import Job


def main() -> None:
    """Serve jobs until the parent closes the pipe, be it by its death."""
    # Ctrl-C reaches the whole process group; only the parent decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    read, write, data = (int(argument) for argument in sys.argv[1:4])
    with os.fdopen(read) as lines, os.fdopen(write, "w", buffering=1) as events:
        incoming = _lines(lines)
        setup = json.loads(next(incoming))
        tensors = TensorData.of(attach(data, setup["data"]))
        with fixed_arithmetic("cpu"):
            for line in incoming:
                _serve(Job.from_mapping(json.loads(line)), tensors, Store(Path(setup["store"])), events)


def _lines(lines: IO[str]) -> Iterator[str]:
    """Yield lines as they come; leave at once, also in the middle of a job, when the parent is gone."""
    queue: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in lines:
            queue.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield queue.get()


def _serve(job: Job, data: TensorData, store: Store, events: IO[str]) -> None:
    def send(event: str, **values: Any) -> None:
        events.write(json.dumps({"event": event, **values}) + "\n")

    send("started")
    try:
        for entry in execute(job, data, store):
            send("epoch", **entry)
    except RedenseError as error:
        send("failed", reason=str(error))
    except Exception as error:
        traceback.print_exc()
        send("failed", reason=f"{job.name}: {type(error).__name__}: {error}")
    else:
        send("finished", set_aside=store.set_aside)


if __name__ == "__main__":
    main()
