"""How sparsity comes about inside a sparse phase, for ``DSD(..., schedule=...)``."""

from redense.sparsity.schedules import Cubic, OneShot, Schedule

__all__ = ["Cubic", "OneShot", "Schedule"]
