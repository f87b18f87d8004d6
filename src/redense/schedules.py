"""The public name of `redense.sparsity.schedules`: ``import redense.schedules`` is that module."""

import sys

from redense.sparsity import schedules

sys.modules[__name__] = schedules
