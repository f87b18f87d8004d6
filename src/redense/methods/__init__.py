"""Methods: lists of phases for `redense.DSD` and for recipes, and the controls of the same budget.

`dsd`, `acdc`, `spdf` and `prune` list phases; `METHODS` is the table of methods, `CONTROLS` that of controls.
"""

from redense.methods.controls import CONTROLS as CONTROLS
from redense.methods.controls import Control as Control
from redense.methods.controls import control_of as control_of
from redense.methods.lists import MOST_ROUNDS as MOST_ROUNDS
from redense.methods.lists import Phases as Phases
from redense.methods.lists import acdc, dsd, prune, spdf
from redense.methods.table import LENGTHS as LENGTHS
from redense.methods.table import METHODS as METHODS
from redense.methods.table import Method as Method

__all__ = ["acdc", "dsd", "prune", "spdf"]
