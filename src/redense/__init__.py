"""Train networks Dense -> Sparse -> Dense, and see what each phase gains and gives away.

The public names load on first use, so that ``import redense`` does not wait for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redense import attacks as attacks
    from redense import metrics as metrics
    from redense import patterns as patterns
    from redense import schedules as schedules
    from redense import scores as scores
    from redense.auditing.audit import audit as audit
    from redense.auditing.audit import audit_evidence as audit_evidence
    from redense.auditing.evidence import Evidence as Evidence
    from redense.auditing.evidence import References as References
    from redense.auditing.result import AuditResult as AuditResult
    from redense.config import Recipe as Recipe
    from redense.dsd import DSD as DSD
    from redense.errors import RedenseError as RedenseError
    from redense.results import Results as Results
    from redense.results import Row as Row
    from redense.runs import run as run
    from redense.signals import Signals as Signals
    from redense.signals import image_queries as image_queries
    from redense.signals import read_signals as read_signals
    from redense.sparsity.enforce import masked as masked
    from redense.sparsity.masks import choose_masks as choose_masks
    from redense.sparsity.masks import magnitude_masks as magnitude_masks
    from redense.sparsity.measure import measure_sparsity as measure_sparsity
    from redense.sparsity.sensitivity import sensitivity as sensitivity
    from redense.sparsity.storage import load_sparse as load_sparse
    from redense.sparsity.storage import save_sparse as save_sparse

__version__ = "0.1.0"

_HOMES = {
    "AuditResult": "redense.auditing.result",
    "DSD": "redense.dsd",
    "Evidence": "redense.auditing.evidence",
    "Recipe": "redense.config",
    "RedenseError": "redense.errors",
    "References": "redense.auditing.evidence",
    "Results": "redense.results",
    "Row": "redense.results",
    "Signals": "redense.signals",
    "audit": "redense.auditing.audit",
    "audit_evidence": "redense.auditing.audit",
    "choose_masks": "redense.sparsity.masks",
    "image_queries": "redense.signals",
    "load_sparse": "redense.sparsity.storage",
    "magnitude_masks": "redense.sparsity.masks",
    "masked": "redense.sparsity.enforce",
    "measure_sparsity": "redense.sparsity.measure",
    "read_signals": "redense.signals",
    "run": "redense.runs",
    "save_sparse": "redense.sparsity.storage",
    "sensitivity": "redense.sparsity.sensitivity",
}

_MODULES = ("attacks", "metrics", "patterns", "schedules", "scores")

__all__ = [*sorted(_HOMES), *_MODULES]  # noqa: PLE0604 (the names are strings; ruff cannot see it)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"redense.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'redense' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
