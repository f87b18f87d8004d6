"""What a finished run tells an experiment tracker: settings, curves, metrics and the report; a line of a table each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from redense.errors import FOREIGN, RecipeError
from redense.experiment.found import Found, find
from redense.experiment.resources import TrackerName
from redense.experiment.write_report import FILE as REPORT
from redense.experiment.write_report import write_report
from redense.files.writing import make_folder, write_whole
from redense.phases import Phase
from redense.terminal import prose, warn
from redense.text import one_line

PROJECT = "redense"
"""What experiments and projects are called where the user has not set another."""


@dataclass(frozen=True)
class Record:
    """What is told of a run.

    `parameters` are the recipe's settings; `curves` hold values after each epoch, `metrics` one value, by names of
    letters, digits, hyphens and slashes, fractions in [0, 1]; `report` is a page that shows no example.
    """

    name: str
    parameters: Mapping[str, Any]
    curves: Mapping[str, Sequence[float]]
    metrics: Mapping[str, float]
    report: Path


@dataclass(frozen=True)
class Tracker:
    """A tracker: the module that has to be there, and what tells it of a run, given the run's folder too."""

    module: str
    tell: Callable[[Record, Path], None]


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raise `RecipeError`, before anything is trained, for a tracker that is not installed."""
    for name in names:
        try:
            there = find_spec(TRACKERS[name].module) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            raise RecipeError(f"track: {name} is not installed; pip install 'redense[{name}]'")


def track(names: Sequence[TrackerName], folder: Path, console: Console) -> None:
    """Tell trackers of the run in a folder. One that fails is named in a line; whatever it raises, the run is whole."""
    for name in names:
        try:
            with tempfile.TemporaryDirectory() as place:
                report = write_report([folder], Path(place) / REPORT)
                TRACKERS[name].tell(record_of(find(folder), report), folder)
        except FOREIGN as error:
            reason = one_line(error)[:300]
            warn(f"track: {name} raised {type(error).__name__}: {reason}; the run is complete without it", console)
        else:
            console.print(prose(f"Told {name} of the run."))


def record_of(found: Found, report: Path) -> Record:
    """Gather what trackers are told of a run."""
    curves: dict[str, Sequence[float]] = {}
    metrics: dict[str, float] = {}
    for row in found.results.rows:
        name = _name(row.phase, row.seed)
        if row.history:
            curves[f"{name}/test-accuracy-by-epoch"], curves[f"{name}/inference-accuracy-by-epoch"] = zip(
                *row.history, strict=True
            )
        for quantity in ("train_accuracy", "test_accuracy", "inference_accuracy", "measured_sparsity"):
            metrics[f"{name}/{quantity.replace('_', '-')}"] = getattr(row, quantity)
    for audited in found.audits:
        for attack in audited.result.attacks:
            name = f"{_name(audited.phase, audited.seed)}/audit-{audited.protocol}/{_plain(attack.attack)}"
            metrics[f"{name}/auc"], metrics[f"{name}/accuracy"] = attack.auc, attack.accuracy
    return Record(found.name, found.recipe.to_mapping(), curves, metrics, report)


def _name(phase: Phase, seed: int) -> str:
    return f"{_plain(phase.label)}/seed-{seed}"


def _plain(text: str) -> str:
    """Write a name in letters, digits and hyphens, which all trackers take.

    >>> _plain("re-dense 87.5%, round 2"), _plain("confidence, per class")
    ('re-dense-87-5-round-2', 'confidence-per-class')
    """
    return "-".join("".join(letter if letter.isalnum() else " " for letter in text).split())


def _by_epoch(curves: Mapping[str, Sequence[float]]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (epoch from 1, values by name): trackers want their steps in order."""
    for epoch in range(max(map(len, curves.values()), default=0)):
        yield epoch + 1, {name: values[epoch] for name, values in curves.items() if epoch < len(values)}


def _mlflow(record: Record, _folder: Path) -> None:
    """Tell MLflow, at its own tracking server or file; the experiment is MLFLOW_EXPERIMENT_NAME's, else redense."""
    import os

    import mlflow

    if not ({"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"} & set(os.environ)):
        mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=record.name):
        mlflow.log_params(dict(record.parameters))
        for epoch, values in _by_epoch(record.curves):
            mlflow.log_metrics(values, step=epoch)
        mlflow.log_metrics(dict(record.metrics))
        mlflow.log_artifact(str(record.report))


def _tensorboard(record: Record, folder: Path) -> None:
    """Write ``tensorboard/`` in the run's folder anew, with the report beside the events."""
    from torch.utils.tensorboard import SummaryWriter

    place = _place(folder, "tensorboard")
    for former in place.glob("events.out.tfevents.*"):
        former.unlink()
    with SummaryWriter(str(place)) as writer:
        settings = "\n".join(f"    {name} = {value}" for name, value in record.parameters.items())
        writer.add_text("recipe", settings)
        for epoch, values in _by_epoch(record.curves):
            for name, value in values.items():
                writer.add_scalar(name, value, epoch)
        for name, value in record.metrics.items():
            writer.add_scalar(name, value, 0)
    write_whole(place / REPORT, record.report.read_bytes(), inside=folder)


def _wandb(record: Record, folder: Path) -> None:
    """Tell Weights & Biases; the project is WANDB_PROJECT's, else redense."""
    import os

    import wandb

    _place(folder, "wandb")
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    with wandb.init(project=project, name=record.name, config=dict(record.parameters), dir=str(folder)) as told:
        for epoch, values in _by_epoch(record.curves):
            told.log(values, step=epoch)
        told.summary.update(dict(record.metrics))
        artifact = wandb.Artifact("report", type="report")
        artifact.add_file(str(record.report))
        told.log_artifact(artifact)


def _place(folder: Path, name: str) -> Path:
    """Make the folder in a run's that a tracker writes into; raise `FolderError` where its name leads elsewhere."""
    place = folder / name
    make_folder(place, inside=folder)
    return place


TRACKERS: dict[TrackerName, Tracker] = {
    "mlflow": Tracker("mlflow", _mlflow),
    "tensorboard": Tracker("tensorboard", _tensorboard),
    "wandb": Tracker("wandb", _wandb),
}
