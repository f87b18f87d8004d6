"""The public name of `redense.sparsity.patterns`: ``import redense.patterns`` is that module."""

import sys

from redense.sparsity import patterns

sys.modules[__name__] = patterns
