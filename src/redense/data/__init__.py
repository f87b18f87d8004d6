"""Data sets: what they are (dataset), where they come from (named, loading), how they reach a model (batches).

Anybody's examples come in through `examples`, which reads files and folders with npz and folders.

Public: `redense.data.load` and `redense.data.Dataset`; they load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redense.data.dataset import Dataset as Dataset
    from redense.data.loading import load as load

_HOMES = {"Dataset": "redense.data.dataset", "load": "redense.data.loading"}

__all__ = ["Dataset", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'redense.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
