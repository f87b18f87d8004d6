"""Files of results that several processes may write to at a time."""

import fcntl
import os
from contextlib import contextmanager


@contextmanager
def locked(folder):
    """Make a folder where there is none, and keep other processes waiting until its files are written."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
