"""The former name of `redense.saliency`."""

import sys

from redense.sparsity import saliency

sys.modules[__name__] = saliency
