"""The engine for many machines: the same jobs as tasks of a Ray cluster.

A job's task takes its parent's outcome as an object reference, so Ray starts it when and where it can. The data go into
the object store once. Weights never pass through it: they are in the checkpoints, in the run's folder, which all
machines must see, or in a `Storage`. When a machine dies, Ray starts its tasks again elsewhere, and these go on
after the last epoch that is in the run's folder.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import sys
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from redense.data.batches import TensorData
from redense.data.dataset import Dataset
from redense.errors import FOREIGN, RedenseError
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.fork_server import WORKER_ENVIRONMENT, module_path
from redense.experiment.engines.transfer import Storage
from redense.experiment.events import EpochDone, Event, Failed, Finished, Retried, Started
from redense.experiment.phase_training import train_phase
from redense.experiment.plan import Job, critical_path
from redense.experiment.trained import Epoch
from redense.files.temporary import temporary_folder
from redense.text import one_line

RETRIES = 3
"""How often Ray starts a job again whose machine or process died."""
POLL_SECONDS = 0.1
Outcome = dict[str, Any]
"""What a task returns: {"failed": name of the job or None, "reason": ..., "set_aside": [...]}."""


class RayEngine:
    """Train on a Ray cluster, one core a job; the same bits as `LocalEngine`, with any number of machines.

    Args:
        address: of a running cluster (``auto`` finds one on this machine); without one, Ray starts here for this run.
        storage: a URL for fsspec through which checkpoints travel; without one, all machines must see the run's folder.
    """

    def __init__(self, address: str | None = None, storage: str | None = None) -> None:
        require_ray(alone=address is None)
        self.address = address
        self.storage = storage

    def run(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Generator[Event, None, None]:
        """Carry out the jobs and yield events until none is left."""
        left = []
        for job in jobs:
            if store.has(job.key) or (self.storage and Storage(self.storage).pull(store, job.key)):
                yield Finished(job, reused=True)
            else:
                left.append(job)
        if not left:
            return
        with _connected(self.address):
            yield from self._carry_out(left, dataset, store)

    def _carry_out(self, jobs: Sequence[Job], dataset: Dataset, store: Store) -> Iterator[Event]:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        about = {"name": dataset.name, "num_classes": dataset.num_classes}
        data = ray.put({"arrays": dataset.arrays, "about": about})
        train: Any = ray.remote(num_cpus=1, max_retries=RETRIES, runtime_env=_environment())(_train)
        planned = {job.key for job in jobs}
        remaining = critical_path(jobs)
        place = None if self.storage else str(store.root.resolve())
        references: dict[str, Any] = {}
        # Ray starts tasks that wait for nothing in the order in which they came; the sort keeps parents before children
        for job in sorted(jobs, key=lambda job: (job.position, -remaining[job.key])):
            parent = references[job.parent] if job.parent in planned else None
            references[job.key] = train.remote(job.to_mapping(), parent, data, place, self.storage, mailbox)
        try:
            yield from self._follow({references[job.key]: job for job in jobs}, mailbox, store)
        finally:
            for reference in references.values():
                ray.cancel(reference, force=True)
            mailbox.shutdown(force=True)

    def _follow(self, pending: dict[Any, Job], mailbox: Any, store: Store) -> Iterator[Event]:
        """Report what tasks say and how they end."""
        import ray

        by_key = {job.key: job for job in pending.values()}
        begun: set[str] = set()
        broken: dict[str, str] = {}
        while pending:
            ended, _ = ray.wait(list(pending), num_returns=len(pending), timeout=POLL_SECONDS, fetch_local=False)
            for message in mailbox.get_nowait_batch(mailbox.qsize()):
                yield from _reported(by_key[message["key"]], message, begun)
            for reference in ended:
                job = pending.pop(reference)
                yield self._ended(job, reference, broken, store)

    def _ended(self, job: Job, reference: Any, broken: dict[str, str], store: Store) -> Event:
        import ray

        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            cause = broken.get(job.parent or "")
            broken[job.key] = cause or job.name
            if cause is not None:
                return Failed.without_start(job, cause)
            return Failed(job, f"{job.name}: {type(error).__name__}, {RETRIES + 1} times")
        store.set_aside.extend(outcome["set_aside"])
        if outcome["failed"] is not None:
            return Failed(job, outcome["reason"])
        if self.storage and not Storage(self.storage).pull(store, job.key):
            return Failed(job, f"{job.name}: its checkpoint is not in {self.storage}")
        return Finished(job)


def require_ray(*, alone: bool = False) -> None:
    """Import Ray; raise `RedenseError` with the way out when it is not installed.

    With `alone` a cluster of this process' own takes calls with a secret only, which Ray must know when it is imported.
    """
    if alone and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=OWN_TOKEN)
    try:
        import ray  # noqa: F401
    except ImportError:
        raise RedenseError("the engine ray needs Ray: pip install 'redense[ray]'") from None


def _train(
    values: Mapping[str, Any],
    parent: Outcome | None,
    data: Mapping[str, Any],
    root: str | None,
    storage: str | None,
    mailbox: Any,
) -> Outcome:
    """Carry out one job, in a process of a cluster."""
    job = Job.from_mapping(values)
    if parent is not None and parent["failed"] is not None:
        failed = Failed.without_start(job, parent["failed"])
        return {"failed": parent["failed"], "reason": failed.reason, "set_aside": []}
    mailbox.put({"key": job.key, "event": "started"})
    with temporary_folder("redense-") as scratch:
        store = Store(Path(root or scratch))
        shared = Storage(storage) if storage else None
        outcome: Outcome = {"failed": None, "reason": "", "set_aside": store.set_aside}
        try:
            if shared and job.parent:
                shared.pull(store, job.parent)
            if not store.has(job.key):  # an earlier attempt may have died after its last word
                with warnings.catch_warnings():
                    # the arrays lie in the object store, which is read-only; nothing writes to them
                    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                    tensors = TensorData.of(Dataset(**data["arrays"], **data["about"]))
                with fixed_arithmetic("cpu"):
                    for event in train_phase([job], tensors, store):
                        if isinstance(event, Failed):
                            return {**outcome, "failed": job.name, "reason": event.reason}
                        if isinstance(event, EpochDone):
                            mailbox.put({"key": job.key, "event": "epoch", **dataclasses.asdict(event.epoch)})
            if shared:
                shared.push(store, job.key)
        except FOREIGN as error:
            return {**outcome, "failed": job.name, "reason": Failed.raised(job, error).reason}
        return outcome


def _reported(job: Job, message: Mapping[str, Any], begun: set[str]) -> Iterator[Event]:
    match message:
        case {"key": _, "event": "epoch", **epoch}:
            yield EpochDone(job, Epoch(**epoch))
        case {"event": "started"}:
            if job.key in begun:
                yield Retried(job, "its process or machine died")
            begun.add(job.key)
            yield Started(job)


def _environment() -> dict[str, Any]:
    """Settings of the processes on the cluster: those of local workers, and where the user's own code lies."""
    return {"env_vars": {**WORKER_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(module_path())}}


LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray listens on every network unless this says that there is no cluster beyond this machine, as on macOS."""
OWN_TOKEN = secrets.token_hex(32)
"""What a cluster that this process starts wants to be told by whoever calls it."""
SOCKETS = 40
"""Characters that the name of a folder may have for Ray's sockets in it: the system allows them 107 in all."""


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, unless the caller is connected already."""
    import ray

    if ray.is_initialized():
        yield
        return
    if address is not None and os.environ.get("RAY_AUTH_TOKEN") == OWN_TOKEN:
        raise RedenseError(
            f"ray_address: got {address} in a process that has begun a Ray cluster of its own; expected a new process"
        )
    own: AbstractContextManager[dict[str, Any]] = _private() if address is None else nullcontext({})
    with own as settings:
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                include_dashboard=False,
                logging_level=logging.ERROR,
                **settings,
            )
        except Exception as error:  # Ray has no kind of its own for a cluster that does not answer
            reason = one_line(error).partition(". ")[0]
            raise RedenseError(
                f"ray_address: {address or 'none'}: no cluster answers ({type(error).__name__}: {reason}); start one "
                "with `ray start --head`, name another, or leave the Ray settings out"
            ) from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _private() -> Iterator[dict[str, Any]]:
    """Keep a cluster that is started in the body to this machine and this user.

    It listens on loopback alone, and its sockets and logs lie in a folder that nobody else can open and that goes with
    it.
    """
    from ray._private import ray_constants  # what it read of the environment when it was imported

    former, beyond = os.environ.get(LOOPBACK), ray_constants.ENABLE_RAY_CLUSTER
    with temporary_folder("redense-ray-", longest=SOCKETS) as folder:
        os.environ[LOOPBACK] = "0"
        ray_constants.ENABLE_RAY_CLUSTER = False
        try:
            yield {"_temp_dir": f"{folder}/r"}  # Ray opens its own folder to everybody
        finally:
            ray_constants.ENABLE_RAY_CLUSTER = beyond
            os.environ.pop(LOOPBACK) if former is None else os.environ.update({LOOPBACK: former})
