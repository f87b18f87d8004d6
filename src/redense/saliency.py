"""The public name of `redense.sparsity.saliency`: ``import redense.saliency`` is that module."""

import sys

from redense.sparsity import saliency

sys.modules[__name__] = saliency
