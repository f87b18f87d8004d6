"""The process that worker processes are forked from: it loads PyTorch once for all of them.

Loading PyTorch and what a first optimizer imports takes seconds. The server does it while the caller reads its recipe
and data; every worker after that takes hundredths of a second. Nothing is unpickled: requests are JSON lines, and
descriptors travel beside them (SCM_RIGHTS). User code is imported by workers only, after the fork. What has to be set
when a process begins (threads, memory) is set when the server is executed.

This module is light, so that a server can be started before anything is imported (`start`).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence

from redense.text import one_line

# Activations of a few MB lie above glibc's usual threshold for mapping and unmapping memory at every use; a step of the
# published network then takes several hundred page faults, a tenth of its time. One arena, because threads that have
# evaluated would leave theirs behind, with their memory. Other C libraries ignore the setting.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824"
    ":glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1",
}
REFUSED = "errno "
"""Instead of an exit status: the system started no process, and why, as a number."""
NO_THREAD = 75
"""Exit status of a server or worker for which the system starts no thread: a temporary failure, to the system."""
MOST_DESCRIPTORS = 64
"""In one request."""


def current_folder() -> str | None:
    """Return the folder that this process is in, None where that has been deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def module_path() -> list[str]:
    """Where this process finds modules, for another process in whatever folder."""
    here = current_folder()
    entries = [entry or here for entry in sys.path if isinstance(entry, str)]  # Python passes over others, too
    # some are names that only a finder of their own understands
    return [os.path.abspath(entry) if os.path.exists(entry) else entry for entry in entries if entry is not None]


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let a process that is started in the body have no Ctrl-C before it can say what it makes of it; ours waits."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ForkServer:
    """The caller's end of a server process, which ends when this end is closed, be it by the caller's death."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as on_failure, _interrupts_held_back():
            ours, theirs = map(on_failure.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "redense.experiment.engines.fork_server", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",  # libraries of PyTorch look for others in the current folder, which may be anybody's
                env={**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(module_path())},
            )
            on_failure.pop_all()
        theirs.close()
        self._connection = ours
        self._owner = os.getpid()
        self._started = 0

    @property
    def alive(self) -> bool:
        """Whether it can start workers for this process."""
        return self._owner == os.getpid() and self._process.poll() is None

    @property
    def exhausted(self) -> bool:
        """Whether it has ended because the system starts no thread."""
        return self._process.poll() == NO_THREAD

    def start(self, jobs: int, events: int, status: int, data: int, log: int, keep_open: Sequence[int]) -> int:
        """Start a worker with these descriptors, copies of which it gets, and return its number.

        It reads `jobs` (see `worker`), writes `events`, has the data set in `data`, prints into `log`, and keeps those
        of `keep_open` open as long as it lives. When it has ended, its exit status is written into `status`.
        """
        self._started += 1
        self._send({"start": self._started}, [jobs, events, status, data, log, *keep_open])
        return self._started

    def kill(self, number: int) -> None:
        """Kill a worker that `start` has numbered, if it still lives."""
        self._send({"kill": number}, [])

    def close(self) -> None:
        """End the server; workers end when nobody gives them jobs any more."""
        self._connection.close()
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()

    def _send(self, request: dict[str, int], descriptors: list[int]) -> None:
        line = json.dumps({**request, "descriptors": len(descriptors)}).encode() + b"\n"
        if not self.alive:  # then whoever reads a worker's events and status finds their end
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has just died
            socket.send_fds(self._connection, [line], descriptors)


_server: ForkServer | None = None


@atexit.register
def stop() -> None:
    """End this process' server, if there is one."""
    global _server  # noqa: PLW0603
    if _server is not None:
        _server.close()
    _server = None


def start() -> ForkServer:
    """Return this process' server, which is started unless there is one; it stays for the runs that follow."""
    global _server  # noqa: PLW0603 (one for the whole process)
    if _server is None or not _server.alive:
        stop()
        _server = ForkServer()
    return _server


def begin() -> None:
    """Start this process' server beforehand, so that it gets ready; where the system refuses, `start` will say so."""
    with contextlib.suppress(OSError):
        start()


