"""How important each weight is, for ``DSD(..., score=...)``."""

from redense.sparsity.scores import Score, magnitude, random, saliency

__all__ = ["Score", "magnitude", "random", "saliency"]
