"""What a worker process does: train the jobs that come in and report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from redense.data.batches import TensorData
from redense.errors import FOREIGN
from redense.experiment.checkpoints import Store
from redense.experiment.determinism import fixed_arithmetic
from redense.experiment.engines.shared import attach
from redense.experiment.events import EpochDone, Failed, Finished
from redense.experiment.idle_cores import Cores, Reader
from redense.experiment.phase_training import train_phase
from redense.experiment.plan import Job
from redense.experiment.trainer import MakeTrainer, PlainTrainer


def serve(
    setup: Mapping[str, Any], jobs: Iterator[Mapping[str, Any]], cores: Cores, events: IO[str], data: int
) -> None:
    """Train jobs; `setup` says where the store is and how the data set lies in the descriptor `data`."""
    tensors = TensorData.of(attach(data, setup["data"]))
    reader = Reader(cores)
    trainer = partial(PlainTrainer, read=reader)
    with fixed_arithmetic("cpu"):
        for job in jobs:
            _carry_out(Job.from_mapping(job), tensors, Store(Path(setup["store"])), trainer, events)
            reader.give_back()


def _carry_out(job: Job, data: TensorData, store: Store, make_trainer: MakeTrainer, events: IO[str]) -> None:
    def send(event: str, **values: Any) -> None:
        events.write(json.dumps({"event": event, **values}) + "\n")

    send("started")
    try:
        for event in train_phase([job], data, store, make_trainer):
            match event:
                case EpochDone(_, epoch):
                    send("epoch", **dataclasses.asdict(epoch))
                case Finished():
                    send("finished", set_aside=store.set_aside)
                case Failed(_, reason):
                    send("failed", reason=reason)
    except FOREIGN as error:
        send("failed", reason=Failed.raised(job, error).reason)