def main() -> None:
    """Load PyTorch, then start workers until the caller is gone."""
    # Ctrl-C reaches the whole process group; only the caller decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `_interrupts_held_back`
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    waiting = threading.Thread(target=_leave_when_alone, args=(connection,), daemon=True)
    try:
        waiting.start()
    except RuntimeError:  # no thread can be started
        os._exit(NO_THREAD)
    if sys.platform == "linux":
        try:
            _load()
        except Exception as error:  # as the caller will find out itself, or memory is short
            reason = one_line(error) or type(error).__name__
            sys.exit(f"redense: no worker can be started, for PyTorch cannot be loaded: {reason:.200}")
    waiting.join()
    _Server(connection).serve()


def _leave_when_alone(connection: socket.socket) -> None:
    """Wait for the first request; end the process if the caller is gone before, also while PyTorch is loaded."""
    if not connection.recv(1, socket.MSG_PEEK):
        os._exit(0)


def _load() -> None:
    gc.disable()  # a quarter of the time goes into looking for cycles among objects that stay
    import torch._dynamo  # noqa: F401 (the first optimizer would import it)

    import redense.experiment.engines.serve  # noqa: F401

    gc.freeze()  # workers share these objects' pages as long as nobody writes to them


class _Server:
    """Forks workers, reaps them and reports how they ended."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.numbers: dict[int, int] = {}
        self.status: dict[int, int] = {}
        self.woken, self.wake = os.pipe()
        os.set_blocking(self.wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        while True:
            ready, _, _ = select.select([self.connection.fileno(), self.woken], [], [])
            if self.woken in ready:
                os.read(self.woken, 4096)
                self.reap()
            if self.connection.fileno() in ready:
                for request, descriptors in self.requests():
                    if "start" in request:
                        self.start(request["start"], descriptors)
                    elif request["kill"] in self.numbers.values():
                        self.kill([pid for pid, number in self.numbers.items() if number == request["kill"]])

    def requests(self) -> Iterator[tuple[dict[str, int], list[int]]]:
        """Read what was asked for; end everything when the caller is gone."""
        lines, descriptors, _, _ = socket.recv_fds(self.connection, 65536, MOST_DESCRIPTORS)
        if not lines:
            self.kill(self.numbers)
            os._exit(0)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # or a program that the user's code starts has them open, too
        for line in lines.splitlines():
            request = json.loads(line)
            count = request.pop("descriptors")
            yield request, descriptors[:count]
            descriptors = descriptors[count:]

    def kill(self, processes: Iterable[int]) -> None:
        for process in processes:
            os.kill(process, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def start(self, number: int, descriptors: list[int]) -> None:
        jobs, events, status, data, log, *keep_open = descriptors
        try:
            process = os.fork() if _forks_safely() else _executed(jobs, events, data, log, keep_open)
        except OSError as error:
            os.write(status, f"{REFUSED}{error.errno}".encode())
            os.close(status)
        else:
            if process == 0:
                self.become_worker(jobs, events, status, data, log)
            self.numbers[process], self.status[process] = number, status
        for descriptor in (jobs, events, data, log, *keep_open):
            os.close(descriptor)

    def become_worker(self, jobs: int, events: int, status: int, data: int, log: int) -> None:
        """Leave all that is the server's or another worker's, and work; never returns."""
        import traceback

        gc.enable()
        left = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.connection.close()
            for descriptor in (self.woken, self.wake, status, *self.status.values()):
                os.close(descriptor)
            for standard in (1, 2):
                os.dup2(log, standard)
            os.close(log)
            from redense.experiment.engines.worker import work

            work(jobs, events, data)
            left = 0
        except BaseException as error:
            traceback.print_exc()
            left = NO_THREAD if isinstance(error, RuntimeError) and "start new thread" in str(error) else 1
        finally:
            os._exit(left)

    def reap(self) -> None:
        """Report the exit status of every worker that has ended; below 0 is the signal that ended it."""
        while self.numbers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            del self.numbers[process]
            pipe = self.status.pop(process)
            with contextlib.suppress(BrokenPipeError):  # the caller does not want to know any more
                os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(pipe)


def _forks_safely() -> bool:
    """Tell whether a fork takes everything along: on Linux, and with no other thread, whose locks would stay shut."""
    return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


def _executed(jobs: int, events: int, data: int, log: int, keep_open: Sequence[int]) -> int:
    """Start a worker from the beginning, where a fork is not safe."""
    passed = (jobs, events, data, *keep_open)
    for descriptor in passed:
        os.set_inheritable(descriptor, True)
    command = [sys.executable, "-P", "-m", "redense.experiment.engines.worker", *map(str, passed)]
    prints = [(os.POSIX_SPAWN_DUP2, log, standard) for standard in (1, 2)]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=prints)


if __name__ == "__main__":
    main()
