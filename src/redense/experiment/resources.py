"""What a run may use: device, engine, workers, cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from redense.arguments import validated
from redense.errors import RecipeError
from redense.experiment.engines.kinds import ENGINES, EngineKind, EngineName

TrackerName = Literal["mlflow", "tensorboard", "wandb"]
Device = Literal["auto", "cpu", "cuda"]


@validated(RecipeError)
@dataclass(frozen=True)
class Resources:
    """What a run may use; nothing here changes what its results mean.

    Raises `RecipeError` for values that make no sense together.

    >>> Resources(engine="local", workers=2).device
    'auto'
    """

    device: Device = "auto"
    """auto takes CUDA where there is some."""
    engine: EngineName = "auto"
    """local: worker processes on the CPU; inline: this process; vectorized: many models as one, on a GPU above all;
    ray: a cluster; auto chooses and says why."""
    workers: int | None = None
    """Worker processes on the CPU, by default one a core as far as memory goes; 0 trains in this process. The results
    are the same."""
    time_limit: float | None = None
    """Seconds after which a job's worker process counts as hanging and is replaced; by default none."""
    ray_address: str | None = None
    """Of a running Ray cluster; auto finds one on this machine. Without it, --engine ray starts one here."""
    ray_storage: str | None = None
    """A URL for fsspec through which a cluster's checkpoints travel; by default all machines see the run's folder."""
    lock: bool = True
    """Other runs are kept out of the folder; on a file system that has no locks, --no-lock leaves that to you."""
    track: tuple[TrackerName, ...] = ()
    """Experiment trackers, told of the finished run: mlflow, tensorboard, wandb (extras of the same names). One that
    fails never stops a run; none is told of an example's contents."""
    mixed: bool = False
    """Go on in a folder whose phases were trained on another processor, with other kernels or another PyTorch."""

    @property
    def may_fork(self) -> bool:
        """Whether worker processes on this machine may train the run, before anything is known of it."""
        forks = self.asked is None or self.asked.forks
        return forks and self.device != "cuda" and self.workers != 0

    @property
    def asked(self) -> EngineKind | None:
        """The engine that is asked for, None where it is to be chosen."""
        return ENGINES.get(self.engine)

    @property
    def trains_in_processes(self) -> bool:
        """Whether an engine is asked for that trains every job in a process of its own, on the CPU."""
        return self.asked is not None and self.asked.in_processes

    def __post_init__(self) -> None:
        if self.device == "cuda":
            import torch  # takes seconds, which --help is spared

            if not torch.cuda.is_available():
                raise RecipeError("device: got cuda, but PyTorch finds no CUDA device here; use --device cpu")
        if self.device == "cuda" and self.trains_in_processes:
            raise RecipeError(f"engine: got {self.engine}, which trains on the CPU, with device cuda; drop one of them")
        if self.workers is not None and self.workers < 0:
            raise RecipeError(f"workers: got {self.workers}; expected 0 (this process) or more")
        if self.workers == 0 and self.asked is not None and self.asked.forks:
            raise RecipeError(f"workers: got 0 with engine {self.engine}, which needs 1 or more; use --engine inline")
        if self.time_limit is not None and not self.time_limit > 0:
            raise RecipeError(f"time_limit: got {self.time_limit:g}; expected seconds above 0")
        if (self.ray_address or self.ray_storage) and self.asked is not None and self.asked.own_machine:
            raise RecipeError(f"engine: got {self.engine} with a Ray cluster's settings; use --engine ray or drop them")
