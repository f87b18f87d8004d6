"""Methods: lists of phases for `redense.DSD` and for recipes, and the controls of the same budget.

`dsd`, `acdc`, `spdf` and `prune` list phases; `METHODS` is the table of methods, `CONTROLS` that of controls.
"""

from redense.methods.controls import CONTROLS, Control, control_of
from redense.methods.schedules import MOST_ROUNDS, Phases, acdc, dsd, prune, spdf
from redense.methods.table import METHODS, Method

__all__ = [
    "CONTROLS",
    "METHODS",
    "MOST_ROUNDS",
    "Control",
    "Method",
    "Phases",
    "acdc",
    "control_of",
    "dsd",
    "prune",
    "spdf",
]
