"""What a run will cost: time, disk and memory, before it is started."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from copy import deepcopy

import torch
from rich.console import Group
from rich.table import Table

from redense.data.batches import TensorData, examples_to_try
from redense.data.dataset import Dataset
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.choose import Choice
from redense.experiment.engines.queue import JobQueue
from redense.experiment.memory import PROCESS_BYTES, state_bytes, training_bytes
from redense.experiment.optimizers import make_optimizer
from redense.experiment.plan import Job
from redense.experiment.trainer import train_epoch, trainable
from redense.models.registry import placed
from redense.signals import read_signals
from redense.terminal import Fitting, table_of
from redense.text import visible

BYTES_PER_SIGNAL = 4 * 8 + 1
"""Four float64 and a bool for every example."""
TIMED_STEPS = 10
TIMED_EXAMPLES = 1000


def disk_bytes(jobs: Sequence[Job], model: torch.nn.Module, dataset: Dataset, processes: int) -> int:
    """Bound the bytes that a run's checkpoints take, with what is in progress (model and two moments, twice)."""
    weights = state_bytes(model)
    signals = BYTES_PER_SIGNAL * (len(dataset.y_train) + len(dataset.y_test))
    finished = len(jobs) * (weights + weights // 32 + signals)
    return finished + 2 * 3 * weights * processes


def memory_bytes(model: torch.nn.Module, dataset: Dataset, choice: Choice, batch_size: int) -> int:
    """Estimate the memory of a run: the data once here and once shared, and what training takes in each worker."""
    training = training_bytes(model, examples_to_try(dataset), batch_size)
    workers = choice.processes if choice.kind.in_processes else 0
    return int(2 * dataset.nbytes + (1 + workers) * PROCESS_BYTES + choice.processes * training)


def epoch_seconds(job: Job, model: torch.nn.Module, dataset: Dataset, device: str) -> float:
    """Time a few steps and an evaluation of a copy of the model, and scale them up to one epoch."""
    data = TensorData.of(dataset, device)
    model = placed(deepcopy(model), device)
    optimizer = make_optimizer(trainable(model), job.training)
    batch, precision, examples = job.training.batch_size, job.training.precision, len(data.y_train)
    some = torch.arange(min(batch, examples))
    with fixed_arithmetic(device):
        timings = []
        for _ in range(3 + TIMED_STEPS):
            started = time.perf_counter()
            train_epoch(model, optimizer, data.x_train, data.y_train, some, batch, precision)
            timings.append(time.perf_counter() - started)
        tested = min(TIMED_EXAMPLES, len(data.y_test))
        started = time.perf_counter()
        read_signals(model, data.x_test[:tested], data.y_test[:tested])
        evaluation = (time.perf_counter() - started) / tested * len(data.y_test)
    steps = -(-examples // batch)
    return steps * statistics.median(timings[3:]) + evaluation


def makespan(jobs: Sequence[Job], processes: int) -> int:
    """Return the epochs that the busiest process trains when jobs are scheduled as the engines do it.

    >>> makespan([], processes=2)
    0
    """
    queue, now = JobQueue(jobs), 0
    running: list[tuple[int, Job]] = []
    while True:
        while len(running) < processes and (job := queue.next()) is not None:
            running.append((now + job.epochs, job))
        if not running:
            return now
        first = min(running, key=lambda entry: entry[0])
        running.remove(first)
        now = first[0]
        queue.finish(first[1])


def plan_table(
    jobs: Sequence[Job],
    left: Sequence[Job],
    model: torch.nn.Module,
    dataset: Dataset,
    choice: Choice,
) -> Group:
    """Draw the plan: every job with what it starts from, then the time, disk and memory that what is left takes."""
    to_train = {job.key for job in left}
    states = ["" if job.key in to_train else "finished" for job in jobs]
    tables = [(_plan(jobs, states), ""), (_short_plan(jobs, states, False), "key, what a phase starts from")]
    table = Fitting([*tables, (_short_plan(jobs, states, True), "key, what a phase starts from")])
    processes, on = choice.processes, choice.device
    seconds = makespan(left, processes) * epoch_seconds(jobs[0], model, dataset, on) if left else 0.0
    where = "on the GPU, one model at a time" if on == "cuda" else f"on {processes} worker{'s' * (processes > 1)}"
    lines = (
        f"{len(left)} of {len(jobs)} jobs to train, {sum(job.epochs for job in left)} epochs",
        f"time    about {_duration(seconds)} {where}",
        f"disk    at most {math.ceil(disk_bytes(left, model, dataset, processes) / 1e6)} MB for checkpoints",
        f"memory  about {memory_bytes(model, dataset, choice, jobs[0].training.batch_size) / 1e9:.1f} GB",
    )
    return Group(table, "", *lines)


def _plan(jobs: Sequence[Job], states: Sequence[str]) -> Table:
    names = ("phase", "model", "epochs", "rate", "key", "starts from", "")
    table = table_of(*names, text=["phase", "model", "key", "starts from", ""], title="Plan")
    for job, state in zip(jobs, states, strict=True):
        start = job.parent[:8] if job.parent else "initial weights"
        cells = (str(job.epochs), _rates(job), job.key[:8], start, state)
        table.add_row(job.phase.label, visible(job.model_name), *cells)
    return table


def _short_plan(jobs: Sequence[Job], states: Sequence[str], broken: bool) -> Table:
    names, text = ("phase", "model", "epochs", "rate", ""), ["phase", "model", ""]
    table = table_of(*names, text=text, broken=["phase", "model"] if broken else [], title="Plan")
    for job, state in zip(jobs, states, strict=True):
        table.add_row(job.phase.label, visible(job.model_name), str(job.epochs), _rates(job), state)
    return table


def _rates(job: Job) -> str:
    """Write a job's learning rate, or between which two it moves."""
    ends = [job.training.lr]
    if job.phase.rate_end is not None:
        ends.append(job.training.lr * job.phase.rate_end / job.phase.rate)
    return " to ".join(f"{end:.4g}" for end in ends)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
