"""Train networks Dense -> Sparse -> Dense, and see what each phase gains and gives away.

The public names load on first use, so that ``import redense`` does not wait for PyTorch. Earlier names go on working:
``redense.scores`` is `redense.saliency`, and what is called `score` there is `saliency` now.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redense import attacks as attacks
    from redense import data as data
    from redense import methods as methods
    from redense import metrics as metrics
    from redense import phases as phases
    from redense.auditing.audit import audit as audit
    from redense.auditing.audit import audit_evidence as audit_evidence
    from redense.auditing.evidence import Evidence as Evidence
    from redense.auditing.evidence import References as References
    from redense.auditing.result import AuditResult as AuditResult
    from redense.auditing.settings import AuditSettings as AuditSettings
    from redense.dsd import DSD as DSD
    from redense.errors import ArgumentError as ArgumentError
    from redense.errors import DataError as DataError
    from redense.errors import FolderError as FolderError
    from redense.errors import Interrupted as Interrupted
    from redense.errors import LeakFound as LeakFound
    from redense.errors import ModelError as ModelError
    from redense.errors import RecipeError as RecipeError
    from redense.errors import RedenseError as RedenseError
    from redense.errors import TrainingError as TrainingError
    from redense.errors import UnknownName as UnknownName
    from redense.experiment.export import export as export
    from redense.experiment.export_settings import ExportSettings as ExportSettings
    from redense.experiment.recipe import Recipe as Recipe
    from redense.experiment.resources import Resources as Resources
    from redense.experiment.results import Results as Results
    from redense.experiment.results import Row as Row
    from redense.experiment.run import run as run
    from redense.onnx import export_onnx as export_onnx
    from redense.phases import Phase as Phase
    from redense.signals import Signals as Signals
    from redense.signals import image_queries as image_queries
    from redense.signals import read_signals as read_signals
    from redense.sparsity import patterns as patterns
    from redense.sparsity import saliency as saliency
    from redense.sparsity import saliency as scores  # noqa: F401 (the former name)
    from redense.sparsity import schedules as schedules
    from redense.sparsity.enforce import masked as masked
    from redense.sparsity.masks import Selection as Selection
    from redense.sparsity.masks import choose_masks as choose_masks
    from redense.sparsity.masks import magnitude_masks as magnitude_masks
    from redense.sparsity.sensitivity import sensitivity as sensitivity
    from redense.sparsity.storage import load_sparse as load_sparse
    from redense.sparsity.storage import save_sparse as save_sparse
    from redense.sparsity.zeros import measure_sparsity as measure_sparsity

__version__ = "0.1.0"

_MODULES = {
    "attacks": "redense.attacks",
    "data": "redense.data",
    "methods": "redense.methods",
    "metrics": "redense.metrics",
    "patterns": "redense.sparsity.patterns",
    "phases": "redense.phases",
    "saliency": "redense.sparsity.saliency",
    "schedules": "redense.sparsity.schedules",
    "scores": "redense.sparsity.saliency",
}

_HOMES = {
    "ArgumentError": "redense.errors",
    "AuditResult": "redense.auditing.result",
    "AuditSettings": "redense.auditing.settings",
    "DSD": "redense.dsd",
    "DataError": "redense.errors",
    "Evidence": "redense.auditing.evidence",
    "ExportSettings": "redense.experiment.export_settings",
    "FolderError": "redense.errors",
    "Interrupted": "redense.errors",
    "LeakFound": "redense.errors",
    "ModelError": "redense.errors",
    "Phase": "redense.phases",
    "Recipe": "redense.experiment.recipe",
    "RecipeError": "redense.errors",
    "RedenseError": "redense.errors",
    "References": "redense.auditing.evidence",
    "Resources": "redense.experiment.resources",
    "Results": "redense.experiment.results",
    "Row": "redense.experiment.results",
    "Selection": "redense.sparsity.masks",
    "Signals": "redense.signals",
    "TrainingError": "redense.errors",
    "UnknownName": "redense.errors",
    "audit": "redense.auditing.audit",
    "audit_evidence": "redense.auditing.audit",
    "choose_masks": "redense.sparsity.masks",
    "export": "redense.experiment.export",
    "export_onnx": "redense.onnx",
    "image_queries": "redense.signals",
    "load_sparse": "redense.sparsity.storage",
    "magnitude_masks": "redense.sparsity.masks",
    "masked": "redense.sparsity.enforce",
    "measure_sparsity": "redense.sparsity.zeros",
    "read_signals": "redense.signals",
    "run": "redense.experiment.run",
    "save_sparse": "redense.sparsity.storage",
    "sensitivity": "redense.sparsity.sensitivity",
}

__all__ = [*sorted(_HOMES), *sorted(_MODULES)]  # noqa: PLE0604 (the names are strings; ruff cannot see it)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _HOMES:
        raise AttributeError(f"module 'redense' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    special = [name for name in globals() if name.startswith("__") and name.endswith("__")]
    return sorted([*special, *__all__])
